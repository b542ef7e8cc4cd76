use std::{
    collections::HashMap,
    fmt,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use foldhash::fast::RandomState;
use futures_util::FutureExt;
use serde::de::DeserializeOwned;

use crate::{
    handler::{EventError, EventFuture, EventResponse, EventRoute},
    macros::log,
    packet::{Args, ArgsError, EventPayload, Target, encode_ack, is_valid_json, read_args},
    server::Server,
    socket::{DisconnectReason, Socket, SocketRef},
};

/// An event of a client's, on its way to a handler.
///
/// It is what the layers of [`Namespace::event_layer`](crate::Namespace::event_layer) see. A clone shares the arguments,
/// and has the ack too: only the first answer counts for the client.
#[derive(Clone)]
pub struct EventRequest {
    socket: SocketRef,
    content: Content,
    /// The id of the ack that the client waits for.
    ack: Option<u64>,
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
    pub(crate) fn new(socket: Arc<Socket>, event: EventPayload, ack: Option<u64>) -> Self {
        Self { socket: socket.into(), content: Content::Event(event), ack, ack_taken: false, check: Check::Unread }
    }

    fn disconnect(socket: &Arc<Socket>, name: &'static str, reason: DisconnectReason) -> Self {
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
    pub fn args<T: DeserializeOwned>(&mut self) -> Result<T, serde_json::Error> {
        use serde::de::Error as _;
        let result = match &self.content {
            Content::Event(event) => read_args(event.json(), event.attachments(), true),
            Content::Disconnect { reason, .. } => {
                let json = format!(r#"["{reason}"]"#);
                read_args(json.as_bytes(), &[], false)
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

    /// Hands out the ack, once.
    pub(crate) fn take_ack(&mut self) -> Option<u64> {
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
            let json = event.json();
            let valid = if event.attachments().is_empty() {
                is_valid_json(json)
            } else {
                !matches!(read_args::<Args>(json, event.attachments(), true), Err(ArgsError::Malformed(_)))
            };
            if valid {
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
            self.socket.inner().connection.violation(detail);
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

/// The innermost event service: finds the handler by the event's name.
pub(super) struct EventRouter {
    /// Only looked up in: names that clients choose cannot crowd it.
    pub(super) events: HashMap<Box<str>, EventRoute, RandomState>,
    pub(super) any: Option<EventRoute>,
}

impl EventRouter {
    pub(super) fn into_route(self) -> EventRoute {
        EventRoute::handler(move |request| self.route(request))
    }

    fn route(&self, mut request: EventRequest) -> EventFuture {
        match (self.events.get(request.event()), &self.any) {
            (Some(handler), None) => handler.start(request),
            (None, Some(any)) => any.start(request),
            (Some(handler), Some(any)) => {
                let mut copy = request.clone();
                copy.ack = None;
                both(any.start(copy), handler.start(request))
            }
            (None, None) => {
                log!(debug, event = %request.event(), "no handler for an event");
                request.is_well_formed();
                EventFuture::ready(EventResponse::none())
            }
        }
    }
}

/// Runs the handler of all events, then, as soon as that has begun, the event's own.
fn both(mut any: EventFuture, mut own: EventFuture) -> EventFuture {
    let mut response = None;
    let mut any_done = false;
    EventFuture::new(std::future::poll_fn(move |cx| {
        if !any_done {
            any_done = any.poll_unpin(cx).is_ready();
        }
        if response.is_none()
            && let Poll::Ready(ready) = own.poll_unpin(cx)
        {
            response = Some(ready);
        }
        if any_done { response.take().map_or(Poll::Pending, Poll::Ready) } else { Poll::Pending }
    }))
}

/// Starts an event: polls its handler here, and spawns it if it has to wait.
///
/// [`Socket::poll_may_start`] has said that it may start.
pub(crate) fn start_event(socket: &Arc<Socket>, mut request: EventRequest, cx: &mut Context<'_>) {
    if !socket.is_connected() {
        return;
    }
    let ack = request.ack;
    let events = socket.take_events();
    // A layer may look at the arguments, or let no handler read them.
    if events.needs_readiness() && !request.is_well_formed() {
        return;
    }
    let mut future = events.call_ready(request);
    match poll_once(&mut future, cx) {
        Poll::Ready(response) => answer(socket, ack, response),
        Poll::Pending => {
            let running = socket.running();
            let socket = socket.clone();
            let task = async move {
                let response = AssertUnwindSafe(future).catch_unwind().await.ok();
                answer(&socket, ack, response);
                drop(running);
            };
            tokio::spawn(task);
        }
    }
}

/// Polls a handler for the first time; `None` if it panics.
fn poll_once(future: &mut EventFuture, cx: &mut Context<'_>) -> Poll<Option<EventResponse>> {
    match std::panic::catch_unwind(AssertUnwindSafe(|| future.poll_unpin(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    }
}

/// Sends the ack that a handler returned, or says what went wrong.
fn answer(socket: &Arc<Socket>, ack: Option<u64>, response: Option<EventResponse>) {
    let response = response.unwrap_or_else(|| {
        let server = &socket.connection.server;
        Server::count(&server.counters.panics);
        log!(error, namespace = %socket.namespace.name(), "an event handler panicked");
        EventError::internal_message().into()
    });
    if let Some(error) = response.error() {
        log!(debug, error = %error, "an event handler failed");
    }
    if let (Some(id), Some(args)) = (ack, response.into_args()) {
        let target = Target { namespace: socket.namespace.name(), id: Some(id) };
        // If the client is gone or too slow, that has been dealt with.
        let _ = socket.deliver(&encode_ack(target, args), false);
    }
}

/// Runs the handler of a socket that is about to leave, as far as it gets without waiting; the rest of it is spawned.
pub(crate) fn run_disconnecting(socket: &Arc<Socket>, reason: DisconnectReason) {
    run_detached(socket, socket.namespace.definition.disconnecting.as_ref(), "disconnecting", reason);
}

/// Runs the handler of a socket that has left.
pub(crate) fn run_disconnect(socket: &Arc<Socket>, reason: DisconnectReason) {
    run_detached(socket, socket.namespace.definition.disconnect.as_ref(), "disconnect", reason);
}

fn run_detached(socket: &Arc<Socket>, handler: Option<&EventRoute>, name: &'static str, reason: DisconnectReason) {
    let Some(handler) = handler else {
        return;
    };
    let server = &socket.connection.server;
    let _runtime = server.runtime().enter();
    let mut future = handler.start(EventRequest::disconnect(socket, name, reason));
    match poll_once(&mut future, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => answer(socket, None, response),
        Poll::Pending => {
            let socket = socket.clone();
            server.runtime().spawn(async move {
                let response = AssertUnwindSafe(future).catch_unwind().await.ok();
                answer(&socket, None, response);
            });
        }
    }
}
