use std::{collections::HashMap, fmt, sync::Arc};

use axum::{BoxError, body::Body, response::IntoResponse};
use http::Request;
use serde::Serialize;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    event::{EventLayer, EventRoute, EventRouter, Events},
    handler::{EventHandler, assert_reads_arguments_once},
    io::{ServerSideEvent, server_side_handler},
    observe::NamespaceMeters,
    packet::assert_can_be_handled,
    server::{Definition, ServerSideHandler, is_pattern},
};

use super::{
    connect_chain::ConnectChain, connect_handler::ConnectHandler, connect_route::ConnectRoute, handlers::Handlers,
    pattern::with_path,
};

/// A namespace: its admission of clients and its event handlers.
///
/// ```
/// use std::time::Duration;
/// use axum::extract::State;
/// use tower_socketio::{Namespace, extract::{Data, SocketRef}};
///
/// async fn joined(socket: SocketRef) {
///     socket.join("lobby");
/// }
/// async fn message(socket: SocketRef, State(prefix): State<String>, Data(text): Data<String>) {
///     socket.to("lobby").emit("message", &format!("{prefix}{text}")).ok();
/// }
///
/// let chat = Namespace::new()
///     .on_connect(joined)
///     .on("message", message)
///     .event_layer(tower::timeout::TimeoutLayer::new(Duration::from_secs(5)))
///     .with_state(String::from("> "));
/// # let _: Namespace = chat;
/// ```
///
/// # Admission
///
/// A CONNECT packet is an HTTP request to [`on_connect`](Self::on_connect), and passes through the [`layer`](Self::layer)s. A
/// response with a 2xx status accepts the client, any other rejects it. The request is a POST to the name of the namespace. It
/// has the query, headers and extensions of the request that opened the connection, and its body is the client's `auth` payload,
/// so that `Json<T>` extracts it.
///
/// # State
///
/// As with axum's `Router`, `S` is the type of the missing state, which [`with_state`](Self::with_state) provides.
///
/// # Parts
///
/// A namespace is `Clone`, so that several names can have the same handlers. Modules of an application return parts of a namespace,
/// which [`merge`](Self::merge) combines. A part that needs the state itself is created by [`from_state`](Self::from_state).
#[must_use]
pub struct Namespace<S = ()> {
    connect: Vec<MakeConnect<S>>,
    layers: Vec<Arc<dyn Fn(ConnectRoute) -> ConnectRoute + Send + Sync>>,
    events: HashMap<String, MakeEvent<S>>,
    any: Option<MakeEvent<S>>,
    fallback: Option<MakeEvent<S>>,
    disconnecting: Option<MakeEvent<S>>,
    disconnect: Option<MakeEvent<S>>,
    event_layers: Vec<Arc<dyn EventLayer>>,
    server_side: HashMap<String, ServerSideHandler>,
    from_state: Vec<Arc<dyn Fn(&S) -> Self + Send + Sync>>,
}

/// Adds a handler of CONNECT after those that were added before.
type MakeConnect<S> = Arc<dyn Fn(Option<ConnectRoute>, S) -> ConnectRoute + Send + Sync>;
type MakeEvent<S> = Arc<dyn Fn(S) -> EventRoute + Send + Sync>;

impl<S> Default for Namespace<S>
where
    S: Clone + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Namespace<S>
