use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;

use crate::util::log;

use super::{
    CloseCause, Connect, Connection, Direct, EngineSocket, HeldInput, Message, Packet, Peer, Reader, Transport,
};

/// A protocol over Engine.IO: makes a [`SessionHandler`] for each session.
///
/// It is implemented for closures that take an [`EngineSocket`] and return a [`SessionHandler`]. It is called before the handshake
/// is sent; what it sends follows the handshake.
pub trait Handler: Send + Sync + 'static {
    /// The handler of one session.
    type Session: SessionHandler;

    /// Handles a new session.
    fn open(&self, socket: EngineSocket) -> Self::Session;
}

impl<F, S> Handler for F
where
    F: Fn(EngineSocket) -> S + Send + Sync + 'static,
    S: SessionHandler,
{
    type Session = S;

    fn open(&self, socket: EngineSocket) -> S {
        self(socket)
    }
}

/// Handles what happens in one session. Its methods are called one at a time, and never wait.
///
/// If a method panics, the session is closed.
///
/// ```
/// use tower_socketio::engine::{CloseReason, EngineSocket, Message, SessionHandler};
///
/// struct Echo(EngineSocket);
///
/// impl SessionHandler for Echo {
///     fn message(&mut self, message: Message) {
///         self.0.send(message).ok();
///     }
///
///     fn closed(&mut self, reason: CloseReason) {
///         println!("closed: {reason}");
///     }
/// }
/// ```
pub trait SessionHandler: Send + 'static {
    /// Called when the handshake has been queued, before the first message.
    fn opened(&mut self) {}

    /// Returns ready if another message can be taken. Until then the session is not read, and the client is slowed down by the
    /// flow control of its connection.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Called with each message, in the order in which the client sent them.
    fn message(&mut self, message: Message);

    /// Called when the session has moved from long-polling to another transport.
    fn upgraded(&mut self, transport: Transport) {
        let _ = transport;
    }

    /// Called once, when the session has ended.
    fn closed(&mut self, reason: CloseReason) {
        let _ = reason;
    }
}

/// Why a session has ended.
///
/// [`as_str`](Self::as_str) and `Display` give the reason as Node's server names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseReason(CloseCause);

impl CloseReason {
    /// The reason as Node's server names it: `transport close`, for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0.as_str()
    }

    /// What exactly happened, where the reason alone does not say it.
    #[must_use]
    pub fn detail(self) -> Option<&'static str> {
        match self.0 {
            CloseCause::TransportError(detail) | CloseCause::ParseError(detail) | CloseCause::Forced(detail) => {
                Some(detail)
            }
            CloseCause::PingTimeout
            | CloseCause::TransportClose
            | CloseCause::SlowClient
            | CloseCause::ShuttingDown => None,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Connects a [`Handler`] to the engine.
pub(super) struct Adapter<H>(pub(super) H);

impl<H: Handler> Connect for Adapter<H> {
    fn connect(&self, connection: &Arc<Connection>) -> Option<(Arc<dyn Peer>, Box<dyn Reader>)> {
        let socket = EngineSocket::new(connection.clone());
        let session = connection.engine.contained(|| self.0.open(socket))?;
        let peer =
            Arc::new(HandledSession { connection: connection.clone(), handler: Mutex::new(Some(Box::new(session))) });
        Some((peer.clone(), Box::new(MessageReader(peer))))
    }
}

/// A session with its handler, until it has ended.
struct HandledSession {
    connection: Arc<Connection>,
    handler: Mutex<Option<Box<dyn SessionHandler>>>,
}

impl HandledSession {
    /// Calls the handler. If it panics, the session is closed. Returns `None` then, and once the session has ended.
    fn call<R>(&self, call: impl FnOnce(&mut dyn SessionHandler) -> R) -> Option<R> {
        let mut handler = self.handler.lock();
        let result = self.connection.engine.contained(|| Some(call(&mut **handler.as_mut()?)));
        if result.is_none() {
            log!(error, "the handler of a session panicked");
            self.connection.abort(CloseCause::Forced("the handler panicked"));
        }
        result.flatten()
    }
}

impl Peer for HandledSession {
    fn opened(self: Arc<Self>, _: &mut Context<'_>) {
        self.connection.establish();
        self.call(|handler| handler.opened());
    }

    fn upgraded(&self, transport: Transport) {
        self.call(|handler| handler.upgraded(transport));
    }

    fn closed(&self, cause: CloseCause) {
        self.call(|handler| handler.closed(CloseReason(cause)));
        let handler = self.handler.lock().take();
        self.connection.engine.contain(|| drop(handler));
    }

    fn leave(&self, for_good: bool) {
        self.shut_down(for_good);
    }

    fn shut_down(&self, _: bool) {
        self.connection.close(CloseCause::ShuttingDown);
    }

    fn is_busy(&self) -> bool {
        false
    }
}

struct MessageReader(Arc<HandledSession>);

impl Reader for MessageReader {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // If there is no handler any more, the session has ended, and what is read is dropped.
        self.0.call(|handler| handler.poll_ready(cx)).unwrap_or(Poll::Ready(()))
    }

    fn receive(&mut self, message: Packet, _: &mut Direct<'_>, _: &mut Context<'_>) {
        self.0.call(|handler| handler.message(Message(message)));
    }

    fn held(&self) -> HeldInput {
        HeldInput::default()
    }

    fn is_idle(&self) -> bool {
        true
    }
}
