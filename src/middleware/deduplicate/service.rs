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
    event::{EventRequest, EventResponse, IntoEventResponse},
    server::LayerId,
    util::{log, now},
};

use super::{
    super::future::EventResponseFuture,
    cache::{CacheLimits, Lookup, ResponseCache, Ticket},
    key,
    scopes::{ScopeLimits, Scopes},
};

/// The maximum length of a key with the event's name. Events with longer keys are not deduplicated.
const MAX_KEY: usize = 512;

/// Handles an event that a client retries only once, and responds to retries with the first response.
///
/// A client that does not receive the ack of an event may send the event again. The JavaScript client does so with its options
/// `retries` and `ackTimeout`. A retry is not marked in the protocol, so the client must send a unique id among the arguments:
///
/// ```js
/// const socket = io({ retries: 3, ackTimeout: 10000 });
/// socket.emit("order", { id: crypto.randomUUID(), item: "tea" }, (error, answer) => {});
/// ```
///
/// ```
/// use tower_socketio::{Ack, Namespace, handler::EventHandler, middleware::DeduplicateLayer};
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
/// The first event with a key is handled. A retry that arrives meanwhile waits for the response. Later retries get the same
/// response at once, also if it was sent by an [`AckSender`](crate::extract::AckSender). An event that was handled without a
/// response is not handled again either. The following are not cached:
///
/// * errors of the handler or of an inner layer: retries that wait get the error, later ones are handled;
/// * events whose handler was aborted, by a panic or a timeout: the next retry is handled, also one that waits.
///
/// Keys are separate for each event name and namespace.
///
/// # Scope
///
/// By default each socket has its own cache, which is dropped with the socket. A client that loses its connection reconnects as a
/// new socket, and then retries events that have no ack. To cover that case, use one cache per user, by [`scope`](Self::scope).
/// Clients choose their ids, so they must not be able to choose the scope: with another user's scope and id, a client would get
/// that user's response. Clones of a layer share their caches. Caches are local to the process.
///
/// # Limits
///
/// A cache contains the last [`capacity`](Self::capacity) events and their responses, for [`max_age`](Self::max_age) and up to
/// [`max_bytes`](Self::max_bytes). The layer has caches for [`max_scopes`](Self::max_scopes) users, up to
/// [`max_total_bytes`](Self::max_total_bytes). Events are not deduplicated if the key and the event's name together exceed 512
/// bytes.
#[derive(Clone)]
pub struct DeduplicateLayer {
    id: LayerId,
    key: Arc<dyn Fn(&mut EventRequest) -> Option<String> + Send + Sync>,
    scope: Option<Arc<dyn Fn(&EventRequest) -> Option<String> + Send + Sync>>,
    scopes: Arc<Scopes>,
    limits: CacheLimits,
    max_scopes: usize,
    max_total_bytes: usize,
}

