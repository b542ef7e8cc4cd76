//! Starting handlers and sending their acks.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use crate::{
    engine::Direct,
    observe::{self, EventWatch},
    packet::{EncodedArgs, Target, encode_ack},
    server::{DisconnectReason, EVENT, Event, EventCost, Share, Socket},
    util::{BoxFuture, Chain, log},
};

use super::{
    ack::PendingAck,
    contained::{Contained, log_failure, panicked},
    future::EventFuture,
    layer::EventLayer,
    request::EventRequest,
    response::{EventError, EventResponse},
    route::EventRoute,
    router::EventRouter,
};

/// The event service of a namespace.
pub(crate) enum Events {
    Router(EventRouter),
    /// Layers around the router.
    Layered(EventRoute),
}

impl Events {
    /// Applies layers to a router. The last one is outermost.
    pub(crate) fn new(router: EventRouter, layers: &[Arc<dyn EventLayer>]) -> Self {
        if layers.is_empty() {
            return Self::Router(router);
        }
        let route = EventRoute::handler(move |request| router.route(request));
        Self::Layered(layers.iter().fold(route, |route, layer| layer.apply(route)))
    }

    /// Starts an event. Returns a future if a layer is not ready. The event has started when that future completes.
    #[inline(always)]
    pub(crate) fn start(
        &self,
        socket: &Arc<Socket>,
        event: Event,
        direct: &mut Direct<'_>,
        cx: &mut Context<'_>,
    ) -> Option<BoxFuture<()>> {
        match self {
            Self::Router(router) => {
                let (cost, share) = (event.cost(), event.share);
                let request = EventRequest::new(socket.clone(), event.payload, event.ack);
                start(socket, request, &cost, share, |request| router.route(request), direct, cx);
                None
            }
            Self::Layered(route) => start_layered(socket, route.clone(), event, direct, cx),
        }
    }
}

#[inline(never)]
fn start_layered(
    socket: &Arc<Socket>,
    mut route: EventRoute,
    event: Event,
    direct: &mut Direct<'_>,
    cx: &mut Context<'_>,
) -> Option<BoxFuture<()>> {
    match poll_layers(&mut route, cx) {
        Poll::Ready(is_ready) => {
            call_layered(socket, is_ready.then_some(route), event, direct, cx);
            None
        }
        Poll::Pending => Some(Box::pin(WaitingLayers { socket: socket.clone(), waiting: Some((route, event)) })),
    }
}

/// Starts an event when its layers are ready.
struct WaitingLayers {
    socket: Arc<Socket>,
    waiting: Option<(EventRoute, Event)>,
}

impl Future for WaitingLayers {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some((route, _)) = &mut self.waiting else {
            return Poll::Ready(());
        };
        let is_ready = ready!(poll_layers(route, cx));
        if let Some((route, event)) = self.waiting.take() {
            call_layered(&self.socket, is_ready.then_some(route), event, &mut Direct::unavailable(), cx);
        }
        Poll::Ready(())
    }
}

impl Drop for WaitingLayers {
    /// Drops the layers, which are user code. The reader drops this future when the socket ends.
    fn drop(&mut self) {
        let waiting = self.waiting.take();
        self.socket.client.server.catch_panic(|| drop(waiting));
    }
}

/// Waits until the layers are ready. Returns `false` if one of them panicked.
fn poll_layers(route: &mut EventRoute, cx: &mut Context<'_>) -> Poll<bool> {
    match catch_unwind(AssertUnwindSafe(|| route.poll_route_ready(cx))) {
        Ok(ready) => ready.map(|()| true),
        Err(_) => Poll::Ready(false),
    }
}

/// Calls layers that are ready, or none if one of them panicked.
fn call_layered(
    socket: &Arc<Socket>,
    route: Option<EventRoute>,
    event: Event,
    direct: &mut Direct<'_>,
    cx: &mut Context<'_>,
) {
    let (cost, share) = (event.cost(), event.share);
    let mut request = EventRequest::new(socket.clone(), event.payload, event.ack);
    match route {
        // Otherwise a layer may read the arguments, or keep the event from a handler that checks them.
        Some(_) if !request.is_well_formed() => {}
        Some(route) => start(socket, request, &cost, share, |request| route.call_ready(request), direct, cx),
        None => {
            let mut watch = watch(&request);
            let response = panicked(socket, &mut watch);
            send_ack(socket, request.take_ack().as_ref(), response, watch);
        }
    }
}

