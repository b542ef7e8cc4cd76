//! The traits through which the engine calls the protocol above it. [`Connect`](super::Connect) creates a [`Peer`] and a
//! [`Reader`] for each session.

use std::{
    any::Any,
    sync::Arc,
    task::{Context, Poll},
};

use super::{CloseCause, Packet, Transport};

/// The protocol's state of a client.
pub(crate) trait Peer: Send + Sync + 'static {
    /// Called once, when the session is open, by the task that drives it.
    fn opened(self: Arc<Self>, cx: &mut Context<'_>);

    /// Called when the session has moved to another transport.
    fn upgraded(self: Arc<Self>, transport: Transport) {
        let _ = transport;
    }

    /// Called with each message that a transport takes to send, if [`Connect::is_observed`](super::Connect::is_observed).
    fn sent(self: Arc<Self>, packet: &Packet) {
        let _ = packet;
    }

    /// Called once, when the session has ended, by the task that drove it.
    fn closed(self: Arc<Self>, cause: CloseCause);

    /// Closes the connection once its handlers have finished, because the server is closing. With `for_good`, the client is told
    /// not to reconnect.
    fn leave(&self, for_good: bool);

    /// Closes the connection after the queued packets, because its handlers have not finished in time.
    fn shut_down(&self, for_good: bool);

    /// Returns `true` while handlers of the client run. A server that closes waits for them.
    fn is_busy(&self) -> bool;

    /// Returns itself, for the protocol that has created it.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Handles the messages of a session, in order. Calls never overlap, regardless of the transport.
pub(crate) trait Reader: Send {
    /// Returns ready if another message can be handled. Until then the connection is not read.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Handles a message. A response that is ready at once may be sent through `direct`.
    fn receive(&mut self, message: Packet, direct: &mut Direct<'_>, cx: &mut Context<'_>);

    /// Returns what has been received, but not handled.
    fn held(&self) -> HeldInput;

    /// Returns `true` if all that has been received has been handled.
    fn is_idle(&self) -> bool;
}

/// Input that a connection has received, but not handled.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeldInput {
    pub(crate) bytes: usize,
    /// The client must send more before the input can be handled.
    pub(crate) is_incomplete: bool,
    /// A handler must finish before the input can be handled.
    pub(crate) is_stalled: bool,
}

type SendNow<'a> = dyn FnMut(&[u8], &[Packet]) -> bool + 'a;

/// Bypasses the outbox: writes to the transport at once if the outbox is empty and the transport has room.
pub(crate) struct Direct<'a> {
    send: Option<&'a mut SendNow<'a>>,
    used: bool,
}

impl<'a> Direct<'a> {
    /// For transports that cannot write at once. Every send fails.
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

    /// Sends a text and its attachments, all or none. If it returns `false`, the caller must queue them instead.
    pub(crate) fn try_send(&mut self, text: &[u8], attachments: &[Packet]) -> bool {
        let sent = self.send.as_mut().is_some_and(|send| send(text, attachments));
        self.used |= sent;
        sent
    }

    /// Returns `true` if something was sent, which means that the outbox was empty.
    pub(super) fn was_used(&self) -> bool {
        self.used
    }
}
