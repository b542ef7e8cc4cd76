use axum::{Router, routing::get as on_get};
use tower_socketio::{Namespace, Origins, SocketIoConfig, SocketIoLayer, middleware::OriginLayer};

use crate::support::*;

async fn from_page(server: &TestServer, target: &str, origin: &str) -> Reply {
    send(server.address, Method::GET, target, &[("origin", origin)], "").await
}

#[tokio::test]
async fn any_service_may_refuse_pages_of_other_origins() {
    let socketio = SocketIoLayer::new(SocketIoConfig::new());
    let io = socketio.io();
    let app = Router::new().route("/page", on_get(|| async { "page" }));
    let app = app.layer(socketio).layer(OriginLayer::new(["https://good.example", "*:8080"]));
    let server = serve(app, io).await;
    for target in ["/page", "/socket.io/?EIO=4&transport=polling"] {
        from_page(&server, target, "https://bad.example").await.is(403, "origin not allowed");
        assert_eq!(from_page(&server, target, "https://good.example").await.status, 200);
        assert_eq!(get(server.address, target).await.status, 200);
    }
    assert_eq!(server.io.stats().connections, 2);
}

#[tokio::test]
async fn a_namespace_may_refuse_pages_of_other_origins() {
    let origins = Origins::predicate(|origin, request| origin == "https://good.example" && request.uri.path() == "/");
    let server = serve_namespace(Namespace::new().layer(OriginLayer::new(origins))).await;
    for (origin, told) in
        [("https://good.example", "40{"), ("https://bad.example", r#"44{"message":"origin not allowed"}"#)]
    {
        let mut client = WebSocket::open_with(server.address, "", &[("origin", origin)]).await;
        client.say("40").await;
        let reply = client.text().await;
        assert!(reply.starts_with(told), "{reply}");
    }
    WebSocket::join(server.address, "40").await;
}
