use std::{fmt, sync::Arc};

use serde::Serialize;

use crate::{
    event::{EventError, EventRequest, EventResponse, IntoEventResponse, PendingAck},
    packet::encode_args,
    server::EmitError,
    socket::SocketRef,
    util::log,
};

use super::from_event::FromEvent;

/// Sends the ack of an event, at any time. An extractor.
///
/// ```
/// use tower_socketio::{Namespace, extract::{AckSender, Data}};
///
/// async fn resize(ack: AckSender, Data(width): Data<u32>) {
///     tokio::spawn(async move {
///         // A long computation.
///         ack.send(&format!("resized to {width}")).ok();
///     });
/// }
/// # let _: Namespace = Namespace::new().on("resize", resize);
/// ```
///
/// A handler whose result is the ack returns [`Ack`](crate::Ack) instead. If an `AckSender` is dropped, no ack is sent.
#[must_use = "the client waits for the ack"]
pub struct AckSender {
    socket: SocketRef,
    ack: Arc<PendingAck>,
}

impl AckSender {
    /// Sends the ack, unless it has been sent already. A tuple is sent as several arguments, other types as one.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments cannot be encoded, the socket is disconnected, or the client's send buffer is full.
    pub fn send<T: Serialize + ?Sized>(self, args: &T) -> Result<(), EmitError> {
        let args = encode_args(args).map_err(EmitError::encode)?;
        self.ack.answer(self.socket.inner(), args)
    }
}

impl Drop for AckSender {
    fn drop(&mut self) {
        let socket = self.socket.inner();
        // Otherwise the handler has not ended, and its error may be the ack.
        if self.ack.is_unanswered() && socket.is_connected() {
            log!(
                debug,
                namespace = %socket.namespace.name(),
                socket = %socket.id,
                "an `AckSender` was dropped: the client waits for an ack that is not sent"
            );
        }
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

/// The rejection of [`AckSender`]: the client did not request an ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event was emitted without an ack")]
pub struct NoAckRequested;

impl IntoEventResponse for NoAckRequested {
    fn into_event_response(self) -> EventResponse {
        EventError::new(self.to_string()).into()
    }
}
