use std::{fmt, sync::Arc};

use serde::de::DeserializeOwned;

use crate::{
    packet::{ArgsError, EncodedArgs, EventPayload, is_valid_json, read_args},
    server::{DisconnectReason, Socket},
    socket::SocketRef,
};

use super::ack::PendingAck;

/// An event from a client.
///
/// Layers of [`Namespace::event_layer`](crate::Namespace::event_layer) get it as their request. A clone shares the arguments and
/// the ack, of which only the first response is sent.
///
/// ```
/// use tower_socketio::{Namespace, event::{EventRequest, EventResponse, EventRoute}};
/// use tower::{Service, ServiceExt, layer::layer_fn, service_fn};
///
/// let log = layer_fn(|inner: EventRoute| {
///     service_fn(move |event: EventRequest| {
///         println!("{} from {}", event.event(), event.socket().id());
///         inner.clone().oneshot(event)
///     })
/// });
/// let chat: Namespace = Namespace::new().event_layer(log);
/// # let _ = chat;
/// ```
#[derive(Clone)]
pub struct EventRequest {
    socket: SocketRef,
    content: Content,
    /// The ack that the client requested.
    pub(super) ack: Option<Arc<PendingAck>>,
    /// Whether an extractor has taken the ack.
    ack_taken: bool,
    json_state: JsonState,
}

#[derive(Clone)]
enum Content {
    Event(EventPayload),
    /// The socket is leaving or has left.
    Disconnect {
        name: &'static str,
        reason: DisconnectReason,
    },
}

/// The state of the arguments' JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonState {
    Unread,
    Valid,
    Malformed,
}

impl EventRequest {
    #[inline(always)]
    pub(super) fn new(socket: Arc<Socket>, event: EventPayload, ack: Option<u64>) -> Self {
        let ack = ack.map(PendingAck::new);
        Self {
            socket: socket.into(),
            content: Content::Event(event),
            ack,
            ack_taken: false,
            json_state: JsonState::Unread,
        }
    }

    pub(super) fn disconnect(socket: &Arc<Socket>, name: &'static str, reason: DisconnectReason) -> Self {
        let content = Content::Disconnect { name, reason };
        Self { socket: socket.clone().into(), content, ack: None, ack_taken: false, json_state: JsonState::Valid }
    }

    /// Returns the socket that received the event.
    #[must_use]
    pub fn socket(&self) -> &SocketRef {
        &self.socket
    }

    /// Returns the name of the event. `disconnecting` or `disconnect` in handlers of the disconnection.
    #[must_use]
    pub fn event(&self) -> &str {
        match &self.content {
            Content::Event(event) => event.name(),
            Content::Disconnect { name, .. } => name,
        }
    }

    /// Returns the id of the ack that the client requested.
    pub(super) fn ack_id(&self) -> Option<u64> {
        self.ack.as_ref().map(|ack| ack.id())
    }

    /// Returns `true` if the client requested an ack.
    #[must_use]
    pub fn wants_ack(&self) -> bool {
        self.ack.is_some()
    }

    /// Returns the reason of the disconnection, in handlers of the disconnection only.
    #[must_use]
    pub fn disconnect_reason(&self) -> Option<DisconnectReason> {
        match self.content {
            Content::Event(_) => None,
            Content::Disconnect { reason, .. } => Some(reason),
        }
    }

    /// Deserializes the arguments. A tuple takes several arguments, other types take one.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments do not match the type. If they are not valid JSON, the connection is closed as well.
    pub fn args<T: DeserializeOwned + Send + 'static>(&mut self) -> Result<T, serde_json::Error> {
        use serde::de::Error as _;
        let result = match &self.content {
            Content::Event(event) => event.args(),
            Content::Disconnect { reason, .. } => {
                let json = format!(r#"["{reason}"]"#);
                read_args(&json, &[], false)
            }
        };
        match result {
            Ok(args) => {
                self.json_state = JsonState::Valid;
                Ok(args)
            }
            Err(ArgsError::Mismatch(error)) => {
                self.json_state = JsonState::Valid;
                Err(error)
            }
            Err(ArgsError::Malformed(detail)) => {
                self.malformed(detail);
                Err(serde_json::Error::custom(detail))
            }
        }
    }

    /// Sets an observer of acks that an [`AckSender`](crate::extract::AckSender) sends. It is called before the ack is sent, and
    /// dropped when no `AckSender` for this event is left.
    pub(crate) fn observe_ack(&mut self, observer: impl Fn(&EncodedArgs) + Send + Sync + 'static) {
        self.ack = self.ack.take().map(|ack| ack.observed(observer));
    }

    /// Takes the ack. Only the first call returns it.
    pub(crate) fn take_ack(&mut self) -> Option<Arc<PendingAck>> {
        self.ack_taken |= self.ack.is_some();
        self.ack.take()
    }

    pub(crate) fn is_ack_taken(&self) -> bool {
        self.ack_taken
    }

    /// Checks arguments that have not been read. If they are malformed, the connection is closed and no handler runs.
    pub(crate) fn is_well_formed(&mut self) -> bool {
        if self.json_state == JsonState::Unread
            && let Content::Event(event) = &self.content
        {
            // The placeholders of attachments were checked when the packet was decoded.
            if is_valid_json(event.json()) {
                self.json_state = JsonState::Valid;
            } else {
                self.malformed("invalid JSON");
            }
        }
        self.json_state == JsonState::Valid
    }

    fn malformed(&mut self, detail: &'static str) {
        if self.json_state != JsonState::Malformed {
            self.json_state = JsonState::Malformed;
            self.socket.inner().client.violation(detail);
        }
    }
}

impl fmt::Debug for EventRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRequest")
            .field("socket", self.socket.id())
            .field("event", &self.event())
            .field("wants_ack", &self.wants_ack())
            .finish_non_exhaustive()
    }
}
