use std::{
    borrow::Cow,
    cell::Cell,
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
    engine::Direct,
    handler::{EventError, EventFuture, EventResponse, EventRoute},
    observe::EventWatch,
    packet::{ArgsError, EncodedArgs, EventPayload, Target, encode_ack, is_valid_json, read_args},
    parser::try_encode_by,
    server::{EVENT, EventCost, Share},
    socket::{DisconnectReason, EmitError, EventStart, Found, Socket, SocketRef},
    util::log,
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
    watched: Option<Box<Watched>>,
}

/// An ack whose answer a layer wants to see, although the handler gives it by itself.
struct Watched {
    ack: Arc<PendingAck>,
    see: Box<dyn Fn(&EncodedArgs) + Send + Sync>,
}

thread_local! {
    /// One that has been answered and is used again: nearly every event has an ack, and few are handed out.
    static SPARE_ACK: Cell<Option<Arc<PendingAck>>> = const { Cell::new(None) };
}

impl PendingAck {
    fn new(id: u64) -> Arc<Self> {
        let new = Self { id, answered: AtomicBool::new(false), watched: None };
        // Nobody else may hold it.
        if let Some(mut spare) = SPARE_ACK.take()
            && let Some(unused) = Arc::get_mut(&mut spare)
        {
            *unused = new;
            return spare;
        }
        Arc::new(new)
    }

    /// Whether the answer is JSON, and nobody wants to see it first.
    fn is_plain(&self, socket: &Socket) -> bool {
        self.watched.is_none() && socket.namespace.parser().is_none()
    }

    fn give_back(self: Arc<Self>) {
        SPARE_ACK.set(Some(self));
    }

    pub(crate) fn answer(&self, socket: &Arc<Socket>, args: EncodedArgs) -> Result<(), EmitError> {
        if let Some(watched) = &self.watched {
            if self.is_answered() {
                return Ok(());
            }
            (watched.see)(&args);
            // What cannot be encoded is no answer yet.
            let answered = watched.ack.answer(socket, args);
            return answered.inspect_err(|error| self.answered.store(!error.is_encode(), Ordering::Relaxed));
        }
        let target = Target { namespace: socket.namespace.name(), id: Some(self.id) };
        let packet = encode_ack(target, args);
        if let Some(parser) = socket.namespace.parser() {
            try_encode_by(&packet, parser, || socket.namespace.count_panic()).map_err(EmitError::parser)?;
        }
        if self.is_answered() {
            return Ok(());
        }
        Ok(socket.deliver(Cow::Owned(packet), false)?)
    }

    /// Whether it has been answered before; from now on it has.
    fn is_answered(&self) -> bool {
        let answered = self.answered.swap(true, Ordering::Relaxed);
        if answered {
            log!(debug, "an ack was answered twice");
        }
        answered
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("ack", &self.ack).finish_non_exhaustive()
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
    #[inline(always)]
    pub(crate) fn new(socket: Arc<Socket>, event: EventPayload, ack: Option<u64>) -> Self {
        let ack = ack.map(PendingAck::new);
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

    /// The bytes of the arguments as they arrived, attachments included.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        match &self.content {
            Content::Event(event) => event.size(),
            Content::Disconnect { .. } => 0,
        }
    }

    #[inline]
    pub(crate) fn cost(&self) -> EventCost {
        match &self.content {
            Content::Event(event) => EventCost::new(event.text(), event.size()),
            Content::Disconnect { .. } => EventCost::default(),
        }
    }

    /// The number of the ack that the client waits for.
    #[cfg(feature = "tracing")]
    pub(crate) fn ack_id(&self) -> Option<u64> {
        self.ack.as_ref().map(|ack| ack.id)
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
        self.ack = self.ack.take().map(|ack| {
            let id = ack.id;
            let watched = Some(Box::new(Watched { ack, see: Box::new(see) }));
            Arc::new(PendingAck { id, answered: AtomicBool::new(false), watched })
        });
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
        let socket = request.socket.inner();
        let handler = self.events.get(request.event());
        match (handler, &self.any, socket.listeners()) {
            (Some(handler), None, None) => handler.start(request),
            (None, Some(any), None) => any.start(request),
            (None, None, None) => {
                log!(debug, event = %request.event(), "no handler for an event");
                request.is_well_formed();
                EventFuture::ready(EventResponse::none())
            }
            (handler, any, listeners) => {
                let found = listeners.map(|listeners| listeners.find(request.event())).unwrap_or_default();
                route_to_all(request, handler, any.as_ref(), &found)
            }
        }
    }
}

