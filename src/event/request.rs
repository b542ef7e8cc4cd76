use std::{fmt, sync::Arc};

use serde::de::DeserializeOwned;

use crate::{
    packet::{ArgsError, EncodedArgs, EventPayload, is_valid_json, read_args},
    server::{DisconnectReason, Socket},
    socket::SocketRef,
};

use super::ack::PendingAck;

/// An event of a client's, on its way to a handler.
///
/// It is what the layers of [`Namespace::event_layer`](crate::Namespace::event_layer) see. A clone shares the arguments,
/// and has the ack too: only the first answer counts for the client.
#[derive(Clone)]
pub struct EventRequest {
    socket: SocketRef,
    content: Content,
    /// The ack that the client waits for.
    pub(super) ack: Option<Arc<PendingAck>>,
    /// The ack has been handed to the handler.
    ack_taken: bool,
    check: Check,
}

#[derive(Clone)]
enum Content {
    Event(EventPayload),
    /// The socket is leaving, or has left.
    Disconnect {
        name: &'static str,
        reason: DisconnectReason,
    },
}

/// What is known of the arguments' JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Unread,
    Valid,
    Malformed,
}

impl EventRequest {
    #[inline(always)]
    pub(super) fn new(socket: Arc<Socket>, event: EventPayload, ack: Option<u64>) -> Self {
        let ack = ack.map(PendingAck::new);
        Self { socket: socket.into(), content: Content::Event(event), ack, ack_taken: false, check: Check::Unread }
    }

    pub(super) fn disconnect(socket: &Arc<Socket>, name: &'static str, reason: DisconnectReason) -> Self {
        let content = Content::Disconnect { name, reason };
        Self { socket: socket.clone().into(), content, ack: None, ack_taken: false, check: Check::Valid }
    }

    /// The socket whose client emitted the event.
    #[must_use]
    pub fn socket(&self) -> &SocketRef {
        &self.socket
    }

    /// The name of the event.
    #[must_use]
    pub fn event(&self) -> &str {
        match &self.content {
            Content::Event(event) => event.name(),
            Content::Disconnect { name, .. } => name,
        }
    }

    /// The number of the ack that the client waits for.
    pub(super) fn ack_id(&self) -> Option<u64> {
        self.ack.as_ref().map(|ack| ack.id())
    }

    /// Whether the client waits for an ack.
    #[must_use]
    pub fn wants_ack(&self) -> bool {
        self.ack.is_some()
    }

    /// Why the socket was disconnected, in handlers of the disconnection.
    #[must_use]
    pub fn disconnect_reason(&self) -> Option<DisconnectReason> {
        match self.content {
            Content::Event(_) => None,
            Content::Disconnect { reason, .. } => Some(reason),
        }
    }

    /// Reads the arguments: a tuple takes several, anything else one.
    ///
    /// # Errors
    ///
    /// If they do not fit the type. If they are no JSON at all, the connection is closed as well.
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
                self.check = Check::Valid;
                Ok(args)
            }
            Err(ArgsError::Mismatch(error)) => {
                self.check = Check::Valid;
                Err(error)
            }
            Err(ArgsError::Malformed(detail)) => {
                self.malformed(detail);
                Err(serde_json::Error::custom(detail))
            }
        }
    }

    /// Shows what an [`AckSender`](crate::extract::AckSender) answers, before it is sent. `see` is dropped when nobody
    /// can answer by one any more.
    pub(crate) fn watch_ack(&mut self, see: impl Fn(&EncodedArgs) + Send + Sync + 'static) {
        self.ack = self.ack.take().map(|ack| ack.watched(see));
    }

    /// Hands out the ack, once.
    pub(crate) fn take_ack(&mut self) -> Option<Arc<PendingAck>> {
        self.ack_taken |= self.ack.is_some();
        self.ack.take()
    }

    pub(crate) fn is_ack_taken(&self) -> bool {
        self.ack_taken
    }

    /// Checks what nobody has read yet. The peer's mistake ends its connection, and no handler runs for it.
    pub(crate) fn is_well_formed(&mut self) -> bool {
        if self.check == Check::Unread
            && let Content::Event(event) = &self.content
        {
            // That its attachments are named was checked when the packet was decoded.
            if is_valid_json(event.json()) {
                self.check = Check::Valid;
            } else {
                self.malformed("invalid JSON");
            }
        }
        self.check == Check::Valid
    }

    fn malformed(&mut self, detail: &'static str) {
        if self.check != Check::Malformed {
            self.check = Check::Malformed;
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
