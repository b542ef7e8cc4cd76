//! Spans and events, as a subscriber receives them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, Once},
};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
};
use tokio::task::yield_now;
use tower_socketio::{
    Ack, EventError, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketIoService, SocketRef, extract::Data,
};
use tracing::{
    Event, Id, Instrument as _, Subscriber,
    field::{Field, Visit},
    info, info_span,
    span::{Attributes, Record},
};
use tracing_subscriber::{
    Layer,
    filter::dynamic_filter_fn,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

use crate::support::*;

type Fields = BTreeMap<String, String>;

#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// Of an event.
    pub(super) level: String,
    target: String,
    name: String,
    fields: Fields,
    parent: Option<u64>,
    follows: Vec<u64>,
    closed: bool,
}

/// Records the spans and events on the thread of one test. Its runtime has no other thread.
#[derive(Clone, Default)]
pub(super) struct Keeper(Arc<Mutex<Kept>>);

thread_local! {
    /// The recorder of this thread, and the targets that it records.
    static LISTENING: RefCell<Option<(Keeper, fn(&str) -> bool)>> = const { RefCell::new(None) };
}

/// The only subscriber of the process. One for each thread would not work: for each callsite, `tracing` caches whether it
/// is enabled, and only asks the subscriber of the first thread that reaches it.
fn subscribe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let wanted = dynamic_filter_fn(|metadata, _| {
            LISTENING.with_borrow(|listening| listening.as_ref().is_some_and(|(_, wants)| wants(metadata.target())))
        });
        let subscriber = tracing_subscriber::registry().with(wanted).with(Listener);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// Forwards to the recorder of the thread.
struct Listener;

/// Stops the recording when it is dropped.
pub(super) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        LISTENING.set(None);
    }
}

#[derive(Default)]
struct Kept {
    spans: HashMap<u64, Told>,
    /// The events, in order.
    order: Vec<u64>,
    events: Vec<Told>,
}

struct Visitor<'a>(&'a mut Fields);

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Listener {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut told = Told {
            target: attributes.metadata().target().to_owned(),
            name: attributes.metadata().name().to_owned(),
            parent: context.span(id).and_then(|span| span.parent()).map(|parent| parent.id().into_u64()),
            ..Told::default()
        };
        attributes.record(&mut Visitor(&mut told.fields));
        keep(|kept| {
            // The registry may reuse an id.
            kept.order.retain(|known| *known != id.into_u64());
            kept.order.push(id.into_u64());
            kept.spans.insert(id.into_u64(), told);
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        keep(|kept| values.record(&mut Visitor(&mut kept.span(id).fields)));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        keep(|kept| kept.span(id).follows.push(follows.into_u64()));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut told = Told {
            level: event.metadata().level().to_string(),
            target: event.metadata().target().to_owned(),
            parent: context.event_span(event).map(|span| span.id().into_u64()),
            ..Told::default()
        };
        event.record(&mut Visitor(&mut told.fields));
        told.name = told.fields.get("message").cloned().unwrap_or_default();
        keep(|kept| kept.events.push(told));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        keep(|kept| kept.span(&id).closed = true);
    }
}

fn keep(note: impl FnOnce(&mut Kept)) {
    let keeper = LISTENING.with_borrow(|listening| listening.as_ref().map(|(keeper, _)| keeper.clone()));
    if let Some(Keeper(kept)) = keeper {
        note(&mut kept.lock().unwrap());
    }
}

impl Kept {
    fn span(&mut self, id: &Id) -> &mut Told {
        self.spans.get_mut(&id.into_u64()).expect("the span was opened on this thread")
    }
}

impl Keeper {
    /// Records these targets on this thread.
    pub(super) fn listen(wants: fn(&str) -> bool) -> (Self, Guard) {
        subscribe();
        let keeper = Self::default();
        LISTENING.set(Some((keeper.clone(), wants)));
        (keeper, Guard)
    }

    /// Returns the spans of a name, in the order in which they were opened.
    fn spans(&self, name: &str) -> Vec<(u64, Told)> {
        let kept = self.0.lock().unwrap();
        kept.order.iter().map(|id| (*id, kept.spans[id].clone())).filter(|(_, told)| told.name == name).collect()
    }

    #[track_caller]
    fn only_span(&self, name: &str) -> (u64, Told) {
        let mut spans = self.spans(name);
        assert_eq!(spans.len(), 1, "{spans:?}");
        spans.remove(0)
    }

    /// Returns the events with a message.
    pub(super) fn events(&self, message: &str) -> Vec<Told> {
        self.0.lock().unwrap().events.iter().filter(|event| event.name == message).cloned().collect()
    }

    /// Returns the span in which a message was logged.
    #[track_caller]
    fn span_of(&self, message: &str) -> Option<u64> {
        let kept = self.0.lock().unwrap();
        let event = kept.events.iter().find(|event| event.name == message);
        event.unwrap_or_else(|| panic!("nobody said {message}: {:?}", kept.events)).parent
    }
}

pub(super) fn all(target: &str) -> bool {
    target.starts_with("tower_socketio") || target.starts_with("tests")
}

#[track_caller]
pub(super) fn has(told: &Told, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        assert_eq!(told.fields.get(*name).map(String::as_str), Some(*value), "{name} of {told:?}");
    }
}

