use std::{fmt, sync::Arc};

use bytestring::ByteString;
use serde::{Serialize, de::DeserializeOwned};

use crate::packet::{Args, EventPayload, Target, encode_ack, encode_args};

use super::{incoming::Incoming, wire::Wire};

/// An event that a [`TestClient`](super::TestClient) has received. Returned by
/// [`TestClient::next_event`](super::TestClient::next_event).
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

    /// Returns the name of the event.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the arguments: several if the type is a tuple, all if it is [`Args`](crate::Args), otherwise the first. Use
    /// `bytes::Bytes` for binary arguments.
    ///
    /// # Panics
    ///
    /// Panics if they do not match the type.
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

    /// Returns `true` if the server requested an ack.
    #[must_use]
    pub fn needs_ack(&self) -> bool {
        self.message.id.is_some()
    }

    /// Sends the ack. A tuple is sent as several arguments, any other type as one.
    ///
    /// # Panics
    ///
    /// Panics if the server did not request an ack, or if the arguments cannot be encoded.
    #[track_caller]
    pub fn ack<T: Serialize + ?Sized>(self, args: &T) {
        let Some(id) = self.message.id else { panic!("no ack was requested for {self:?}") };
        let args = encode_args(args).unwrap_or_else(|error| panic!("the ack cannot be encoded: {error}"));
        let packet = encode_ack(Target { namespace: &self.message.namespace, id: Some(id) }, args);
        self.wire.send(packet.packets().iter().cloned());
    }

    /// Returns the offset for recovery: the last argument of an event without an ack, if it is a string.
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
