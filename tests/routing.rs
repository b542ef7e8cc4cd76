//! The layer in a stack: which requests it handles, and which it passes on.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Waker},
};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Path},
    routing::{any, get as on_get, post as on_post},
};
use hyper::{Request, Response, StatusCode};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt};
use tower_socketio::{
    Ack, Args, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketIoService, SocketRef,
    engine::{EngineIoConfig, EngineIoLayer, Message, SessionHandler},
    extract::Data,
};

use crate::support::{self, *};

fn config() -> SocketIoConfig {
    let namespace = Namespace::new().on("echo", |Data(args): Data<Args>| async move { Ack(args) });
    SocketIoConfig::new().namespace("/", namespace)
}

/// Checks polling, WebSocket and their events.
async fn works(server: &TestServer) {
    let client = Polling::join(server.address).await;
    client.say(r#"420["echo",1]"#).await;
    client.expect("430[1]").await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(r#"420["echo",1]"#).await;
    client.expect("430[1]").await;
}

#[tokio::test]
async fn fallback_routes_do_not_get_engine_requests() {
    async fn spa() -> &'static str {
        "spa"
    }
    for app in [
        Router::new().route("/{*path}", on_get(spa)),
        Router::new().route("/{*path}", on_post(spa)),
        Router::new().route("/{*path}", any(spa)),
        Router::new().route("/socket.io/", on_get(spa)),
        Router::new().fallback(spa),
        Router::new(),
    ] {
        let server = serve_app(app, config()).await;
        works(&server).await;
    }
    let server = serve_app(Router::new().route("/{*path}", on_get(spa)), config()).await;
    support::get(server.address, "/anything").await.is(200, "spa");
    support::get(server.address, "/socket.iox/").await.is(200, "spa");
    support::get(server.address, "/socket.io").await.is(200, "spa");
}

#[tokio::test]
async fn all_routes_beneath_one_layer_share_one_server() {
    async fn sockets(io: SocketIo) -> String {
        io.stats().sockets.to_string()
    }
    let app = Router::new().route("/a", on_get(sockets)).route("/b", on_get(sockets)).fallback(sockets);
    let server = serve_app(app, config()).await;
    let (_client, _) = WebSocket::join(server.address, "40").await;
    for path in ["/a", "/b", "/c"] {
        support::get(server.address, path).await.is(200, "1");
    }
}

#[tokio::test]
async fn a_nested_router_serves_under_its_prefix() {
    async fn missing() -> (StatusCode, &'static str) {
        (StatusCode::NOT_FOUND, "missing")
    }
    let hello = || Router::new().route("/hello", on_get(|| async { "hello" }));
    // axum's `nest` passes on only requests that a route or a fallback of the inner router accepts.
    let layer = SocketIoLayer::new(config());
    let io = layer.io();
    let nested = Router::new().nest("/api", hello().fallback(missing).layer(layer));
    serves_under_a_prefix(&serve(nested, io).await).await;
    let layer = SocketIoLayer::new(config());
    let io = layer.io();
    let nested = Router::new().nest_service("/api", hello().layer(layer));
    serves_under_a_prefix(&serve(nested, io).await).await;
}

#[tokio::test]
async fn the_router_of_the_layer_works_in_any_order() {
    async fn spa() -> &'static str {
        "spa"
    }
    async fn missing() -> (StatusCode, &'static str) {
        (StatusCode::NOT_FOUND, "missing")
    }
    let page = || Router::new().route("/page", on_get(spa));
    let compositions: [fn(Router, Router) -> Router; 5] = [
        |socket_io, page| page.merge(socket_io).fallback(spa),
        |socket_io, page| page.fallback(spa).merge(socket_io),
        |socket_io, page| socket_io.merge(page.fallback(spa)),
        |socket_io, page| page.route("/{*path}", any(spa)).merge(socket_io),
        |socket_io, page| page.merge(socket_io).fallback_service(any(spa)),
    ];
    for compose in compositions {
        let layer = SocketIoLayer::new(config());
        let server = serve(compose(layer.router(), page()), layer.io()).await;
        works(&server).await;
        let script = support::get(server.address, "/socket.io/socket.io.min.js").await;
        assert_eq!(script.header("content-type"), Some("application/javascript; charset=utf-8"));
        for other in ["/page", "/socket.iox/", "/socket.io", "/other"] {
            support::get(server.address, other).await.is(200, "spa");
        }
    }
    let layer = SocketIoLayer::new(config());
    let nested = Router::new()
        .nest("/api", page().route("/hello", on_get(async || "hello")).merge(layer.router()))
        .fallback(missing);
    serves_under_a_prefix(&serve(nested, layer.io()).await).await;
}

