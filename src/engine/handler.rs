use std::{
    any::Any,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use crate::util::{Mutex, log};

use super::{
    CloseCause, Connect, Connection, Direct, EngineSocket, HeldInput, Message, Packet, Peer, Reader, Transport,
};

/// A protocol over Engine.IO. Creates a [`SessionHandler`] for each session.
///
/// Implemented for closures that take an [`EngineSocket`] and return a [`SessionHandler`].
///
/// The engine calls [`open`](Self::open) before it sends the handshake. Messages that `open` sends follow the handshake.
pub trait Handler: Send + Sync + 'static {
    /// Handles one session.
    type Session: SessionHandler;

    /// Creates the handler of a new session.
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

/// Handles the events of one session.
///
/// Methods are called one at a time, on the task that drives the session, and must not block. If one panics, the session is
/// closed.
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
    /// Called once the handshake has been queued, before the first message.
    fn opened(&mut self) {}

    /// Returns ready if another message can be handled. Default: always.
    ///
    /// Until then the session is not read, so that the flow control of its connection slows the client down. The implementation
    /// must register the waker of `cx` before it returns pending.
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
/// [`as_str`](Self::as_str) and `Display` return the reason in the words of Node's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseReason(CloseCause);

impl CloseReason {
    /// Returns the reason in the words of Node's server, for example `transport close`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0.as_str()
    }

    /// Returns a description of what happened, for reasons that have details.
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

/// Implements the engine's traits for a [`Handler`].
pub(super) struct Adapter<H>(pub(super) H);

impl<H: Handler> Connect for Adapter<H> {
    fn connect(&self, connection: &Arc<Connection>) -> Option<(Arc<dyn Peer>, Box<dyn Reader>)> {
        let socket = EngineSocket::new(connection.clone());
        let session = connection.engine.catch_panic(|| self.0.open(socket))?;
        let peer =
            Arc::new(HandledSession { connection: connection.clone(), handler: Mutex::new(Some(Box::new(session))) });
        Some((peer.clone(), Box::new(MessageReader(peer))))
    }
}

/// A session and its handler. The handler is dropped when the session has ended.
struct HandledSession {
    connection: Arc<Connection>,
    handler: Mutex<Option<Box<dyn SessionHandler>>>,
}

impl HandledSession {
    /// Calls the handler, and closes the session if it panics. Returns `None` if it panicked or the session has ended.
    fn call<R>(&self, call: impl FnOnce(&mut dyn SessionHandler) -> R) -> Option<R> {
        let mut handler = self.handler.lock();
        let result = self.connection.engine.catch_panic(|| Some(call(&mut **handler.as_mut()?)));
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

    fn upgraded(self: Arc<Self>, transport: Transport) {
        self.call(|handler| handler.upgraded(transport));
    }

    fn closed(self: Arc<Self>, cause: CloseCause) {
        self.call(|handler| handler.closed(CloseReason(cause)));
        let handler = self.handler.lock().take();
        self.connection.engine.catch_panic(|| drop(handler));
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

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

struct MessageReader(Arc<HandledSession>);

impl Reader for MessageReader {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Without a handler the session has ended, and messages are dropped.
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