/// Gives an event to several handlers. One answers the ack: the namespace's own, or else the first listener of the
/// socket's, or else the namespace's handler of all events.
fn route_to_all(
    request: EventRequest,
    handler: Option<&EventRoute>,
    any: Option<&EventRoute>,
    found: &Found,
) -> EventFuture {
    let (answering, rest) = match (handler, &*found.own, any) {
        (Some(handler), rest, _) => (Some(handler), rest),
        (None, [first, rest @ ..], _) => (Some(&**first), rest),
        (None, [], any) => (any, &[][..]),
    };
    let socket = request.socket.inner().clone();
    let mut copy = request.clone();
    copy.ack = None;
    let start = |route: &EventRoute| Contained::call(EventWatch::beside(), || route.start(copy.clone()));
    let start_shared = |route: &Arc<EventRoute>| start(route);
    let of_all = any.filter(|any| !answering.is_some_and(|answering| std::ptr::eq(answering, *any)));
    let before = of_all.into_iter().map(start).chain(found.any.iter().map(start_shared)).collect();
    let own = match answering {
        Some(route) => Contained::call(EventWatch::beside(), || route.start(request)),
        None => {
            let mut request = request;
            log!(debug, event = %request.event(), "no handler answers an event");
            if !request.is_well_formed() {
                return EventFuture::ready(EventResponse::none());
            }
            Contained::call(EventWatch::beside(), || EventFuture::ready(EventResponse::none()))
        }
    };
    let after = rest.iter().map(start_shared).collect();
    together(socket, before, own, after)
}

/// Runs handlers in this order, as far as each gets. The answer of the one in the middle waits for nobody else.
fn together(
    socket: Arc<Socket>,
    mut before: Vec<Contained>,
    mut own: Contained,
    mut after: Vec<Contained>,
) -> EventFuture {
    let mut response = None;
    EventFuture::new(std::future::poll_fn(move |cx| {
        before.retain_mut(|other| other.poll(&socket, cx).is_pending());
        if response.is_none()
            && let Poll::Ready(ready) = own.poll(&socket, cx)
        {
            response = Some(ready);
        }
        after.retain_mut(|other| other.poll(&socket, cx).is_pending());
        let response = ready!(response.take().map_or(Poll::Pending, Poll::Ready));
        for other in before.drain(..).chain(after.drain(..)) {
            let (socket, running) = (socket.clone(), socket.running(EVENT));
            tokio::spawn(async move {
                // It answers nobody.
                let _ = other.run(&socket).await;
                drop(running);
            });
        }
        Poll::Ready(response)
    }))
}

/// What a handler has answered at once. It has not been sent.
#[must_use = "the client waits for it"]
pub(crate) struct Reply {
    pub(crate) socket: Arc<Socket>,
    /// That of the ack.
    pub(crate) id: u64,
    pub(crate) args: EncodedArgs,
}

impl Reply {
    /// Sends it like any other packet.
    pub(crate) fn deliver(self) {
        let target = Target { namespace: self.socket.namespace.name(), id: Some(self.id) };
        // If the client is gone or too slow, that has been dealt with.
        let _ = self.socket.deliver(Cow::Owned(encode_ack(target, self.args)), false);
    }

    /// Sends it past the outbox if that is possible, or else like any other packet. A parser's packets are never sent directly.
    pub(crate) fn send_by(mut self, direct: &mut Direct<'_>) {
        let target = Target { namespace: self.socket.namespace.name(), id: Some(self.id) };
        let socket = &self.socket;
        let may_send = direct.is_available() && socket.client.server.settings.parser.is_none() && socket.is_connected();
        let sent = may_send
            && self.args.with_ack(target, |text, attachments| direct.try_send(text, attachments)) == Some(true);
        if sent {
            self.args.recycle();
        } else {
            self.deliver();
        }
    }
}

