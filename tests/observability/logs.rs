//! What is logged of mistakes and failures.

use std::{error::Error, fmt};

use anyhow::Context as _;
use axum::{Extension, Router};
use tower_socketio::{
    Ack, EventError, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketIoService, SocketRef,
    extract::{AckSender, Data},
    test::TestClient,
};

use super::spans::{Keeper, all, has};
use crate::support::*;

/// An error with a cause.
#[derive(Debug)]
struct Failed(Cause);

#[derive(Debug)]
struct Cause;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the order was not saved")
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk is full")
    }
}

impl Error for Cause {}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn fails() -> Result<(), Failed> {
    Err(Failed(Cause))
}

fn serve_shop(namespace: Namespace) -> SocketIo {
    SocketIoService::new(SocketIoConfig::new().namespace("/shop", namespace)).io()
}

async fn join(io: &SocketIo) -> TestClient {
    TestClient::builder(io).namespace("/shop").connect().await.unwrap()
}

fn without_spans(target: &str) -> bool {
    target != "tower_socketio::event" && target != "tower_socketio::connection" && all(target)
}

#[tokio::test]
async fn an_error_of_a_handler_is_logged_with_its_causes_and_its_place() {
    async fn order() -> Result<Ack<()>, EventError> {
        fails()?;
        Ok(Ack(()))
    }
    async fn with_anyhow() -> Result<Ack<()>, EventError> {
        fails().context("no order")?;
        Ok(Ack(()))
    }
    for wants in [without_spans, all] {
        let (keeper, _guard) = Keeper::listen(wants);
        let io = serve_shop(Namespace::new().on("order", order).on("anyhow", with_anyhow));
        let client = join(&io).await;
        for event in ["order", "anyhow"] {
            let error = client.emit_with_ack::<()>(event, &()).await.unwrap_err();
            assert_eq!((error.is_event_error(), error.message()), (true, "internal error"));
        }
        let logged = keeper.events("an event handler failed");
        let texts =
            ["the order was not saved: the disk is full", "no order: the order was not saved: the disk is full"];
        assert_eq!(logged.len(), 2);
        for ((told, event), text) in logged.iter().zip(["order", "anyhow"]).zip(texts) {
            assert_eq!(told.level, "ERROR");
            has(told, &[("namespace", "/shop"), ("socket", client.id()), ("event", event), ("error", text)]);
        }
    }
}

/// Their responses are not sent, so a log is the only place where their errors appear.
#[tokio::test]
async fn errors_of_handlers_that_run_in_addition_are_logged() {
    async fn at_once() -> Result<(), EventError> {
        Ok(fails()?)
    }
    async fn later() -> Result<(), EventError> {
        tokio::task::yield_now().await;
        Ok(fails()?)
    }
    async fn joined(socket: SocketRef) {
        socket.on("order", at_once);
        socket.on("order", later);
        socket.on_disconnect(at_once);
    }
    let (keeper, _guard) = Keeper::listen(without_spans);
    let io = serve_shop(Namespace::new().on_connect(joined).on_any(at_once).on("order", async || Ack(1)));
    let client = join(&io).await;
    let id = client.id().to_owned();
    assert_eq!(client.emit_with_ack::<u8>("order", &()).await.unwrap(), 1);
    client.disconnect().await;
    until(|| keeper.events("an event handler failed").len() == 4).await;
    let logged = keeper.events("an event handler failed");
    for (told, event) in logged.iter().zip(["order", "order", "order", "disconnect"]) {
        has(told, &[("namespace", "/shop"), ("socket", &id), ("event", event)]);
    }
}

#[tokio::test]
async fn an_error_of_on_connect_is_logged_and_rejects_the_client() {
    async fn joined(socket: SocketRef) -> Result<(), EventError> {
        if !socket.handshake().auth::<serde_json::Value>()?["stranger"].is_null() {
            return Err(EventError::new("not you").data("reason"));
        }
        fails().context("no session")?;
        Ok(())
    }
    let (keeper, _guard) = Keeper::listen(without_spans);
    let io = serve_shop(Namespace::new().on_connect(joined));
    let refused = |auth: serde_json::Value| TestClient::builder(&io).namespace("/shop").auth(auth).connect();
    let error = refused(serde_json::json!({})).await.unwrap_err();
    assert_eq!((error.message(), error.data::<String>()), ("internal error", None));
    let error = refused(serde_json::json!({ "stranger": true })).await.unwrap_err();
    assert_eq!((error.message(), error.data::<String>().as_deref()), ("not you", Some("reason")));
    let logged = keeper.events("on_connect failed");
    assert_eq!((logged.len(), logged[0].level.as_str()), (1, "ERROR"));
    has(&logged[0], &[("namespace", "/shop"), ("error", "no session: the order was not saved: the disk is full")]);
}

