//! The seam between the engine and the protocol above it. [`Connect`](super::Connect) belongs to it, and makes the two of a session.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use super::{CloseCause, Packet, Transport};

/// A client, as the protocol above Engine.IO keeps it.
pub(crate) trait Peer: Send + Sync + 'static {
    /// The session is open. Called once, by the task that carries it.
    fn opened(self: Arc<Self>, cx: &mut Context<'_>);

    /// The session has moved to another transport.
    fn upgraded(&self, transport: Transport) {
        let _ = transport;
    }

    /// The session has ended. Called once, by the task that carried it.
    fn closed(&self, cause: CloseCause);

    /// The server is closing: closes the connection once what is under way has been finished. `for_good` tells the client not to
    /// come back.
    fn leave(&self, for_good: bool);

    /// The server has waited long enough: closes the connection, after what is queued.
    fn shut_down(&self, for_good: bool);

    /// Whether something of the client's is still being handled. A server that closes waits for that.
    fn is_busy(&self) -> bool;
}

/// Reads the messages of a session, in order: its calls never overlap, whichever transport carries the session.
pub(crate) trait Reader: Send {
    /// Ready when another message can be taken. Until then the connection is not read.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Takes a message. A reply that is ready at once may be sent by `direct`.
    fn receive(&mut self, message: Packet, direct: &mut Direct<'_>, cx: &mut Context<'_>);

    /// What was received and has not been handled.
    fn held(&self) -> HeldInput;

    /// Whether everything that was received has been handled.
    fn is_idle(&self) -> bool;
}

/// What a connection holds of its client's messages that has not been handled.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeldInput {
    pub(crate) bytes: usize,
    /// The client must send more before it can be handled.
    pub(crate) is_incomplete: bool,
    /// This side must end a handler before it can be handled.
    pub(crate) is_stalled: bool,
}

type SendNow<'a> = dyn FnMut(&[u8], &[Packet]) -> bool + 'a;

/// Sends past the outbox, if the outbox is empty and the transport has room.
pub(crate) struct Direct<'a> {
    send: Option<&'a mut SendNow<'a>>,
    used: bool,
}

impl<'a> Direct<'a> {
    /// For transports that cannot send at once.
    pub(crate) fn unavailable() -> Self {
        Self { send: None, used: false }
    }

    pub(super) fn new(send: Option<&'a mut SendNow<'a>>) -> Self {
        Self { send, used: false }
    }

    #[inline]
    pub(crate) fn is_available(&self) -> bool {
        self.send.is_some()
    }

    /// Sends a text and its attachments, all or none. If it returns false, they have to be queued instead.
    pub(crate) fn try_send(&mut self, text: &[u8], attachments: &[Packet]) -> bool {
        let sent = self.send.as_mut().is_some_and(|send| send(text, attachments));
        self.used |= sent;
        sent
    }

    /// Whether something was sent, so that the outbox was empty.
    pub(super) fn was_used(&self) -> bool {
        self.used
    }
}
