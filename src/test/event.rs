use std::{fmt, sync::Arc};

use bytestring::ByteString;
use serde::{Serialize, de::DeserializeOwned};

use crate::packet::{Args, EventPayload, Target, encode_ack, encode_args};

use super::{incoming::Incoming, wire::Wire};

/// An event that a [`TestClient`](super::TestClient) has received.
pub struct TestEvent {
    name: String,
    message: Incoming,
    wire: Arc<Wire>,
}

impl TestEvent {
    pub(super) fn new(message: Incoming, wire: &Arc<Wire>) -> Self {
        let name = EventPayload::new(ByteString::from(message.text()).into(), Vec::new());
        let name = name.map(|event| event.name().to_owned()).unwrap_or_default();
        Self { name, message, wire: wire.clone() }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments: several if the type is a tuple, all if it is [`Args`](crate::Args), otherwise the first. Binary ones
    /// are read as `bytes::Bytes`.
    ///
    /// # Panics
    ///
    /// If they do not fit the type.
    #[must_use]
    #[track_caller]
    pub fn data<T: DeserializeOwned + Send + 'static>(&self) -> T {
        match self.try_data() {
            Ok(data) => data,
            Err(error) => panic!("{error} in {self:?}"),
        }
    }

    pub(super) fn try_data<T: DeserializeOwned + Send + 'static>(&self) -> Result<T, String> {
        self.message.args()
    }

    /// Whether the server waits for an ack.
    #[must_use]
    pub fn needs_ack(&self) -> bool {
        self.message.id.is_some()
    }

    /// Answers the event. A tuple is several arguments, anything else is one.
    ///
    /// # Panics
    ///
    /// If the server does not wait for an ack, or the arguments cannot be encoded.
    #[track_caller]
    pub fn ack<T: Serialize + ?Sized>(self, args: &T) {
        let Some(id) = self.message.id else { panic!("the server waits for no ack of {self:?}") };
        let args = encode_args(args).unwrap_or_else(|error| panic!("the ack cannot be encoded: {error}"));
        let packet = encode_ack(Target { namespace: &self.message.namespace, id: Some(id) }, args);
        self.wire.send(packet.packets().iter().cloned());
    }

    /// What a client that may be recovered remembers: the last argument of an event without an ack, if it is text.
    pub(super) fn offset(&self) -> Option<String> {
        let args: Args = self.message.args().ok()?;
        let last = args.last()?.as_str()?;
        (!self.needs_ack()).then(|| last.to_owned())
    }
}

impl fmt::Debug for TestEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the event {}", self.message.text())
    }
}