/// Starts an event: polls its handler here, and spawns it if it has to wait. Answers with the id and the arguments of an
/// ack that is given at once.
#[must_use = "the client waits for the ack"]
pub(crate) fn start_event(
    socket: &Arc<Socket>,
    start: EventStart<'_>,
    mut request: EventRequest,
    share: &mut Option<Box<Share>>,
    cx: &mut Context<'_>,
) -> Option<(u64, EncodedArgs)> {
    let ack = request.ack.clone();
    let cost = request.cost();
    let mut event = match start {
        EventStart::At(events) => Contained::call(EventWatch::start(&request), || events.start(request)),
        // A layer may look at the arguments, or let no handler read them.
        EventStart::Ready(_) if !request.is_well_formed() => return None,
        EventStart::Ready(events) => Contained::call(EventWatch::start(&request), || events.call_ready(request)),
        EventStart::Panicked => {
            let mut watch = EventWatch::start(&request);
            let response = panicked(socket, &mut watch);
            answer(socket, ack.as_deref(), response, watch);
            return None;
        }
        EventStart::Gone => return None,
    };
    match event.poll(socket, cx) {
        Poll::Ready(response) => {
            let Contained { future, watch } = event;
            future.into_iter().for_each(EventFuture::recycle);
            let ack = match ack {
                Some(ack) if ack.is_plain(socket) => ack,
                ack => {
                    answer(socket, ack.as_deref(), response, watch);
                    return None;
                }
            };
            let args = ended(response, watch).filter(|_| !ack.is_answered());
            let id = ack.id;
            ack.give_back();
            args.map(|args| (id, args))
        }
        Poll::Pending => {
            let (running, share) = (socket.running(cost.bytes()), share.take());
            let socket = socket.clone();
            tokio::spawn(async move {
                let (response, watch) = event.run(&socket).await;
                answer(&socket, ack.as_deref(), response, watch);
                drop((running, share));
            });
            None
        }
    }
}

/// A handler behind its layers. If they panic, when they are called or later, that is the end of this event alone.
struct Contained {
    future: Option<EventFuture>,
    watch: EventWatch,
}

impl Contained {
    fn call(watch: EventWatch, call: impl FnOnce() -> EventFuture) -> Self {
        let future = watch.in_scope(|| catch_unwind(AssertUnwindSafe(call)).ok());
        Self { future, watch }
    }

    fn poll(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<EventResponse> {
        let polled = match &mut self.future {
            Some(future) => self.watch.in_scope(|| catch_unwind(AssertUnwindSafe(|| future.poll_unpin(cx))).ok()),
            None => None,
        };
        polled.unwrap_or_else(|| Poll::Ready(panicked(socket, &mut self.watch)))
    }

    async fn run(mut self, socket: &Socket) -> (EventResponse, EventWatch) {
        let response = std::future::poll_fn(|cx| self.poll(socket, cx)).await;
        (response, self.watch)
    }
}

fn panicked(socket: &Socket, watch: &mut EventWatch) -> EventResponse {
    socket.client.server.count_panic();
    watch.panicked();
    watch.in_scope(|| {
        log!(error, namespace = %socket.namespace.name(), "an event handler or a layer around it panicked");
    });
    EventError::internal_message().into()
}

/// Takes note of what a handler returned. Answers with the arguments of its ack.
fn ended(response: EventResponse, mut watch: EventWatch) -> Option<EncodedArgs> {
    watch.end(&response);
    if let Some(error) = response.error() {
        watch.in_scope(|| log!(debug, error = %error, "an event handler failed"));
    }
    response.into_args()
}

/// Sends the ack that a handler returned, or says what went wrong.
fn answer(socket: &Arc<Socket>, ack: Option<&PendingAck>, response: EventResponse, watch: EventWatch) {
    if let (Some(args), Some(ack)) = (ended(response, watch), ack) {
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
    run_detached(socket, socket.namespace.definition.disconnecting.as_ref(), "disconnecting", reason, |_| {});
}

/// Runs the handler of a socket that has left. It is the last one that may ask for the auth payload.
pub(crate) fn run_disconnect(socket: &Arc<Socket>, reason: DisconnectReason) {
    let handler = socket.namespace.definition.disconnect.as_ref();
    run_detached(socket, handler, "disconnect", reason, Socket::forget_auth);
}

/// `then` is called once the handler has ended.
fn run_detached(
    socket: &Arc<Socket>,
    handler: Option<&EventRoute>,
    name: &'static str,
    reason: DisconnectReason,
    then: fn(&Socket),
) {
    let Some(handler) = handler else {
        return then(socket);
    };
    let runtime = &socket.client.connection.runtime;
    let _entered = runtime.enter();
    let request = EventRequest::disconnect(socket, name, reason);
    let mut event = Contained::call(EventWatch::start(&request), || handler.start(request));
    match event.poll(socket, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => {
            answer(socket, None, response, event.watch);
            then(socket);
        }
        Poll::Pending => {
            let (socket, running) = (socket.clone(), socket.running(EVENT));
            runtime.spawn(async move {
                let (response, watch) = event.run(&socket).await;
                answer(&socket, None, response, watch);
                then(&socket);
                drop(running);
            });
        }
    }
}