#[tokio::test]
async fn a_panic_and_a_rejection_are_logged_with_their_place() {
    let (keeper, _guard) = Keeper::listen(without_spans);
    let namespace = Namespace::new()
        .on("panic", async || -> () { panic!("at the disco") })
        .on("number", async |Data(_): Data<u32>| {});
    let io = serve_shop(namespace);
    let client = join(&io).await;
    client.emit_with_ack::<()>("panic", &()).await.unwrap_err();
    client.emit_with_ack::<()>("number", "x").await.unwrap_err();
    let panicked = &keeper.events("an event handler or a layer around it panicked")[0];
    has(panicked, &[("namespace", "/shop"), ("socket", client.id()), ("event", "panic")]);
    let rejected = &keeper.events("an event was rejected")[0];
    has(rejected, &[("namespace", "/shop"), ("socket", client.id()), ("event", "number")]);
    assert_eq!(rejected.level, "WARN");
}

#[tokio::test]
async fn an_ack_that_is_not_sent_is_logged_if_the_client_waits() {
    const UNSENT: &str = "the client waits for an ack that no handler sends: return an `Ack`";
    const DROPPED: &str = "an `AckSender` was dropped: the client waits for an ack that is not sent";
    let (keeper, _guard) = Keeper::listen(without_spans);
    let (go, gone) = tokio::sync::oneshot::channel();
    let gone = std::sync::Arc::new(std::sync::Mutex::new(Some(gone)));
    let namespace = Namespace::new()
        .on("silent", async || {})
        .on("later silent", async || tokio::task::yield_now().await)
        .on("no error", async || Ok::<(), EventError>(()))
        .on("maybe", async |Data(number): Data<u8>| (number > 0).then_some(Ack(number)))
        .on("dropped", async |_: AckSender| {})
        .on("failed", async |_: AckSender| Err::<(), _>(EventError::new("no")))
        .on("kept", move |ack: AckSender| {
            let gone = gone.lock().unwrap().take().unwrap();
            async move {
                tokio::spawn(async move {
                    let _: () = gone.await.unwrap();
                    drop(ack);
                });
            }
        })
        .on("sent", async |ack: AckSender| ack.send(&1).unwrap());
    let io = serve_shop(namespace);
    let client = join(&io).await;
    for event in ["silent", "no error", "dropped"] {
        let before = keeper.events(UNSENT).len();
        client.emit(event, &()).await;
        assert_eq!(keeper.events(UNSENT).len(), before, "{event}: the client does not wait");
        let _unsent = client.emit_with_ack::<()>(event, &());
        until(|| keeper.events(UNSENT).len() == before + 1).await;
        let told = keeper.events(UNSENT).pop().unwrap();
        assert_eq!(told.level, "DEBUG");
        has(&told, &[("namespace", "/shop"), ("socket", client.id()), ("event", event)]);
    }
    let _unsent = client.emit_with_ack::<()>("later silent", &());
    until(|| keeper.events(UNSENT).len() == 4).await;
    let _unsent = client.emit_with_ack::<()>("maybe", &0);
    until(|| keeper.events(UNSENT).len() == 5).await;
    assert_eq!(client.emit_with_ack::<u8>("maybe", &7).await.unwrap(), 7);
    assert_eq!(client.emit_with_ack::<u8>("sent", &()).await.unwrap(), 1);
    assert_eq!(client.emit_with_ack::<u8>("failed", &()).await.unwrap_err().message(), "no");
    let _unsent = client.emit_with_ack::<()>("kept", &());
    // The next ack shows that the handler has ended.
    assert_eq!(client.emit_with_ack::<u8>("sent", &()).await.unwrap(), 1);
    assert_eq!((keeper.events(UNSENT).len(), keeper.events(DROPPED).len()), (5, 0));
    go.send(()).unwrap();
    until(|| keeper.events(DROPPED).len() == 1).await;
    assert_eq!(keeper.events(UNSENT).len(), 5);
}

#[tokio::test]
async fn a_missing_extension_is_not_a_warning() {
    #[derive(Clone)]
    struct User;
    let (keeper, _guard) = Keeper::listen(without_spans);
    let io = serve_shop(Namespace::new().on("vote", async |_: Extension<User>| Ack(1)));
    let client = join(&io).await;
    client.emit_with_ack::<u8>("vote", &()).await.unwrap_err();
    let rejected = keeper.events("an event was rejected");
    assert_eq!((rejected.len(), rejected[0].level.as_str()), (1, "DEBUG"));
    client.socket().unwrap().extensions().insert(User);
    assert_eq!(client.emit_with_ack::<u8>("vote", &()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_layer_that_a_fallback_replaces_is_logged() {
    const REPLACED: &str = "no service of a `SocketIoLayer` is left, and none has got a request: a fallback that is added after the layer replaces it";
    let (keeper, _guard) = Keeper::listen(all);
    let layer = SocketIoLayer::new(SocketIoConfig::new());
    let app: Router = Router::new().layer(layer.clone()).fallback(async || "spa");
    assert_eq!(keeper.events(REPLACED).len(), 1);
    assert_eq!(keeper.events(REPLACED)[0].level, "WARN");
    // In the right order it is not replaced.
    let app: Router = app.layer(layer.clone());
    let server = serve(app, layer.io()).await;
    let (_client, _) = WebSocket::join(server.address, "40").await;
    drop(layer);
    drop(server);
    assert_eq!(keeper.events(REPLACED).len(), 1);
}