#[tokio::test]
async fn the_router_of_the_layer_has_the_configured_path() {
    let layer = SocketIoLayer::new(config().path("/a/{b}").add_trailing_slash(false));
    let server = serve(layer.router(), layer.io()).await;
    for path in ["/a/{b}", "/a/{b}/"] {
        assert_eq!(
            support::get(server.address, &format!("{path}?EIO=4&transport=polling")).await.status,
            200,
            "{path}"
        );
    }
    for path in ["/a/c/", "/socket.io/"] {
        assert_eq!(
            support::get(server.address, &format!("{path}?EIO=4&transport=polling")).await.status,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_router_of_an_engine_works_before_a_fallback() {
    struct Deaf;
    impl SessionHandler for Deaf {
        fn message(&mut self, _: Message) {}
    }
    let layer = EngineIoLayer::new(EngineIoConfig::new().path("/engine"), |_| Deaf);
    let app = layer.router().fallback(async || "spa");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    assert_eq!(support::get(address, "/engine/?EIO=4&transport=polling").await.status, 200);
    support::get(address, "/other").await.is(200, "spa");
}

async fn serves_under_a_prefix(server: &TestServer) {
    let open = support::get(server.address, "/api/socket.io/?EIO=4&transport=polling").await;
    assert_eq!(open.status, 200);
    support::get(server.address, "/api/hello").await.is(200, "hello");
    assert_eq!(support::get(server.address, "/socket.io/?EIO=4&transport=polling").await.status, 404);
    let target = "/api/socket.io/?EIO=4&transport=websocket";
    let mut client = WebSocket::raw(server.address, target, &[]).await.unwrap();
    assert!(client.text().await.starts_with('0'));
    client.connect("40").await;
}

#[tokio::test]
async fn the_handle_is_missing_where_there_is_no_layer() {
    async fn handler(_: SocketIo) {}
    let layer = SocketIoLayer::new(config());
    let io = layer.io();
    let app = Router::new().layer(layer).route("/outside", on_get(handler));
    let server = serve(app, io).await;
    let reply = support::get(server.address, "/outside").await;
    assert_eq!(reply.status, 500);
    assert!(reply.text().starts_with("no `SocketIo` here"));
}

#[tokio::test]
async fn a_service_can_stand_alone() {
    let service = SocketIoService::new(config());
    let io = service.io();
    let server = serve(Router::new().fallback_service(service), io).await;
    works(&server).await;
    support::get(server.address, "/anything").await.is(404, "");
}

#[tokio::test]
async fn outer_layers_get_the_responses() {
    use tower_http::{compression::CompressionLayer, cors::CorsLayer, trace::TraceLayer};
    let layer = SocketIoLayer::new(config());
    let io = layer.io();
    let app = Router::new()
        .layer(layer)
        .layer(CorsLayer::permissive())
        .layer(CompressionLayer::new())
        .layer(TraceLayer::new_for_http());
    let server = serve(app, io).await;
    works(&server).await;
    let reply = support::get(server.address, "/socket.io/?EIO=4&transport=polling").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let refused = support::get(server.address, "/socket.io/").await;
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
    let client = WebSocket::open(server.address).await;
    assert_eq!(client.response.headers()["access-control-allow-origin"], "*");
}

/// A service that responds at once, and shows which requests reach it.
#[derive(Clone)]
struct Inner;

impl Service<Request<Body>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(request.extensions().is_empty() && request.headers().is_empty(), "the request is untouched");
        ready(Ok(Response::new(request.into_body())))
    }
}

#[test]
fn requests_of_other_routes_pass_without_an_allocation() {
    let mut service = SocketIoLayer::new(config()).layer(Inner);
    let request = Request::get("/elsewhere?x=1").body(Body::empty()).unwrap();
    let mut response = None;
    let counted = allocation_counter::measure(|| {
        let mut future = pin!(service.call(request));
        let mut cx = Context::from_waker(Waker::noop());
        if let std::task::Poll::Ready(ready) = future.as_mut().poll(&mut cx) {
            response = Some(ready);
        }
    });
    assert_eq!(response.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

#[tokio::test]
async fn any_body_type_fits() {
    let service = SocketIoLayer::new(config()).layer(tower::service_fn(
        |request: Request<http_body_util::Full<bytes::Bytes>>| async move {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        },
    ));
    let request = Request::get("/").body(http_body_util::Full::from("body")).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, "body");
    let request = Request::get("/socket.io/?EIO=4&transport=polling").body(http_body_util::Full::from("")).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_websocket_needs_a_connection_that_can_be_upgraded() {
    let service = SocketIoService::new(config());
    let io = service.io();
    let request = Request::get("/socket.io/?EIO=4&transport=websocket")
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Body::empty())
        .unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(io.stats().connections, 0);
}

#[tokio::test]
async fn parameters_of_a_pattern_are_not_mixed_with_those_of_a_route() {
    async fn joined(Path(id): Path<u32>, path: MatchedPath, socket: SocketRef) {
        socket.emit("id", &(id, path.as_str())).unwrap();
    }
    let room = Namespace::new().on_connect(joined).layer(axum::Extension("kept")).with_state(());
    let app = Router::new().route("/{*path}", on_get(|| async { "a page" }));
    let server = serve_app(app, SocketIoConfig::new().namespace("/room/{id}", room)).await;
    let (mut client, _) = WebSocket::join(server.address, "40/room/7").await;
    client.expect(r#"42/room/7,["id",7,"/room/{id}"]"#).await;
}

#[tokio::test]
async fn a_service_is_served_on_a_new_port() {
    let service = SocketIoService::new(config());
    let io = service.io();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(service.clone().serve(listener));
    let (mut client, id) = WebSocket::join(address, "40").await;
    client.say(r#"420["echo",1]"#).await;
    client.expect("430[1]").await;
    assert!(io.socket(&id).unwrap().handshake().remote_addr().is_some());
    assert_eq!(support::get(address, "/elsewhere").await.status, 404);
    // An address that is in use cannot be bound.
    let error = soon(service.listen(address)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    // Dropping the future ends the server.
    serving.abort();
    soon(async {
        while TcpListener::bind(address).await.is_err() {
            tokio::task::yield_now().await
        }
    })
    .await;
}
