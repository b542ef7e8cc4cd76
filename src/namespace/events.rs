use std::{
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use foldhash::fast::RandomState;
use futures_util::FutureExt;
use serde::de::DeserializeOwned;

use crate::{
    handler::{EventError, EventFuture, EventResponse, EventRoute},
    macros::log,
    packet::{Args, ArgsError, EncodedArgs, EventPayload, Target, encode_ack, is_valid_json, read_args},
    parser::prepare,
    server::Server,
    socket::{DisconnectReason, EmitError, EventStart, Socket, SocketRef},
};

/// An event of a client's, on its way to a handler.
///
/// It is what the layers of [`Namespace::event_layer`](crate::Namespace::event_layer) see. A clone shares the arguments,
/// and has the ack too: only the first answer counts for the client.
#[derive(Clone)]
pub struct EventRequest {
    socket: SocketRef,
    content: Content,
    /// The ack that the client waits for.
    ack: Option<Arc<PendingAck>>,
    /// The ack has been handed to the handler.
    ack_taken: bool,
    check: Check,
}

/// An ack that a client waits for. Only the first answer is sent, whoever gives it.
#[derive(Debug)]
pub(crate) struct PendingAck {
    id: u64,
    answered: AtomicBool,
}

impl PendingAck {
    pub(crate) fn answer(&self, socket: &Arc<Socket>, args: EncodedArgs) -> Result<(), EmitError> {
        let target = Target { namespace: socket.namespace.name(), id: Some(self.id) };
        let packet = encode_ack(target, args);
        if let Some(parser) = socket.namespace.parser() {
            prepare(&packet, parser).map_err(EmitError::parser)?;
        }
        if self.answered.swap(true, Ordering::Relaxed) {
            log!(debug, "an ack was answered twice");
            return Ok(());
        }
        Ok(socket.deliver(&packet, false)?)
    }
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
        let ack = ack.map(|id| Arc::new(PendingAck { id, answered: AtomicBool::new(false) }));
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
                let socket = request.socket.inner().clone();
                let mut copy = request.clone();
                copy.ack = None;
                let any = Contained::call(|| any.start(copy));
                both(socket, any, handler.start(request))
            }
            (None, None) => {
                log!(debug, event = %request.event(), "no handler for an event");
                request.is_well_formed();
                EventFuture::ready(EventResponse::none())
            }
        }
    }
}

/// Runs the handler of all events, then, as soon as that has begun, the event's own, whose answer waits for nobody else.
fn both(socket: Arc<Socket>, any: Contained, own: EventFuture) -> EventFuture {
    let mut any = Some(any);
    let mut own = own;
    EventFuture::new(std::future::poll_fn(move |cx| {
        if any.as_mut().is_some_and(|any| any.poll(&socket, cx).is_ready()) {
            any = None;
        }
        let response = ready!(own.poll_unpin(cx));
        if let Some(any) = any.take() {
            let running = socket.running();
            let socket = socket.clone();
            tokio::spawn(async move {
                // It answers nobody.
                let _ = any.run(&socket).await;
                drop(running);
            });
        }
        Poll::Ready(response)
    }))
}

/// Starts an event: polls its handler here, and spawns it if it has to wait.
pub(crate) fn start_event(socket: &Arc<Socket>, start: EventStart, mut request: EventRequest, cx: &mut Context<'_>) {
    let ack = request.ack.clone();
    let events = match start {
        EventStart::Ready(events) => events,
        EventStart::Panicked => return answer(socket, ack.as_deref(), panicked(socket)),
        EventStart::Gone => return,
    };
    // A layer may look at the arguments, or let no handler read them.
    if events.needs_readiness() && !request.is_well_formed() {
        return;
    }
    let mut event = Contained::call(|| events.call_ready(request));
    match event.poll(socket, cx) {
        Poll::Ready(response) => answer(socket, ack.as_deref(), response),
        Poll::Pending => {
            let running = socket.running();
            let socket = socket.clone();
            tokio::spawn(async move {
                let response = event.run(&socket).await;
                answer(&socket, ack.as_deref(), response);
                drop(running);
            });
        }
    }
}

/// A handler behind its layers. If they panic, when they are called or later, that is the end of this event alone.
struct Contained(Option<EventFuture>);

impl Contained {
    fn call(call: impl FnOnce() -> EventFuture) -> Self {
        Self(catch_unwind(AssertUnwindSafe(call)).ok())
    }

    fn poll(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<EventResponse> {
        let polled = match &mut self.0 {
            Some(future) => catch_unwind(AssertUnwindSafe(|| future.poll_unpin(cx))).ok(),
            None => None,
        };
        polled.unwrap_or_else(|| Poll::Ready(panicked(socket)))
    }

    async fn run(mut self, socket: &Socket) -> EventResponse {
        std::future::poll_fn(|cx| self.poll(socket, cx)).await
    }
}

fn panicked(socket: &Socket) -> EventResponse {
    Server::count(&socket.connection.server.counters.panics);
    log!(error, namespace = %socket.namespace.name(), "an event handler or a layer around it panicked");
    EventError::internal_message().into()
}

/// Sends the ack that a handler returned, or says what went wrong.
fn answer(socket: &Arc<Socket>, ack: Option<&PendingAck>, response: EventResponse) {
    if let Some(error) = response.error() {
        log!(debug, error = %error, "an event handler failed");
    }
    if let (Some(ack), Some(args)) = (ack, response.into_args()) {
        // If the client is gone or too slow, that has been dealt with.
        if let Err(error) = ack.answer(socket, args)
            && error.is_encode()
            && let Some(args) = EventResponse::from(EventError::internal(error)).into_args()
        {
            let _ = ack.answer(socket, args);
        }
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
    let request = EventRequest::disconnect(socket, name, reason);
    let mut event = Contained::call(|| handler.start(request));
    match event.poll(socket, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => answer(socket, None, response),
        Poll::Pending => {
            let socket = socket.clone();
            server.runtime().spawn(async move {
                let response = event.run(&socket).await;
                answer(&socket, None, response);
            });
        }
    }
}
