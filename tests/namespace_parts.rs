//! Namespaces that are cloned, merged, and created from their state.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
};
use tower::{ServiceExt, layer::layer_fn, service_fn};
use tower_socketio::{
    Ack, Namespace, SocketIo, SocketIoConfig, SocketIoService, SocketRef,
    event::{EventRequest, EventRoute},
    test::TestClient,
};

#[derive(Clone)]
struct App {
    name: &'static str,
    counter: Arc<AtomicUsize>,
}

fn app(name: &'static str) -> App {
    App { name, counter: Arc::default() }
}

fn serve(config: SocketIoConfig) -> SocketIo {
    SocketIoService::new(config).io()
}

async fn join(io: &SocketIo, name: &str) -> TestClient {
    TestClient::builder(io).namespace(name).connect().await.unwrap()
}

fn named() -> Namespace<App> {
    Namespace::new().on("name", async |State(app): State<App>| Ack(app.name))
}

fn counted() -> Namespace<App> {
    Namespace::new().on("count", async |State(app): State<App>| Ack(app.counter.fetch_add(1, Ordering::Relaxed)))
}

#[tokio::test]
async fn clones_serve_several_names() {
    let part = named().merge(counted());
    let (blue, red) = (part.clone().with_state(app("blue")), part.with_state(app("red")));
    let io = serve(SocketIoConfig::new().namespace("/a", blue.clone()).namespace("/b", blue).namespace("/c", red));
    // Clones of a namespace share its state.
    for (name, color, count) in [("/a", "blue", 0), ("/b", "blue", 1), ("/c", "red", 0)] {
        let client = join(&io, name).await;
        assert_eq!(client.emit_with_ack::<String>("name", &()).await.unwrap(), color);
        assert_eq!(client.emit_with_ack::<usize>("count", &()).await.unwrap(), count);
    }
}

#[tokio::test]
async fn everything_of_both_parts_is_merged() {
    fn note(text: &'static str) -> impl Fn(SocketRef) -> std::future::Ready<()> + Clone + Send + Sync + 'static {
        move |socket| {
            socket.namespace().emit("note", text).unwrap();
            std::future::ready(())
        }
    }
    let one = Namespace::new().on_connect(note("connect")).on("a", async || Ack("a")).on_disconnecting(note("leaving"));
    let other = Namespace::new().on("b", async || Ack("b")).on_any(note("any")).on_disconnect(note("left"));
    let io = serve(
        SocketIoConfig::new().namespace("/", one.merge(other).merge(Namespace::new().fallback(async || Ack("?")))),
    );
    let mut watcher = TestClient::connect(&io).await.unwrap();
    assert_eq!(watcher.next::<String>("note").await, "connect");
    let client = TestClient::connect(&io).await.unwrap();
    assert_eq!(watcher.next::<String>("note").await, "connect");
    for event in ["a", "b"] {
        assert_eq!(client.emit_with_ack::<String>(event, &()).await.unwrap(), event);
        assert_eq!(watcher.next::<String>("note").await, "any");
    }
    assert_eq!(client.emit_with_ack::<String>("other", &()).await.unwrap(), "?");
    assert_eq!(watcher.next::<String>("note").await, "any");
    client.disconnect().await;
    assert_eq!(watcher.next::<String>("note").await, "leaving");
    assert_eq!(watcher.next::<String>("note").await, "left");
}

/// The layers of the other part are added last, so they are outermost.
#[tokio::test]
async fn layers_of_both_parts_surround_the_handlers_of_both() {
    #[derive(Clone, Default)]
    struct Trace(Arc<std::sync::Mutex<Vec<&'static str>>>);
    fn part(trace: &Trace, name: &'static str, event: &'static str) -> Namespace {
        let (connects, events) = (trace.clone(), trace.clone());
        let connect = from_fn(move |request: Request, next: Next| {
            connects.0.lock().unwrap().push(name);
            next.run(request)
        });
        let around = layer_fn(move |inner: EventRoute| {
            let events = events.clone();
            service_fn(move |request: EventRequest| {
                events.0.lock().unwrap().push(name);
                inner.clone().oneshot(request)
            })
        });
        Namespace::new().on(event, async || Ack(())).layer(connect).event_layer(around)
    }
    let trace = Trace::default();
    let io = serve(SocketIoConfig::new().namespace("/", part(&trace, "one", "a").merge(part(&trace, "other", "b"))));
    let client = TestClient::connect(&io).await.unwrap();
    for event in ["a", "b"] {
        client.emit_with_ack::<()>(event, &()).await.unwrap();
    }
    assert_eq!(*trace.0.lock().unwrap(), ["other", "one", "other", "one", "other", "one"]);
}

#[tokio::test]
async fn a_part_is_created_from_the_state() {
    async fn guard(State(app): State<App>, request: Request, next: Next) -> Result<Response, StatusCode> {
        match request.uri().query().is_some_and(|query| query.contains(app.name)) {
            true => Ok(next.run(request).await),
            false => Err(StatusCode::FORBIDDEN),
        }
    }
    fn guarded() -> Namespace<App> {
        Namespace::from_state(|app: &App| {
            let inner = Namespace::from_state(|app: &App| {
                let name = app.name;
                Namespace::new().on("inner", async move || Ack(name))
            });
            Namespace::new().layer(from_fn_with_state(app.clone(), guard)).merge(inner)
        })
    }
    let io = serve(SocketIoConfig::new().namespace("/", guarded().merge(counted()).with_state(app("blue"))));
    assert!(TestClient::connect(&io).await.unwrap_err().is_refused());
    let client = TestClient::builder(&io).query("EIO=4&color=blue").connect().await.unwrap();
    assert_eq!(client.emit_with_ack::<String>("inner", &()).await.unwrap(), "blue");
    assert_eq!(client.emit_with_ack::<usize>("count", &()).await.unwrap(), 0);
    // Without a state, the function is called when the server is created.
    let io = serve(
        SocketIoConfig::new().namespace("/", Namespace::from_state(|()| Namespace::new().on("a", async || Ack(1)))),
    );
    assert_eq!(TestClient::connect(&io).await.unwrap().emit_with_ack::<u8>("a", &()).await.unwrap(), 1);
}

#[test]
#[should_panic(expected = "the event `name` has two handlers")]
fn parts_with_the_same_event_are_a_mistake() {
    let _ = named().merge(named());
}

/// As if the second part had called `on_connect` on the first one.
#[tokio::test]
async fn on_connect_handlers_of_both_parts_run_in_order() {
    let calls = Arc::new(std::sync::Mutex::new(Vec::new()));
    let part = |name: &'static str| {
        let calls = calls.clone();
        Namespace::new().on_connect(move || {
            calls.lock().unwrap().push(name);
            std::future::ready(())
        })
    };
    let io = serve(SocketIoConfig::new().namespace("/", part("one").merge(part("other"))));
    TestClient::connect(&io).await.unwrap();
    assert_eq!(*calls.lock().unwrap(), ["one", "other"]);
}

#[test]
#[should_panic(expected = "the event `name` has two handlers")]
fn a_part_created_from_the_state_cannot_repeat_an_event() {
    let _: Namespace = named().merge(Namespace::from_state(|_| named())).with_state(app("blue"));
}