fn serve_one(name: &str, namespace: Namespace) -> SocketIo {
    SocketIoService::new(SocketIoConfig::new().namespace(name, namespace)).io()
}

#[tokio::test]
async fn a_connection_its_connects_and_its_events_are_spans() {
    let (keeper, _guard) = Keeper::listen(all);
    let server = serve_namespace(Namespace::new().on("hello", async || Ack(1)).with_state(())).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(r#"427["hello"]"#).await;
    client.expect("437[1]").await;
    let (connection, told) = keeper.only_span("connection");
    assert_eq!((told.target.as_str(), told.parent, told.closed), ("tower_socketio::connection", None, false));
    has(
        &told,
        &[
            ("messaging.system", "socketio"),
            ("network.protocol.name", "engine.io"),
            ("network.protocol.version", "4"),
            ("client.address", "127.0.0.1"),
            ("socketio.transport", "websocket"),
        ],
    );
    let (_, told) = keeper.only_span("connect");
    assert_eq!((told.target.as_str(), told.parent, told.closed), ("tower_socketio::connect", Some(connection), true));
    has(
        &told,
        &[
            ("otel.name", "connect /"),
            ("messaging.system", "socketio"),
            ("messaging.operation.name", "connect"),
            ("messaging.destination.name", "/"),
        ],
    );
    let (_, told) = keeper.only_span("event");
    assert_eq!((told.target.as_str(), told.parent, told.closed), ("tower_socketio::event", Some(connection), true));
    has(
        &told,
        &[
            ("otel.name", "event /"),
            ("otel.kind", "consumer"),
            ("messaging.operation.name", "event"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.name", "/"),
            ("messaging.message.id", "7"),
            ("socketio.event", "hello"),
            ("socketio.socket.id", server.io.sockets()[0].id()),
        ],
    );
    assert!(!told.fields.contains_key("error.type") && !told.fields.contains_key("messaging.destination.template"));
    // A reference to a socket does not keep its span open.
    let kept = server.io.sockets();
    drop(client);
    server.is_empty().await;
    let (_, told) = keeper.only_span("connection");
    assert!(told.closed);
    has(&told, &[("socketio.disconnect.reason", "transport close")]);
    assert_eq!(keeper.span_of("session opened"), Some(connection));
    assert_eq!(keeper.span_of("session closed"), Some(connection));
    drop(kept);
}

#[tokio::test]
async fn handlers_run_inside_of_their_spans_wherever_they_are_polled() {
    let (keeper, _guard) = Keeper::listen(all);
    let namespace = Namespace::new()
        .on_connect(async || {
            info!("connecting");
            yield_now().await;
            info!("still connecting");
        })
        .on("wait", async || {
            info!("handling");
            yield_now().await;
            info!("still handling");
            Ack(())
        })
        .on_any(async || {
            info!("beside");
            for _ in 0..3 {
                yield_now().await;
            }
            info!("still beside");
        })
        .on_disconnecting(async || info!("going"))
        .on_disconnect(async || {
            yield_now().await;
            info!("gone");
        });
    let io = serve_one("/", namespace.with_state(()));
    let mut client = Memory::join(&io).await;
    client.say(r#"420["wait"]"#);
    client.expect("430[]").await;
    let (connection, _) = keeper.only_span("connection");
    let (connect, _) = keeper.only_span("connect");
    for message in ["connecting", "still connecting"] {
        assert_eq!(keeper.span_of(message), Some(connect));
    }
    let said = |message: &str| keeper.0.lock().unwrap().events.iter().any(|event| event.name == message);
    until(|| said("still beside")).await;
    let event = keeper.span_of("handling");
    assert_ne!(event, Some(connection));
    for message in ["still handling", "beside", "still beside"] {
        assert_eq!(keeper.span_of(message), event, "{message}");
    }
    drop(client);
    until(|| said("gone") && keeper.only_span("connection").1.closed).await;
    for (message, name) in [("going", "disconnecting"), ("gone", "disconnect")] {
        let span = keeper.span_of(message).unwrap();
        let told = keeper.0.lock().unwrap().spans[&span].clone();
        assert_eq!(told.parent, Some(connection));
        has(
            &told,
            &[
                ("messaging.operation.name", name),
                ("socketio.event", name),
                ("socketio.disconnect.reason", "transport close"),
            ],
        );
    }
}

#[tokio::test]
async fn failures_are_reported() {
    let (keeper, _guard) = Keeper::listen(all);
    let namespace = Namespace::new()
        .on_connect(async |socket: SocketRef| {
            match socket.handshake().auth::<HashMap<String, u16>>().unwrap().get("code") {
                Some(500) => panic!("at the disco"),
                Some(code) => Err(StatusCode::from_u16(*code).unwrap()),
                None => Ok(()),
            }
        })
        .on("fail", async || Err::<(), _>(EventError::new("no")))
        .on("reject", async |Data(_): Data<u32>| {})
        .on("panic", async || -> () { panic!("at the disco") });
    let io = serve_one("/", namespace.with_state(()));
    let mut client = Memory::open(&io);
    client.text().await;
    for code in ["403", "503", "500"] {
        client.say(&format!(r#"40{{"code":{code}}}"#));
        assert!(client.text().await.starts_with("44"));
    }
    let connects: Vec<_> = keeper.spans("connect").into_iter().map(|(_, told)| told).collect();
    // The refusal of a client is not logged as an error.
    has(&connects[0], &[("error.type", "403")]);
    assert!(!connects[0].fields.contains_key("otel.status_code"));
    has(&connects[1], &[("error.type", "503"), ("otel.status_code", "ERROR")]);
    has(&connects[2], &[("error.type", "panic"), ("otel.status_code", "ERROR")]);
    client.say("40");
    assert!(client.text().await.starts_with("40"));
    for (event, error) in [("fail", "error"), ("reject", "error"), ("panic", "panic")] {
        client.say(&format!(r#"420["{event}"]"#));
        assert!(client.text().await.starts_with("430[{"));
        let (_, told) = keeper.spans("event").pop().unwrap();
        has(&told, &[("socketio.event", event), ("error.type", error), ("otel.status_code", "ERROR")]);
    }
    client.say("4nonsense");
    assert_eq!(client.packet().await, None);
    until(|| keeper.only_span("connection").1.closed).await;
    let (connection, told) = keeper.only_span("connection");
    has(&told, &[("socketio.disconnect.reason", "forced close"), ("error.type", "forced close")]);
    assert_eq!(keeper.span_of("protocol violation"), Some(connection));
}

#[tokio::test]
async fn namespaces_that_clients_name_have_a_template() {
    let (keeper, _guard) = Keeper::listen(all);
    let namespace = || Namespace::new().on("hello", async || Ack(())).with_state(());
    let config = SocketIoConfig::new().namespace("/room/{id}", namespace()).namespace_fn(|_| true, namespace());
    let io = SocketIoService::new(config).io();
    let mut client = Memory::join(&io).await;
    for (name, template) in [("/room/7", "/room/{id}"), ("/else", "*")] {
        client.say(&format!("40{name},"));
        client.text().await;
        client.say(&format!(r#"42{name},0["hello"]"#));
        client.expect(&format!("43{name},0[]")).await;
        for (span, operation) in [("connect", "connect"), ("event", "event")] {
            let (_, told) = keeper.spans(span).pop().unwrap();
            has(
                &told,
                &[
                    ("otel.name", &format!("{operation} {template}")),
                    ("messaging.destination.name", name),
                    ("messaging.destination.template", template),
                ],
            );
        }
    }
}

#[tokio::test]
async fn a_long_name_of_an_event_is_cut() {
    let (keeper, _guard) = Keeper::listen(all);
    let io = serve_one("/", Namespace::new().on_any(async || Ack(())).with_state(()));
    let mut client = Memory::join(&io).await;
    client.say(&format!(r#"420["{}"]"#, "é".repeat(10_000)));
    client.expect("430[]").await;
    has(&keeper.only_span("event").1, &[("socketio.event", &"é".repeat(64))]);
}

/// The span of a connection outlives the request that opens it, and is not its child.
#[tokio::test]
async fn a_connection_is_a_root_that_follows_from_its_request() {
    let (keeper, _guard) = Keeper::listen(all);
    let layer = SocketIoLayer::new(SocketIoConfig::new());
    let io = layer.io();
    let traced =
        from_fn(async |request: Request, next: Next| next.run(request).instrument(info_span!("request")).await);
    let server = serve(Router::new().layer(layer).layer(traced), io).await;
    let client = Polling::open(server.address).await;
    let (request, told) = keeper.only_span("request");
    assert!(told.closed);
    let (_, told) = keeper.only_span("connection");
    has(&told, &[("socketio.transport", "polling")]);
    assert_eq!((told.parent, told.follows, told.closed), (None, vec![request], false));
    client.say("1").await;
    until(|| keeper.only_span("connection").1.closed).await;
}

#[tokio::test]
async fn without_event_spans_handlers_log_in_the_connection_span() {
    let (keeper, _guard) = Keeper::listen(|target| target != "tower_socketio::event" && all(target));
    let namespace = Namespace::new()
        .on("wait", async || {
            yield_now().await;
            info!("handling");
            Ack(())
        })
        .on("fail", async || Err::<(), _>(EventError::new("no")));
    let io = serve_one("/", namespace.with_state(()));
    let mut client = Memory::join(&io).await;
    client.say(r#"420["wait"]"#);
    client.expect("430[]").await;
    client.say(r#"421["fail"]"#);
    client.text().await;
    let (connection, told) = keeper.only_span("connection");
    assert!(keeper.spans("event").is_empty());
    assert_eq!(keeper.span_of("handling"), Some(connection));
    assert!(!told.fields.contains_key("error.type"));
}

#[tokio::test]
async fn secrets_are_not_logged() {
    let (keeper, _guard) = Keeper::listen(all);
    let namespace = Namespace::new()
        .on_connect(async |socket: SocketRef| {
            let auth = socket.handshake().auth::<serde_json::Value>().unwrap();
            if auth["stay"] == true { Ok(()) } else { Err(StatusCode::FORBIDDEN) }
        })
        .on("number", async |Data(_): Data<u32>| {})
        .on("panic", async || -> () { panic!("at the disco") })
        .on("hello", async || Ack("SECRET"));
    let config = SocketIoConfig::new().namespace("/", namespace.with_state(())).recovery(Default::default());
    let server = serve_config(config).await;
    let headers = [("cookie", "session=SECRET"), ("authorization", "Bearer SECRET")];
    let mut client = WebSocket::open_with(server.address, "&token=SECRET", &headers).await;
    let secret_sid = client.sid.clone();
    client.say(r#"40{"stay":false,"token":"SECRET"}"#).await;
    assert!(client.text().await.starts_with("44"));
    client.say(r#"40{"stay":true,"token":"SECRET"}"#).await;
    let joined = client.text().await;
    let private_id = json(&joined)["pid"].as_str().unwrap().to_owned();
    for event in ["hello", "number", "panic", "other"] {
        client.say(&format!(r#"420["{event}",{{"key":"SECRET"}}]"#)).await;
    }
    client.say("4nonsense").await;
    server.is_empty().await;
    let polling = Polling::open_with(server.address, "&token=SECRET").await;
    polling.say(r#"40{"stay":true,"token":"SECRET"}"#).await;
    polling.say("1").await;
    server.is_empty().await;
    let kept = keeper.0.lock().unwrap();
    assert!(kept.spans.len() > 5 && kept.events.len() > 5);
    for told in kept.spans.values().chain(&kept.events) {
        for secret in ["SECRET", &secret_sid, &polling.sid, &private_id] {
            assert!(told.fields.values().all(|value| !value.contains(secret)), "{told:?}");
        }
    }
}