where
    S: Clone + Send + Sync + 'static,
{
    /// Creates a namespace that accepts every client and has no handlers.
    pub fn new() -> Self {
        Self {
            connect: Vec::new(),
            layers: Vec::new(),
            events: HashMap::new(),
            any: None,
            fallback: None,
            disconnecting: None,
            disconnect: None,
            event_layers: Vec::new(),
            server_side: HashMap::new(),
            from_state: Vec::new(),
        }
    }

    /// Creates a namespace from a function of its state, which is called when [`with_state`](Self::with_state) provides the state.
    ///
    /// A part of an application that is declared without the state, and needs it to create a layer, uses this with
    /// [`merge`](Self::merge):
    ///
    /// ```
    /// use axum::{extract::{Request, State}, middleware::{Next, from_fn_with_state}, response::Response};
    /// use tower_socketio::Namespace;
    ///
    /// #[derive(Clone)]
    /// struct App { name: &'static str }
    ///
    /// async fn log(State(app): State<App>, request: Request, next: Next) -> Response {
    ///     println!("CONNECT to {} of {}", request.uri().path(), app.name);
    ///     next.run(request).await
    /// }
    /// fn logged() -> Namespace<App> {
    ///     Namespace::from_state(|app: &App| Namespace::new().layer(from_fn_with_state(app.clone(), log)))
    /// }
    /// let chat: Namespace = Namespace::new().on("hello", async || {}).merge(logged()).with_state(App { name: "chat" });
    /// # let _ = chat;
    /// ```
    pub fn from_state(make: impl Fn(&S) -> Self + Send + Sync + 'static) -> Self {
        let mut namespace = Self::new();
        namespace.from_state.push(Arc::new(make));
        namespace
    }

    /// Adds the handlers and layers of another namespace, as if its methods had been called on this one.
    ///
    /// The layers of both therefore apply to the handlers of both. Those of `other` are outermost.
    ///
    /// ```
    /// use tower_socketio::{Namespace, extract::State};
    ///
    /// /// The events of one module of an application.
    /// fn messages() -> Namespace<String> {
    ///     Namespace::new().on("message", async |State(_prefix): State<String>| {})
    /// }
    /// fn presence() -> Namespace<String> {
    ///     Namespace::new().on("typing", async || {}).on_disconnect(async || {})
    /// }
    /// let chat: Namespace = messages().merge(presence()).with_state(String::from("> "));
    /// # let _ = chat;
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if both have a handler for the same event, or both have an `on_any`, `fallback`, `on_disconnecting` or `on_disconnect`
    /// handler. If one was created by [`from_state`](Self::from_state), `with_state` panics instead.
    #[track_caller]
    pub fn merge(mut self, other: Self) -> Self {
        let slots = [
            (&mut self.any, other.any, "on_any"),
            (&mut self.fallback, other.fallback, "fallback"),
            (&mut self.disconnecting, other.disconnecting, "on_disconnecting"),
            (&mut self.disconnect, other.disconnect, "on_disconnect"),
        ];
        for (slot, handler, what) in slots {
            if let Some(handler) = handler {
                set_once(slot, handler, what);
            }
        }
        self.connect.extend(other.connect);
        for (event, handler) in other.events {
            insert_once(&mut self.events, &event, handler, "event");
        }
        for (event, handler) in other.server_side {
            insert_once(&mut self.server_side, &event, handler, "server-side event");
        }
        self.layers.extend(other.layers);
        self.event_layers.extend(other.event_layers);
        self.from_state.extend(other.from_state);
        self
    }

    /// Adds a handler of CONNECT, which is an axum handler. `Json<T>` extracts the client's `auth` payload.
    /// ([`Data`](crate::extract::Data) is for events.)
    ///
    /// The response accepts or rejects the client. It is rejected by an error, and if an extractor rejects the request:
    ///
    /// ```
    /// use axum::{Json, http::StatusCode};
    /// use tower_socketio::{Namespace, SocketRef};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Auth { token: String }
    ///
    /// async fn joined(socket: SocketRef, Json(auth): Json<Auth>) -> Result<(), (StatusCode, &'static str)> {
    ///     if auth.token != "secret" {
    ///         return Err((StatusCode::FORBIDDEN, "wrong token"));
    ///     }
    ///     socket.join("members");
    ///     Ok(())
    /// }
    /// # let _ = Namespace::<()>::new().on_connect(joined);
    /// ```
    ///
    /// The client is accepted when the handler has returned, and its events are handled after that, so that the handler can
    /// prepare what they need. Spawn a task for work that continues afterwards.
    ///
    /// Several handlers are called in the order in which they were added, each with a copy of the request. The first one that rejects
    /// the client ends the sequence.
    pub fn on_connect<H, T>(mut self, handler: H) -> Self
    where
        H: ConnectHandler<T, S>,
        T: 'static,
    {
        self.connect.push(Arc::new(move |first, state| {
            let handler = handler.clone().with_state(state);
            match first {
                None => ConnectRoute::on_connect(handler),
                Some(first) => ConnectRoute::new(ConnectChain { first, second: handler }),
            }
        }));
        self
    }

    /// Adds a handler for an event.
    ///
    /// The handler is an async function of [extractors](crate::extract). It returns `()`, an [`Ack`](crate::Ack), or a `Result`
    /// of these. Without an `Ack`, or without a handler for the event, a client that requested an ack keeps waiting, as with
    /// Node's server.
    ///
    /// The events of a socket start in the order of arrival. A pending handler does not delay later events, up to
    /// [`max_concurrent_events`](crate::SocketIoConfig::max_concurrent_events). A handler continues after its client has
    /// disconnected. If it may never complete, add a timeout layer. A panic ends only the event.
    ///
    /// # Panics
    ///
    /// Panics if the event already has a handler, or if its name is reserved by the protocol, or `connection`.
    #[track_caller]
    pub fn on<H, T>(mut self, event: &str, handler: H) -> Self
    where
        H: EventHandler<T, S>,
        T: 'static,
    {
        assert_can_be_handled(event);
        insert_once(&mut self.events, event, make_event(handler), "event");
        self
    }

    /// Sets a handler for all events. It runs before the handler of the event.
    ///
    /// It can send the ack only for events that have neither a handler of their own, nor a listener of the socket, nor a
    /// [`fallback`](Self::fallback).
    ///
    /// # Panics
    ///
    /// Panics if the namespace already has an `on_any` handler.
    #[track_caller]
    pub fn on_any<H, T>(mut self, handler: H) -> Self
    where
        H: EventHandler<T, S>,
        T: 'static,
    {
        set_once(&mut self.any, make_event(handler), "on_any");
        self
    }

    /// Sets a handler for events that have neither a handler nor a listener of the socket.
    ///
    /// It can send acks. Without a fallback, such events are ignored, as in Node.
    ///
    /// ```
    /// use tower_socketio::{EventError, Namespace, extract::EventName};
    ///
    /// async fn unknown(EventName(event): EventName) -> Result<(), EventError> {
    ///     Err(EventError::new(format!("unknown event: {event}")))
    /// }
    /// let namespace = Namespace::<()>::new().on("known", async || {}).fallback(unknown);
    /// # let _ = namespace;
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the namespace already has a fallback.
    #[track_caller]
    pub fn fallback<H, T>(mut self, handler: H) -> Self
    where
        H: EventHandler<T, S>,
        T: 'static,
    {
        set_once(&mut self.fallback, make_event(handler), "fallback");
        self
    }

    /// Sets a handler that is called before a disconnected socket leaves its rooms.
    ///
    /// Cleanup does not wait for the handler: code after its first `.await` may run when the socket has left.
    /// [`DisconnectReason`](crate::DisconnectReason) extracts the reason.
    ///
    /// Its code before the first `.await` may run within a call that disconnects the socket, on the same thread. Do not hold a lock during
    /// such a call that the handler takes.
    ///
    /// # Panics
    ///
    /// Panics if the namespace already has an `on_disconnecting` handler.
    #[track_caller]
    pub fn on_disconnecting<H, T>(mut self, handler: H) -> Self
    where
        H: EventHandler<T, S>,
        T: 'static,
    {
        set_once(&mut self.disconnecting, make_event(handler), "on_disconnecting");
        self
    }

    /// Sets a handler that is called when a disconnected socket has left its rooms.
    ///
    /// Called for every socket that has reached [`on_connect`](Self::on_connect) and was not rejected by it, including clients
    /// that disconnect while `on_connect` runs. [`DisconnectReason`](crate::DisconnectReason) extracts the reason.
    ///
    /// # Panics
    ///
    /// Panics if the namespace already has an `on_disconnect` handler.
    #[track_caller]
    pub fn on_disconnect<H, T>(mut self, handler: H) -> Self
    where
        H: EventHandler<T, S>,
        T: 'static,
    {
        set_once(&mut self.disconnect, make_event(handler), "on_disconnect");
        self
    }

    /// Adds a layer around [`on_connect`](Self::on_connect). It accepts the same layers as axum's `Router`.
    ///
    /// The last layer added is outermost. If the service returns an error, the client is rejected with the error's text; axum's
    /// `HandleErrorLayer` is not needed.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<ConnectRoute> + Send + Sync + 'static,
        L::Service: Service<Request<Body>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError> + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
    {
        self.layers.push(Arc::new(move |route| ConnectRoute::new(layer.layer(route))));
        self
    }

    /// Adds a layer around all events, including [`on_any`](Self::on_any). The layer must accept a `Service<EventRequest>`, as
    /// tower's layers do. Layers for HTTP, such as axum's `from_fn`, apply to CONNECT: see [`layer`](Self::layer).
    ///
    /// The last layer added is outermost. While the service is not ready, the client's connection is not read. If the service
    /// returns an error, it is logged, and sent if the client requested an ack.
    pub fn event_layer<L: EventLayer>(mut self, layer: L) -> Self {
        self.event_layers.push(Arc::new(layer));
        self
    }

    /// Adds a handler for events that other servers of the cluster emit in this namespace by
    /// [`NamespaceRef::server_side_emit`](crate::NamespaceRef::server_side_emit). Its result is sent as one value if the other server requested an ack.
    ///
    /// ```
    /// use tower_socketio::{Namespace, server_side::ServerSideEvent};
    ///
    /// /// Returns the number of sockets on this server.
    /// async fn count(event: ServerSideEvent) -> usize {
    ///     event.namespace().socket_count()
    /// }
    /// let chat: Namespace = Namespace::new().on_server_side("count", count);
    /// # let _ = chat;
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the event already has a handler.
    #[track_caller]
    pub fn on_server_side<F, Fut, R>(mut self, event: &str, handler: F) -> Self
    where
        F: Fn(ServerSideEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: Serialize,
    {
        insert_once(&mut self.server_side, event, server_side_handler(handler), "server-side event");
        self
    }

    /// Provides the state of the handlers.
    ///
    /// Handlers with layers share the state of these layers with those of clones of the result, not with those of clones of `self`.
    ///
    /// # Panics
    ///
    /// See [`merge`](Self::merge).
    #[track_caller]
    pub fn with_state<S2>(mut self, state: S) -> Namespace<S2> {
        while !self.from_state.is_empty() {
            for make in std::mem::take(&mut self.from_state) {
                self = self.merge(make(&state));
            }
        }
        let event = |make: MakeEvent<S>| -> MakeEvent<S2> {
            let route = make(state.clone());
            Arc::new(move |_| route.clone())
        };
        let connect = |make: MakeConnect<S>| -> MakeConnect<S2> {
            let state = state.clone();
            Arc::new(move |first, _| make(first, state.clone()))
        };
        Namespace {
            any: self.any.map(event),
            fallback: self.fallback.map(event),
            disconnecting: self.disconnecting.map(event),
            disconnect: self.disconnect.map(event),
            events: self.events.into_iter().map(|(name, make)| (name, event(make))).collect(),
            connect: self.connect.into_iter().map(connect).collect(),
            layers: self.layers,
            event_layers: self.event_layers,
            server_side: self.server_side,
            from_state: Vec::new(),
        }
    }
}

impl Namespace {
    /// `name` is the name in the configuration.
    pub(crate) fn build(self, name: &str) -> Definition {
        let namespace: Self = self.with_state(());
        namespace.build_complete(name)
    }

    fn build_complete(self, name: &str) -> Definition {
        let meters = NamespaceMeters::new(name, self.events.keys().map(String::as_str));
        let event = |make: MakeEvent<()>| make(());
        let router = EventRouter {
            events: self.events.into_iter().map(|(name, make)| (name.into(), event(make))).collect(),
            any: self.any.map(event),
            fallback: self.fallback.map(event),
        };
        let on_connect = self.connect.iter().fold(None, |first, make| Some(make(first, ())));
        let on_connect = on_connect.unwrap_or_else(ConnectRoute::accept_all);
        let connect = self.layers.iter().fold(on_connect.clone(), |route, layer| layer(route));
        let of_pattern = |route| if is_pattern(name) { with_path(route, name) } else { route };
        let handlers = Handlers {
            connect: of_pattern(connect),
            on_connect: of_pattern(on_connect),
            events: Events::new(router, &self.event_layers),
            disconnecting: self.disconnecting.map(event),
            disconnect: self.disconnect.map(event),
        };
        Definition { application: Box::new(handlers), label: name.into(), meters, server_side: self.server_side }
    }
}

fn make_event<H, T, S>(handler: H) -> MakeEvent<S>
where
    H: EventHandler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    const { assert_reads_arguments_once::<H, T, S>() };
    Arc::new(move |state| handler.clone().into_route(state))
}

#[track_caller]
fn set_once<T>(slot: &mut Option<T>, value: T, what: &str) {
    assert!(slot.is_none(), "the namespace has two `{what}` handlers: remove one, or let one call the other");
    *slot = Some(value);
}

#[track_caller]
fn insert_once<T>(handlers: &mut HashMap<String, T>, event: &str, handler: T, kind: &str) {
    let before = handlers.insert(event.to_owned(), handler);
    assert!(before.is_none(), "the {kind} `{event}` has two handlers: remove one, or let one call the other");
}

/// A clone shares the handlers and layers.
impl<S> Clone for Namespace<S> {
    fn clone(&self) -> Self {
        Self {
            connect: self.connect.clone(),
            layers: self.layers.clone(),
            events: self.events.clone(),
            any: self.any.clone(),
            fallback: self.fallback.clone(),
            disconnecting: self.disconnecting.clone(),
            disconnect: self.disconnect.clone(),
            event_layers: self.event_layers.clone(),
            server_side: self.server_side.clone(),
            from_state: self.from_state.clone(),
        }
    }
}

impl<S> fmt::Debug for Namespace<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("events", &self.events.keys()).finish_non_exhaustive()
    }
}
