use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use pin_project::pin_project;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    EventRequest, EventResponse, IntoEventResponse,
    server::LayerId,
    util::{log, now},
};

use super::{
    super::EventResponseFuture,
    key,
    memory::{Claim, Limits, Memory, Ticket},
    scopes::{ScopeLimits, Scopes},
};

/// Keys that are longer, with the event's name before them, are not remembered.
const MAX_KEY: usize = 512;

/// Answers an event that a client sends again, without handling it again.
///
/// A client that does not see the ack of an event, because the network failed or the time was up, may send the event once
/// more; the JavaScript client does so by itself with its options `retries` and `ackTimeout`. The packet does not tell that it
/// is a repetition, so the client has to: by an id of its own choice among the arguments.
///
/// ```js
/// const socket = io({ retries: 3, ackTimeout: 10000 });
/// socket.emit("order", { id: crypto.randomUUID(), item: "tea" }, (error, answer) => {});
/// ```
///
/// ```
/// use tower_socketio::{Ack, EventHandler, Namespace, middleware::DeduplicateLayer};
///
/// #[derive(Clone)]
/// struct User { id: u64 }
///
/// async fn order() -> Ack<&'static str> {
///     Ack("it will be there in a minute")
/// }
///
/// let once = DeduplicateLayer::by_field("id")
///     .scope(|request| request.socket().extensions().get::<User>().map(|user| user.id));
/// let shop = Namespace::new().on("order", order.layer(once));
/// # let _: Namespace = shop;
/// ```
///
/// The first event of a key is handled. While it is, a repetition waits for its answer; later, a repetition gets the same
/// answer at once, also if that came from an [`AckSender`](crate::extract::AckSender). An event that was handled without an
/// answer is not handled again either. What is not remembered:
///
/// * errors, of the handler or of a layer within this one: whoever waits gets them, and what comes after that is handled;
/// * events that were given up, by a panic or a timeout: the next repetition is handled, one that waits too.
///
/// Events of different names, or in different namespaces, are never taken for one another.
///
/// # Whose events
///
/// By default each socket has a memory of its own, which goes when the socket does. But a client that loses its connection
/// comes back as a new socket, and then repeats what was not acknowledged: for that, give the memory to the user by
/// [`scope`](Self::scope). The ids are the client's choice, so let nobody choose the scope: whoever knows another one's scope
/// and id would get its answer. Clones of a layer share their memories; another process has its own.
///
/// # Limits
///
/// A memory holds the last [`capacity`](Self::capacity) events, for [`max_age`](Self::max_age), with their answers, within
/// [`max_bytes`](Self::max_bytes). The layer holds memories of [`max_scopes`](Self::max_scopes) users, within
/// [`max_total_bytes`](Self::max_total_bytes). A key that is longer than 512 bytes, together with the event's name, counts
/// as none.
#[derive(Clone)]
pub struct DeduplicateLayer {
    id: LayerId,
    key: Arc<dyn Fn(&mut EventRequest) -> Option<String> + Send + Sync>,
    scope: Option<Arc<dyn Fn(&EventRequest) -> Option<String> + Send + Sync>>,
    scopes: Arc<Scopes>,
    limits: Limits,
    max_scopes: usize,
    max_total_bytes: usize,
}

impl DeduplicateLayer {
    /// Asks a function for the key of an event. One for which it gives `None` is handled, whether it is a repetition or not.
    ///
    /// ```
    /// use tower_socketio::middleware::DeduplicateLayer;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Meta { request_id: u64 }
    ///
    /// // emit("event", data, { request_id: 7 })
    /// let layer = DeduplicateLayer::new(|event| {
    ///     let (_, meta) = event.args::<(serde::de::IgnoredAny, Meta)>().ok()?;
    ///     Some(meta.request_id)
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn new<K: fmt::Display>(key: impl Fn(&mut EventRequest) -> Option<K> + Send + Sync + 'static) -> Self {
        Self {
            id: LayerId::new(),
            key: Arc::new(move |request| key(request).map(|key| key.to_string())),
            scope: None,
            scopes: Arc::default(),
            limits: Limits { capacity: 100, max_age: Duration::from_secs(120), max_bytes: 256 * 1024 },
            max_scopes: 10_000,
            max_total_bytes: 64 * 1024 * 1024,
        }
    }

    /// The key is an argument, the first one being 0: a string or an integer. Anything else is no key.
    #[must_use]
    pub fn by_argument(index: usize) -> Self {
        Self::new(move |request| key::argument(request, index))
    }

    /// The key is a field of the first argument, which is an object: a string or an integer. Anything else is no key.
    #[must_use]
    pub fn by_field(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::new(move |request| key::field(request, &name))
    }

    /// Remembers the events of a user, whatever socket they come by. Where the function gives `None`, those of the socket.
    /// Default: those of each socket.
    #[must_use]
    pub fn scope<K: fmt::Display>(
        mut self,
        scope: impl Fn(&EventRequest) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        self.scope = Some(Arc::new(move |request| {
            let scope = scope(request)?;
            Some(format!("{}\0{scope}", request.socket().namespace()))
        }));
        self
    }

