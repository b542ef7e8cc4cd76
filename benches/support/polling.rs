//! Requests to the service without a network.

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;
use tower_socketio::{Ack, Namespace, SocketIoConfig, SocketIoService, extract::Data};

pub(crate) fn service() -> SocketIoService {
    let echo = Namespace::new().on("echo", async |Data(value): Data<Value>| Ack(value));
    SocketIoService::new(SocketIoConfig::new().namespace("/", echo))
}

/// The target of a handshake over long-polling.
pub(crate) fn entrance() -> Uri {
    Uri::from_static("/socket.io/?EIO=4&transport=polling")
}

pub(crate) async fn request(service: &SocketIoService, method: Method, target: &Uri, body: &'static str) -> Bytes {
    let request =
        Request::builder().method(method).uri(target.clone()).body(Full::new(Bytes::from_static(body.as_bytes())));
    let response = service.clone().oneshot(request.expect("the request is well formed")).await;
    let body = response.unwrap_or_else(|never| match never {}).into_body().collect().await;
    body.expect("the body is in memory").to_bytes()
}

/// Opens a session that has joined the default namespace. Returns the target of its requests.
pub(crate) async fn join(service: &SocketIoService) -> Uri {
    let open = request(service, Method::GET, &entrance(), "").await;
    let open: Value = serde_json::from_slice(&open[1..]).expect("the handshake is JSON");
    let sid = open["sid"].as_str().expect("the handshake names the session");
    let target = format!("{}&sid={sid}", entrance()).parse().expect("an id is fit for a query");
    request(service, Method::POST, &target, "40").await;
    request(service, Method::GET, &target, "").await;
    target
}

/// Sends an event and fetches its ack.
pub(crate) async fn event_and_ack(service: &SocketIoService, target: &Uri) -> Bytes {
    request(service, Method::POST, target, r#"420["echo",{"c":1,"n":2,"t":"text"}]"#).await;
    request(service, Method::GET, target, "").await
}
