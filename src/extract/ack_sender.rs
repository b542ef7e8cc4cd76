use std::{fmt, sync::Arc};

use serde::Serialize;

use crate::{
    event::{EventError, EventRequest, EventResponse, IntoEventResponse, PendingAck},
    packet::encode_args,
    server::EmitError,
    socket::SocketRef,
};

use super::from_event::FromEvent;

/// The ack that a client waits for, to be answered whenever the handler likes.
///
/// A handler that answers with its result returns [`Ack`](crate::Ack) instead. Dropping it answers nothing.
#[must_use = "the client waits for the ack"]
pub struct AckSender {
    socket: SocketRef,
    ack: Arc<PendingAck>,
}

impl AckSender {
    /// Answers, unless the ack has been answered already. A tuple is several arguments, anything else one.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be encoded, the socket is disconnected, or the client is too slow.
    pub fn send<T: Serialize + ?Sized>(self, args: &T) -> Result<(), EmitError> {
        let args = encode_args(args).map_err(EmitError::encode)?;
        self.ack.answer(self.socket.inner(), args)
    }
}

impl fmt::Debug for AckSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckSender").field("socket", self.socket.id()).field("ack", &self.ack).finish()
    }
}

impl<S: Sync> FromEvent<S> for AckSender {
    type Rejection = NoAckRequested;

    async fn from_event(request: &mut EventRequest, _: &S) -> Result<Self, NoAckRequested> {
        let socket = request.socket().clone();
        request.take_ack().map(|ack| Self { socket, ack }).ok_or(NoAckRequested)
    }
}

/// The client does not wait for an ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event was emitted without an ack")]
pub struct NoAckRequested;

impl IntoEventResponse for NoAckRequested {
    fn into_event_response(self) -> EventResponse {
        EventError::new(self.to_string()).into()
    }
}