    /// How many events are remembered for each socket, or user; the oldest makes room for a new one. Default: 100.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn capacity(mut self, events: usize) -> Self {
        assert!(events > 0, "a memory without room: let it hold one event at least");
        self.limits.capacity = events;
        self
    }

    /// How long an event is remembered, from its arrival on. Default: 2 minutes.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.limits.max_age = age;
        self
    }

    /// How many bytes are remembered for each socket, or user: keys and answers, and 192 bytes for each event besides.
    /// Default: 256 KiB.
    ///
    /// The oldest events make room for a new one. An event whose answer alone is larger is not remembered: a repetition is
    /// handled again.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_bytes = bytes;
        self
    }

    /// How many bytes are remembered for all users together. Default: 64 MiB.
    ///
    /// Past it, those that emitted nothing for the longest time make room. The memories of single sockets do not count.
    #[must_use]
    pub fn max_total_bytes(mut self, bytes: usize) -> Self {
        self.max_total_bytes = bytes;
        self
    }

    /// How many users are remembered, at least; at most twice as many are. Those that emitted nothing for the longest time
    /// make room. Default: 10 000.
    #[must_use]
    pub fn max_scopes(mut self, scopes: usize) -> Self {
        self.max_scopes = scopes;
        self
    }

    /// The key of an event, behind its name.
    fn key(&self, request: &mut EventRequest) -> Option<Arc<str>> {
        if request.disconnect_reason().is_some() {
            return None;
        }
        let key = (self.key)(request)?;
        let key = format!("{}\0{key}", request.event());
        (key.len() <= MAX_KEY).then(|| key.into())
    }

    fn memory(&self, request: &EventRequest) -> Arc<Memory> {
        match self.scope.as_ref().and_then(|scope| scope(request)) {
            Some(scope) => {
                let (capacity, max_age, max_bytes) = (self.max_scopes, self.limits.max_age, self.max_total_bytes);
                self.scopes.memory(scope, ScopeLimits { capacity, max_age, max_bytes }, now())
            }
            None => request.socket().inner().with_kept(self.id, Arc::<Memory>::default, |memory| memory.clone()),
        }
    }
}

impl<S> Layer<S> for DeduplicateLayer {
    type Service = Deduplicate<S>;

    fn layer(&self, inner: S) -> Deduplicate<S> {
        Deduplicate { inner, layer: self.clone() }
    }
}

impl fmt::Debug for DeduplicateLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeduplicateLayer").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Answers events that are sent again. Made by [`DeduplicateLayer`].
#[derive(Debug, Clone)]
pub struct Deduplicate<S> {
    inner: S,
    layer: DeduplicateLayer,
}

impl<S> Service<EventRequest> for Deduplicate<S>
where
    S: Service<EventRequest> + Clone + Send + 'static,
    S::Response: IntoEventResponse,
    S::Future: Send,
{
    type Response = EventResponse;
    type Error = S::Error;
    type Future = DeduplicateFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: EventRequest) -> Self::Future {
        let Some(key) = self.layer.key(&mut request) else {
            return DeduplicateFuture(Repr::Passed(EventResponseFuture::inner(self.inner.call(request))));
        };
        let memory = self.layer.memory(&request);
        let fresh = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, fresh.clone());
        let event = Event { memory, key, limits: self.layer.limits };
        DeduplicateFuture(Repr::Keyed(Box::pin(event.handle(ready, fresh, request))))
    }
}

/// An event that has a key.
struct Event {
    memory: Arc<Memory>,
    key: Arc<str>,
    limits: Limits,
}

impl Event {
    /// Calls the service that is ready, or a fresh one if that comes only after waiting: what makes a service ready may be
    /// what somebody else waits for.
    async fn handle<S>(self, ready: S, fresh: S, request: EventRequest) -> Result<EventResponse, S::Error>
    where
        S: Service<EventRequest>,
        S::Response: IntoEventResponse,
    {
        let mut ready = Some(ready);
        loop {
            let ticket = match self.memory.claim(&self.key, self.limits, now()) {
                Claim::Answered(response) => {
                    log!(debug, event = %request.event(), "an event was sent again");
                    return Ok(response);
                }
                Claim::Wait(mut answer) => {
                    ready = None;
                    // If whoever handled it has given up, it is to be handled once more.
                    if let Ok(answer) = answer.wait_for(Option::is_some).await
                        && let Some(response) = &*answer
                    {
                        return Ok(response.clone());
                    }
                    continue;
                }
                Claim::Handle(ticket) => ticket,
            };
            return match ready {
                Some(mut service) => first(ticket, request, |request| service.call(request)).await,
                None => first(ticket, request, |request| fresh.oneshot(request)).await,
            };
        }
    }
}

/// Handles the first event of a key.
async fn first<F, R, E>(
    ticket: Arc<Ticket>,
    mut request: EventRequest,
    call: impl FnOnce(EventRequest) -> F,
) -> Result<EventResponse, E>
where
    F: Future<Output = Result<R, E>>,
    R: IntoEventResponse,
{
    let watching = ticket.clone();
    request.watch_ack(move |args| watching.answer(&EventResponse::ack(args.clone())));
    let response = call(request).await?.into_event_response();
    if response.is_none() {
        ticket.handled();
    } else {
        ticket.answer(&response);
    }
    Ok(response)
}

/// The future of [`Deduplicate`].
#[pin_project]
pub struct DeduplicateFuture<F, E>(#[pin] Repr<F, E>);

#[pin_project(project = ReprProjection)]
enum Repr<F, E> {
    Passed(#[pin] EventResponseFuture<F>),
    Keyed(BoxFuture<'static, Result<EventResponse, E>>),
}

impl<F, R, E> Future for DeduplicateFuture<F, E>
where
    F: Future<Output = Result<R, E>>,
    R: IntoEventResponse,
{
    type Output = Result<EventResponse, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            ReprProjection::Passed(future) => future.poll(cx),
            ReprProjection::Keyed(future) => future.as_mut().poll(cx),
        }
    }
}

impl<F, E> fmt::Debug for DeduplicateFuture<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeduplicateFuture").finish_non_exhaustive()
    }
}