/// Polls a handler once and spawns it if it is pending.
#[inline(always)]
fn start(
    socket: &Arc<Socket>,
    request: EventRequest,
    cost: &EventCost,
    share: Option<Box<Share>>,
    call: impl FnOnce(EventRequest) -> EventFuture,
    direct: &mut Direct<'_>,
    cx: &mut Context<'_>,
) {
    let ack = request.ack.clone();
    let mut event = Contained::call(watch(&request), || call(request));
    match event.poll(socket, cx) {
        Poll::Ready(response) => {
            let watch = event.into_watch();
            match ack {
                Some(ack) if ack.is_plain(socket) => {
                    match record_outcome(socket, response, Some(&ack), watch) {
                        Some(args) if !ack.is_answered() => reply(socket, ack.id(), args, direct),
                        _ => {}
                    }
                    ack.give_back();
                }
                ack => send_ack(socket, ack.as_ref(), response, watch),
            }
        }
        Poll::Pending => {
            let running = socket.running(cost.bytes());
            let socket = socket.clone();
            tokio::spawn(async move {
                let (response, watch) = event.run(&socket).await;
                send_ack(&socket, ack.as_ref(), response, watch);
                drop((running, share));
            });
        }
    }
}

/// Sends an ack as JSON. It bypasses the outbox if possible.
#[inline]
fn reply(socket: &Arc<Socket>, id: u64, mut args: EncodedArgs, direct: &mut Direct<'_>) {
    let target = Target { namespace: socket.namespace.name(), id: Some(id) };
    let may_send = direct.is_available() && socket.is_connected();
    if may_send && args.with_ack(target, |text, attachments| direct.try_send(text, attachments)) == Some(true) {
        args.recycle();
    } else {
        // `deliver` has already handled a disconnected or slow client.
        let _ = socket.deliver_owned(encode_ack(target, args), false);
    }
}

#[inline]
fn watch(request: &EventRequest) -> EventWatch {
    let socket = request.socket().inner();
    let event = || observe::Event {
        name: request.event(),
        ack: request.ack_id(),
        disconnect: request.disconnect_reason().map(DisconnectReason::as_str),
    };
    EventWatch::start(socket.namespace.meters(), || socket.scope(), event)
}

/// Records the outcome of a handler. Returns the arguments of its ack.
#[inline(always)]
fn record_outcome(
    socket: &Socket,
    response: EventResponse,
    ack: Option<&Arc<PendingAck>>,
    mut watch: EventWatch,
) -> Option<EncodedArgs> {
    watch.end(response.error().is_some());
    log_failure(socket, &response, &watch);
    if response.is_none()
        && let Some(ack) = ack
        && ack.is_unanswered()
    {
        log_missing_ack(socket, &watch);
    }
    response.into_args()
}

/// Logs that a client waits for an ack that is not sent: its handler returned `()`, for example.
#[cold]
fn log_missing_ack(socket: &Socket, watch: &EventWatch) {
    let (namespace, event) = (socket.namespace.name(), watch.event_name());
    watch.in_scope(|| {
        log!(
            debug,
            namespace = %namespace,
            socket = %socket.id,
            event = %event,
            "the client waits for an ack that no handler sends: return an `Ack`"
        );
    });
}

/// Sends the ack that a handler returned, or logs why it cannot be sent.
fn send_ack(socket: &Arc<Socket>, ack: Option<&Arc<PendingAck>>, response: EventResponse, watch: EventWatch) {
    if let (Some(args), Some(ack)) = (record_outcome(socket, response, ack, watch), ack) {
        // `answer` has already handled a disconnected or slow client.
        if let Err(error) = ack.answer(socket, args)
            && error.is_encode()
        {
            let (namespace, id) = (socket.namespace.name(), &socket.id);
            log!(error, namespace = %namespace, socket = %id, error = %Chain(&error), "an ack cannot be encoded");
            if let Some(args) = EventResponse::from(EventError::internal_message()).into_args() {
                let _ = ack.answer(socket, args);
            }
        }
    }
}

/// Polls a handler of the disconnection once and spawns it if it is pending. `then` is called when it has ended.
pub(crate) fn run_detached(
    socket: &Arc<Socket>,
    handler: Option<&EventRoute>,
    name: &'static str,
    reason: DisconnectReason,
    then: impl FnOnce(&Socket) + Send + 'static,
) {
    let Some(handler) = handler else {
        return then(socket);
    };
    let runtime = &socket.client.connection.runtime;
    let _entered = runtime.enter();
    let request = EventRequest::disconnect(socket, name, reason);
    let mut event = Contained::call(watch(&request), || handler.start(request));
    match event.poll(socket, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => {
            send_ack(socket, None, response, event.into_watch());
            then(socket);
        }
        Poll::Pending => {
            let (socket, running) = (socket.clone(), socket.running(EVENT));
            runtime.spawn(async move {
                let (response, watch) = event.run(&socket).await;
                send_ack(&socket, None, response, watch);
                then(&socket);
                drop(running);
            });
        }
    }
}