impl DeduplicateLayer {
    /// Creates a layer with a function that returns the key of an event. Events for which it returns `None` are always handled.
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
            limits: CacheLimits { capacity: 100, max_age: Duration::from_secs(120), max_bytes: 256 * 1024 },
            max_scopes: 10_000,
            max_total_bytes: 64 * 1024 * 1024,
        }
    }

    /// Creates a layer that uses an argument as the key. The first argument has index 0. Events whose argument is neither a string
    /// nor an integer have no key.
    #[must_use]
    pub fn by_argument(index: usize) -> Self {
        Self::new(move |request| key::argument(request, index))
    }

    /// Creates a layer that uses a field of the first argument as the key. Events whose field is neither a string nor an integer have
    /// no key.
    #[must_use]
    pub fn by_field(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::new(move |request| key::field(request, &name))
    }

    /// Sets a function that returns the scope of an event, such as the user. Events of one scope share a cache, in each namespace.
    /// Events for which it returns `None` use the cache of their socket. Default: each socket has its own cache.
    #[must_use]
    pub fn scope<K: fmt::Display>(
        mut self,
        scope: impl Fn(&EventRequest) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        self.scope = Some(Arc::new(move |request| {
            let scope = scope(request)?;
            Some(format!("{}\0{scope}", request.socket().inner().namespace.name()))
        }));
        self
    }

    /// Sets the maximum number of events in a cache. The oldest one is evicted. Default: 100.
    ///
    /// # Panics
    ///
    /// Panics if the number is 0.
    #[must_use]
    #[track_caller]
    pub fn capacity(mut self, events: usize) -> Self {
        assert!(events > 0, "a cache must have room for at least one event");
        self.limits.capacity = events;
        self
    }

    /// Sets how long an event is cached after its arrival. Default: 2 minutes.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.limits.max_age = age;
        self
    }

    /// Sets the maximum size of a cache in bytes: keys, responses, and 192 bytes for each event. Default: 256 KiB.
    ///
    /// The oldest events are evicted. An event whose response alone exceeds the limit is not cached.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_bytes = bytes;
        self
    }

    /// Sets the maximum size of all users' caches in bytes. Default: 64 MiB.
    ///
    /// Caches that have not been used for longest are dropped. Caches of sockets do not count.
    #[must_use]
    pub fn max_total_bytes(mut self, bytes: usize) -> Self {
        self.max_total_bytes = bytes;
        self
    }

    /// Sets the number of users with a cache. Default: 10,000.
    ///
    /// Up to twice as many may exist. Caches that have not been used for longest are dropped.
    #[must_use]
    pub fn max_scopes(mut self, scopes: usize) -> Self {
        self.max_scopes = scopes;
        self
    }

    /// Returns the event's name and key.
    fn key(&self, request: &mut EventRequest) -> Option<Arc<str>> {
        if request.disconnect_reason().is_some() {
            return None;
        }
        let key = (self.key)(request)?;
        let key = format!("{}\0{key}", request.event());
        (key.len() <= MAX_KEY).then(|| key.into())
    }

    fn cache(&self, request: &EventRequest) -> Arc<ResponseCache> {
        match self.scope.as_ref().and_then(|scope| scope(request)) {
            Some(scope) => {
                let (capacity, max_age, max_bytes) = (self.max_scopes, self.limits.max_age, self.max_total_bytes);
                self.scopes.cache(scope, ScopeLimits { capacity, max_age, max_bytes }, now())
            }
            None => {
                request.socket().inner().with_layer_data(self.id, Arc::<ResponseCache>::default, |cache| cache.clone())
            }
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

/// Deduplicates events. Created by [`DeduplicateLayer`].
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
        let cache = self.layer.cache(&request);
        let fresh = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, fresh.clone());
        let event = Event { cache, key, limits: self.layer.limits };
        DeduplicateFuture(Repr::Keyed(Box::pin(event.handle(ready, fresh, request))))
    }
}

/// An event with a key.
struct Event {
    cache: Arc<ResponseCache>,
    key: Arc<str>,
    limits: CacheLimits,
}

impl Event {
    /// Calls `ready`, or a fresh clone after waiting for another event. The ready service is dropped before waiting, because it may
    /// hold a permit that the other event needs.
    async fn handle<S>(self, ready: S, fresh: S, request: EventRequest) -> Result<EventResponse, S::Error>
    where
        S: Service<EventRequest>,
        S::Response: IntoEventResponse,
    {
        let mut ready = Some(ready);
        loop {
            let ticket = match self.cache.look_up(&self.key, self.limits, now()) {
                Lookup::Answered(response) => {
                    log!(debug, event = %request.event(), "duplicate event");
                    return Ok(response);
                }
                Lookup::Wait(mut answer) => {
                    ready = None;
                    // Without a response, handling was aborted, and this event is handled instead.
                    if let Ok(answer) = answer.wait_for(Option::is_some).await
                        && let Some(response) = &*answer
                    {
                        return Ok(response.clone());
                    }
                    continue;
                }
                Lookup::Handle(ticket) => ticket,
            };
            return match ready {
                Some(mut service) => first(ticket, request, |request| service.call(request)).await,
                None => first(ticket, request, |request| fresh.oneshot(request)).await,
            };
        }
    }
}

/// Handles the first event with a key.
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
    request.observe_ack(move |args| watching.answer(&EventResponse::ack(args.clone())));
    let response = call(request).await?.into_event_response();
    if response.is_none() {
        ticket.handled();
    } else {
        ticket.answer(&response);
    }
    Ok(response)
}

/// The response future of [`Deduplicate`](crate::middleware::Deduplicate).
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
