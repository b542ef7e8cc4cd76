use std::{collections::HashMap, fmt};

use axum::{BoxError, body::Body, handler::Handler, response::IntoResponse};
use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    event::{EventLayer, EventRequest, EventRoute, EventRouter, Events, IntoEventResponse},
    handler::EventHandler,
    observe::NamespaceMeters,
    server::{Definition, is_pattern},
};

use super::{connect_route::ConnectRoute, handlers::Handlers, pattern::with_path};

/// A namespace: who may join it, and what handles its events.
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
/// # Who is admitted
///
/// A client's CONNECT is an HTTP request to [`on_connect`](Self::on_connect), through the [`layer`](Self::layer)s, and
/// the answer decides: 2xx accepts, anything else refuses. The request is a POST to the name of the namespace with the
/// query, the headers and the extensions of the request that opened the connection; its body is the client's `auth`
/// payload, so that `Json<T>` extracts it.
///
/// # The state
///
/// As with axum's `Router`, `S` is the state that is still missing; [`with_state`](Self::with_state) gives it.
#[must_use]
pub struct Namespace<S = ()> {
    connect: Option<MakeConnect<S>>,
    layers: Vec<Box<dyn FnOnce(ConnectRoute) -> ConnectRoute + Send>>,
    events: HashMap<String, MakeEvent<S>>,
    any: Option<MakeEvent<S>>,
    fallback: Option<MakeEvent<S>>,
    disconnecting: Option<MakeEvent<S>>,
    disconnect: Option<MakeEvent<S>>,
    event_layers: Vec<EventLayer>,
}

type MakeConnect<S> = Box<dyn FnOnce(S) -> ConnectRoute + Send>;
type MakeEvent<S> = Box<dyn FnOnce(S) -> EventRoute + Send>;

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
    /// A namespace that admits everyone and handles nothing.
    pub fn new() -> Self {
        Self {
            connect: None,
            layers: Vec::new(),
            events: HashMap::new(),
            any: None,
            fallback: None,
            disconnecting: None,
            disconnect: None,
            event_layers: Vec::new(),
        }
    }

    /// Handles a client's CONNECT: any axum handler. `Json<T>` reads what the client sent as `auth`;
    /// [`Data`](crate::extract::Data) is for events.
    ///
    /// Its answer decides whether the socket is accepted. Extractors that reject refuse it, and so does an error:
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
    /// The client is told when the handler has answered, and its events come after that: whatever the handler sets up is
    /// there in time. What shall go on afterwards belongs into a task of its own.
    ///
    /// # Panics
    ///
    /// If the namespace has an `on_connect` already.
    #[track_caller]
    pub fn on_connect<H, T>(mut self, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let make: MakeConnect<S> = Box::new(move |state| ConnectRoute::on_connect(handler.with_state(state)));
        set_once(&mut self.connect, make, "on_connect");
        self
    }

    /// Handles an event.
    ///
    /// The handler is an async function of [extractors](crate::extract). It returns `()`, an [`Ack`](crate::Ack) to
    /// answer the client, or a `Result` of these. Without an `Ack`, and for an event that nobody handles, a client that waits
    /// for an answer goes on waiting, as with Node's server.
    ///
    /// Events of one socket start in the order in which they arrive. A handler that waits does not hold up the next
    /// event, up to [`max_concurrent_events`](crate::SocketIoConfig::max_concurrent_events). A handler goes on when its
    /// client leaves; one that may hang wants a timeout layer. If it panics, the event ends, and nothing else.
    ///
    /// # Panics
    ///
    /// If the event has a handler already, or its name is reserved by the protocol.
    #[track_caller]
    pub fn on<H, T>(mut self, event: &str, handler: H) -> Self
    where
        H: EventHandler<T, S>,
        T: 'static,
    {
        assert!(
            !crate::packet::is_reserved(event.as_bytes()),
            "`{event}` belongs to the protocol: no client can emit it"
        );
        let before = self.events.insert(event.to_owned(), make_event(handler));
        assert!(before.is_none(), "the event `{event}` has two handlers: remove one, or let one call the other");
        self
    }

    /// Handles every event, before the event's own handler.
    ///
    /// It can answer only those events that have no handler of their own, no listener of the socket's, and no
    /// [`fallback`](Self::fallback).
    ///
    /// # Panics
    ///
    /// If the namespace has an `on_any` already.
    #[track_caller]
    pub fn on_any<H, T>(mut self, handler: H) -> Self
    where
        H: EventHandler<T, S>,
        T: 'static,
    {
        set_once(&mut self.any, make_event(handler), "on_any");
        self
    }

    /// Handles the events that have neither a handler nor a listener of the socket.
    ///
    /// It can answer them. Without a fallback they are ignored, as in Node.
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

    /// Is called when a socket is about to leave, while it is still in its rooms.
    ///
    /// Only as far as its first `.await`: cleaning up waits for nobody. The reason is the extractor
    /// [`DisconnectReason`](crate::DisconnectReason).
    ///
    /// # Panics
    ///
    /// If the namespace has an `on_disconnecting` already.
    #[track_caller]
    pub fn on_disconnecting<H, T>(mut self, handler: H) -> Self
    where
        H: EventHandler<T, S>,
        T: 'static,
    {
        set_once(&mut self.disconnecting, make_event(handler), "on_disconnecting");
        self
    }

    /// Is called when a socket has left: it is in no room any more.
    ///
    /// Called for every socket that has reached [`on_connect`](Self::on_connect), unless `on_connect` itself refused it: also if the
    /// client left while `on_connect` was under way. The reason is the extractor
    /// [`DisconnectReason`](crate::DisconnectReason).
    ///
    /// # Panics
    ///
    /// If the namespace has an `on_disconnect` already.
    #[track_caller]
    pub fn on_disconnect<H, T>(mut self, handler: H) -> Self
    where
        H: EventHandler<T, S>,
        T: 'static,
    {
        set_once(&mut self.disconnect, make_event(handler), "on_disconnect");
        self
    }

    /// Puts a layer around [`on_connect`](Self::on_connect): anything that layers on an axum `Router`.
    ///
    /// The last layer added is the outermost. An error of the service refuses the client with its text; there is no need
    /// for axum's `HandleErrorLayer`.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<ConnectRoute> + Send + 'static,
        L::Service: Service<Request<Body>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError> + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
    {
        self.layers.push(Box::new(move |route| ConnectRoute::new(layer.layer(route))));
        self
    }

    /// Puts a layer around every event, [`on_any`](Self::on_any) included: one that takes a `Service<EventRequest>`, as
    /// tower's own do. Those for HTTP, axum's `from_fn` among them, belong around CONNECT, by [`layer`](Self::layer).
    ///
    /// The last layer added is the outermost. While the service is not ready, the client's connection is not read. An
    /// error of the service is logged, and answered if the client waits for an ack.
    pub fn event_layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<EventRoute> + Send + 'static,
        L::Service: Service<EventRequest> + Clone + Send + Sync + 'static,
        <L::Service as Service<EventRequest>>::Response: IntoEventResponse + 'static,
        <L::Service as Service<EventRequest>>::Error: Into<BoxError> + 'static,
        <L::Service as Service<EventRequest>>::Future: Send + 'static,
    {
        self.event_layers.push(Box::new(move |route| EventRoute::new(layer.layer(route))));
        self
    }

    /// Gives the handlers their state.
    pub fn with_state<S2>(self, state: S) -> Namespace<S2> {
        let event = |make: MakeEvent<S>| -> MakeEvent<S2> {
            let route = make(state.clone());
            Box::new(move |_| route)
        };
        Namespace {
            any: self.any.map(event),
            fallback: self.fallback.map(event),
            disconnecting: self.disconnecting.map(event),
            disconnect: self.disconnect.map(event),
            events: self.events.into_iter().map(|(name, make)| (name, event(make))).collect(),
            connect: self.connect.map(|make| -> MakeConnect<S2> {
                let route = make(state.clone());
                Box::new(move |_| route)
            }),
            layers: self.layers,
            event_layers: self.event_layers,
        }
    }
}

impl Namespace {
    /// `name` is that with which it is configured.
    pub(crate) fn build(self, name: &str) -> Definition {
        let meters = NamespaceMeters::new(name, self.events.keys().map(String::as_str));
        let event = |make: MakeEvent<()>| make(());
        let router = EventRouter {
            events: self.events.into_iter().map(|(name, make)| (name.into(), event(make))).collect(),
            any: self.any.map(event),
            fallback: self.fallback.map(event),
        };
        let on_connect = self.connect.map_or_else(ConnectRoute::accept_all, |make| make(()));
        let connect = self.layers.into_iter().fold(on_connect.clone(), |route, layer| layer(route));
        let of_pattern = |route| if is_pattern(name) { with_path(route, name) } else { route };
        let handlers = Handlers {
            connect: of_pattern(connect),
            on_connect: of_pattern(on_connect),
            events: Events::new(router, self.event_layers),
            disconnecting: self.disconnecting.map(event),
            disconnect: self.disconnect.map(event),
        };
        Definition { application: Box::new(handlers), label: name.into(), meters }
    }
}

fn make_event<H, T, S>(handler: H) -> MakeEvent<S>
where
    H: EventHandler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    Box::new(move |state| handler.into_route(state))
}

#[track_caller]
fn set_once<T>(slot: &mut Option<T>, value: T, what: &str) {
    assert!(slot.is_none(), "the namespace has two `{what}` handlers: remove one, or let one call the other");
    *slot = Some(value);
}

impl<S> fmt::Debug for Namespace<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("events", &self.events.keys()).finish_non_exhaustive()
    }
}
