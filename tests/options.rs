//! Options of the configuration that have no module of their own, each tested by its visible effect.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::Response,
    routing::get as on_get,
};
use futures_util::future::BoxFuture;
use tower_socketio::{
    Origins, SocketIoConfig, SocketIoLayer,
    cluster::{ClusterAdapter, ClusterError, ClusterMessage, ClusterNode, Peers, PublishError},
    engine::{Packet, SameSite, SessionCookie},
};

use crate::support::*;

const SESSION: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// Requests a session as a page of an origin does.
async fn from_page(server: &TestServer, origin: &str) -> Reply {
    send(server.address, Method::GET, SESSION, &[("origin", origin)], "").await
}

#[tokio::test]
async fn origins_refuse_foreign_pages_over_both_transports() {
    let server = serve_config(SocketIoConfig::new().origins(["https://good.example", "*:8080"])).await;
    for origin in ["https://good.example", "http://other.example:8080"] {
        assert_eq!(from_page(&server, origin).await.status, 200);
        assert!(WebSocket::raw(server.address, WEBSOCKET, &[("origin", origin)]).await.is_ok());
    }
    for origin in ["https://bad.example", "http://good.example", "null"] {
        from_page(&server, origin).await.refused(403, 4, "Forbidden");
        let error = WebSocket::raw(server.address, WEBSOCKET, &[("origin", origin)]).await.err().unwrap();
        assert!(error.to_string().contains("403"), "{error}");
    }
    // A request that does not come from a page has no origin.
    assert_eq!(get(server.address, SESSION).await.status, 200);
    assert!(WebSocket::raw(server.address, WEBSOCKET, &[]).await.is_ok());
}

#[tokio::test]
async fn origins_respond_to_preflights() {
    let app = Router::new().route("/page", on_get(|| async { "page" }));
    let server = serve_app(app, SocketIoConfig::new().origins("https://good.example")).await;
    let reply = from_page(&server, "https://good.example").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://good.example"));
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    assert!(reply.header("vary").unwrap().contains("origin"));
    let headers = [
        ("origin", "https://good.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-a"),
    ];
    let preflight = send(server.address, Method::OPTIONS, SESSION, &headers, "").await;
    assert_eq!((preflight.status.as_u16(), preflight.text()), (200, ""));
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://good.example"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("x-a"));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET,POST"));
    // Only pages of an allowed origin may read an error.
    let target = "/socket.io/?EIO=4&transport=polling&sid=abc";
    let error = send(server.address, Method::GET, target, &headers[..1], "").await;
    error.refused(400, 1, "Session ID unknown");
    assert_eq!(error.header("access-control-allow-origin"), Some("https://good.example"));
    assert_eq!(from_page(&server, "https://bad.example").await.header("access-control-allow-origin"), None);
    // The files of the client have the headers too. Other routes do not.
    let file = send(server.address, Method::GET, "/socket.io/socket.io.js", &headers[..1], "").await;
    assert_eq!(file.header("access-control-allow-origin"), Some("https://good.example"));
    let page = send(server.address, Method::GET, "/page", &headers[..1], "").await;
    assert_eq!((page.text(), page.header("access-control-allow-origin")), ("page", None));
}

/// Script elements send cookies, but no `Origin`.
#[tokio::test]
async fn origins_apply_to_jsonp() {
    let server = serve_config(SocketIoConfig::new().origins(["https://good.example"])).await;
    let target = format!("{SESSION}&j=0");
    let open = async |headers: &[(&str, &str)]| send(server.address, Method::GET, &target, headers, "").await;
    open(&[("referer", "https://bad.example/page")]).await.refused(403, 4, "Forbidden");
    open(&[]).await.refused(403, 4, "Forbidden");
    assert_eq!(open(&[("referer", "https://good.example/page?x")]).await.status, 200);
    assert_eq!(open(&[("origin", "https://good.example")]).await.status, 200);
}

#[test]
#[should_panic(expected = "the cookie path \"/\\n\" is not valid")]
fn a_cookie_that_cannot_be_sent_is_refused_at_once() {
    let _ = SocketIoConfig::new().cookie(SessionCookie::new("io").path("/\n"));
}

#[tokio::test]
async fn an_asterisk_allows_all_origins_without_credentials() {
    let server = serve_config(SocketIoConfig::new().origins("*")).await;
    for (target, headers) in [
        (SESSION.to_owned(), &[("origin", "https://anywhere.example")][..]),
        (SESSION.to_owned(), &[("origin", "null")]),
        (SESSION.to_owned(), &[]),
        // A script element on a page that sends no referrer.
        (format!("{SESSION}&j=0"), &[]),
        (format!("{SESSION}&j=0"), &[("referer", "garbage")]),
    ] {
        let reply = send(server.address, Method::GET, &target, headers, "").await;
        assert_eq!(reply.status, 200, "{target} {headers:?}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!((reply.header("access-control-allow-credentials"), reply.header("vary")), (None, None));
        assert!(WebSocket::raw(server.address, WEBSOCKET, &headers[..headers.len().min(1)]).await.is_ok());
    }
    let asks = [
        ("origin", "https://anywhere.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-a"),
    ];
    let preflight = send(server.address, Method::OPTIONS, SESSION, &asks, "").await;
    assert!(preflight.status.is_success());
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("x-a"));
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
}

#[tokio::test]
async fn web_views_and_extensions_match_as_they_are_listed() {
    let listed = [
        "capacitor://localhost",
        "ionic://localhost",
        "tauri://localhost",
        "chrome-extension://mbniclmhobmnbdlbpiphghaielnnpgdp",
        "moz-extension://8a1b2c3d-0000-4000-8000-000000000000",
        "file://",
        "null",
    ];
    let server = serve_config(SocketIoConfig::new().origins(listed)).await;
    for origin in listed {
        let reply = from_page(&server, origin).await;
        assert_eq!(reply.status, 200, "{origin}");
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        assert!(WebSocket::raw(server.address, WEBSOCKET, &[("origin", origin)]).await.is_ok(), "{origin}");
    }
    for origin in ["http://localhost.example", "capacitor://other", "moz-extension://other", "app://null"] {
        from_page(&server, origin).await.refused(403, 4, "Forbidden");
    }
    let server = serve_config(SocketIoConfig::new().origins(["https://good.example"])).await;
    for origin in listed {
        from_page(&server, origin).await.refused(403, 4, "Forbidden");
    }
}

/// Clients outside of browsers send the server's own host as their origin.
#[tokio::test]
async fn the_servers_own_host_may_connect() {
    let server = serve_config(SocketIoConfig::new().origins(["https://good.example"])).await;
    for (host, origin, allowed) in [
        ("localhost", "http://localhost", true),
        ("localhost", "ws://localhost", true),
        ("api.example:8080", "https://api.example:8080", true),
        ("api.example", "wss://api.example", true),
        ("api.example", "http://api.example:8080", false),
        ("api.example", "http://example", false),
    ] {
        let mut http = HttpClient::connect(server.address).await;
        let request = hyper::Request::get(SESSION).header("host", host).header("origin", origin);
        let reply = http.send(request.body(Body::default()).unwrap()).await;
        assert_eq!(reply.status.is_success(), allowed, "{origin} at {host}");
        let cors = reply.header("access-control-allow-origin");
        assert_eq!(cors, allowed.then_some(origin));
    }
    let own = format!("ws://{}", server.address);
    assert!(WebSocket::raw(server.address, WEBSOCKET, &[("origin", &own)]).await.is_ok());
}

#[tokio::test]
async fn a_panicking_origin_predicate_rejects_and_is_counted() {
    let origins = Origins::predicate(|_, _| panic!("on purpose"));
    let server = serve_config(SocketIoConfig::new().origins(origins)).await;
    from_page(&server, "https://good.example").await.refused(403, 4, "Forbidden");
    assert!(WebSocket::raw(server.address, WEBSOCKET, &[("origin", "https://good.example")]).await.is_err());
    // Once for the CORS headers, and once for the handshake.
    assert_eq!(server.io.stats().panics, 2 * 2);
    assert_eq!(get(server.address, SESSION).await.status, 200);
}

#[tokio::test]
async fn origins_may_be_decided_by_a_function() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let origins = Origins::predicate(move |origin, request| {
        count.fetch_add(1, Ordering::Relaxed);
        origin.as_bytes().starts_with(b"https://") && request.uri.query().is_some_and(|query| query.contains("EIO"))
    });
    let server = serve_config(SocketIoConfig::new().origins(origins)).await;
    assert_eq!(from_page(&server, "https://anywhere.example").await.status, 200);
    from_page(&server, "http://anywhere.example").await.refused(403, 4, "Forbidden");
    assert!(asked.load(Ordering::Relaxed) >= 2);
}

#[tokio::test]
async fn cookie_is_set_with_the_handshake_alone() {
    let cookie =
        SessionCookie::new("io").path("/").http_only(true).same_site(SameSite::Lax).domain("a.example").secure(true);
    let server = serve_config(SocketIoConfig::new().cookie(cookie)).await;
    let reply = get(server.address, SESSION).await;
    let sid = json(reply.text())["sid"].as_str().unwrap().to_owned();
    let expected = format!("io={sid}; HttpOnly; SameSite=Lax; Secure; Path=/; Domain=a.example");
    assert_eq!(reply.header("set-cookie"), Some(&*expected));
    let target = format!("{SESSION}&sid={sid}");
    assert_eq!(post(server.address, &target, "40").await.header("set-cookie"), None);
    assert_eq!(get(server.address, &target).await.header("set-cookie"), None);
    let client = WebSocket::open(server.address).await;
    let set = client.response.headers()["set-cookie"].to_str().unwrap();
    assert!(set.starts_with(&format!("io={}; HttpOnly", client.sid)), "{set}");
    let server = serve_config(SocketIoConfig::new()).await;
    assert_eq!(get(server.address, SESSION).await.header("set-cookie"), None);
}

#[tokio::test]
async fn generate_id_makes_the_ids_of_sessions() {
    let config = SocketIoConfig::new()
        .generate_id(|request| request.headers["x-id"].to_str().unwrap_or_default().to_owned())
        .cookie(SessionCookie::new("io"));
    let server = serve_config(config).await;
    let open = async |id: &str| send(server.address, Method::GET, SESSION, &[("x-id", id)], "").await;
    let reply = open("a b").await;
    assert_eq!(json(reply.text())["sid"], "a b");
    assert_eq!(reply.header("set-cookie"), Some("io=a%20b"));
    post(server.address, &format!("{SESSION}&sid=a+b"), "40").await.is(200, "ok");
    open("a b").await.refused(400, 3, "Bad request");
    open("").await.refused(400, 3, "Bad request");
    assert_eq!(server.io.stats().connections, 1);
    post(server.address, &format!("{SESSION}&sid=a+b"), "1").await.is(200, "ok");
    assert_eq!(open("a b").await.status, 200);
}

/// What takes time is done by a layer around the service.
#[tokio::test]
async fn generate_id_may_use_what_an_async_layer_has_fetched() {
    #[derive(Clone)]
    struct SessionId(String);
    async fn fetch(mut request: Request, next: Next) -> Response {
        tokio::task::yield_now().await;
        let number = request.headers()["x-number"].to_str().unwrap().to_owned();
        request.extensions_mut().insert(SessionId(format!("fetched-{number}")));
        next.run(request).await
    }
    let config = SocketIoConfig::new().generate_id(|request| request.extensions.get::<SessionId>().unwrap().0.clone());
    let layer = SocketIoLayer::new(config);
    let io = layer.io();
    let server = serve(Router::new().layer(layer).layer(from_fn(fetch)), io).await;
    let reply = send(server.address, Method::GET, SESSION, &[("x-number", "7")], "").await;
    assert_eq!(json(reply.text())["sid"], "fetched-7");
    let client = WebSocket::open_with(server.address, "", &[("x-number", "8")]).await;
    assert_eq!(client.sid, "fetched-8");
}

#[tokio::test]
async fn initial_packet_follows_the_handshake() {
    let server = serve_config(SocketIoConfig::new().allow_eio3(true).initial_packet(Packet::message("x"))).await;
    let reply = get(server.address, SESSION).await;
    let (open, packet) = reply.text().split_once('\x1e').unwrap();
    assert!(open.starts_with("0{"));
    assert_eq!(packet, "4x");
    WebSocket::open(server.address).await.expect("4x").await;
    let old = get(server.address, "/socket.io/?EIO=3&transport=polling&b64=1").await;
    assert!(old.text().ends_with("}2:4x"), "{}", old.text());
}

#[tokio::test]
async fn add_trailing_slash_makes_the_slash_optional() {
    let bare = "/socket.io?EIO=4&transport=polling";
    let server = serve_config(SocketIoConfig::new()).await;
    assert_eq!(get(server.address, bare).await.status, 404);
    let server = serve_config(SocketIoConfig::new().add_trailing_slash(false)).await;
    assert_eq!(get(server.address, bare).await.status, 200);
    assert_eq!(get(server.address, SESSION).await.status, 200);
    assert_eq!(get(server.address, "/socket.iox?EIO=4&transport=polling").await.status, 404);
}

#[test]
fn the_handle_reads_settings_back() {
    struct Nobody;
    impl ClusterAdapter for Nobody {
        fn start(&self, _: ClusterNode) {}
        fn publish(&self, _: ClusterMessage) -> Result<(), PublishError> {
            Ok(())
        }

        fn peers(&self, _: &str) -> BoxFuture<'static, Result<Peers, ClusterError>> {
            Box::pin(std::future::ready(Ok(Peers::Count(0))))
        }
    }
    let io = SocketIoLayer::new(SocketIoConfig::new()).io();
    assert_eq!((io.path(), io.serves_client()), ("/socket.io/", true));
    assert!(io.origins().is_none() && io.adapter().is_none());
    let config = SocketIoConfig::new().path("ws").serve_client(false).origins("*").adapter(Nobody);
    let io = SocketIoLayer::new(config).io();
    assert_eq!((io.path(), io.serves_client()), ("/ws/", false));
    assert!(io.origins().is_some() && io.adapter().is_some());
}

#[test]
fn the_handle_reads_limits_back() {
    let seconds = Duration::from_secs;
    let read = |config: SocketIoConfig| {
        let io = SocketIoLayer::new(config).io();
        let times =
            [io.connect_timeout(), io.ping_interval(), io.ping_timeout(), io.upgrade_timeout(), io.ack_timeout()];
        (times, io.max_payload())
    };
    assert_eq!(read(SocketIoConfig::new()), ([45, 25, 20, 10, 30].map(seconds), 1_000_000));
    let config = SocketIoConfig::new()
        .connect_timeout(seconds(1))
        .ping_interval(seconds(2))
        .ping_timeout(seconds(3))
        .upgrade_timeout(seconds(4))
        .ack_timeout(seconds(5))
        .max_payload(6);
    assert_eq!(read(config), ([1, 2, 3, 4, 5].map(seconds), 6));
}

/// The equivalent of `allowRequest` in Node.js: any layer around the Socket.IO layer.
#[tokio::test]
async fn a_layer_outside_may_refuse_handshakes() {
    async fn guard(request: Request, next: Next) -> Result<Response, StatusCode> {
        let query = request.uri().query().unwrap_or_default();
        let allowed = query.contains("sid=") || request.headers().contains_key("x-key");
        if allowed { Ok(next.run(request).await) } else { Err(StatusCode::FORBIDDEN) }
    }
    let layer = SocketIoLayer::new(SocketIoConfig::new());
    let io = layer.io();
    let server = serve(Router::new().layer(layer).layer(from_fn(guard)), io).await;
    assert_eq!(get(server.address, SESSION).await.status, 403);
    assert!(WebSocket::raw(server.address, WEBSOCKET, &[]).await.is_err());
    let reply = send(server.address, Method::GET, SESSION, &[("x-key", "1")], "").await;
    let target = format!("{SESSION}&sid={}", json(reply.text())["sid"].as_str().unwrap());
    post(server.address, &target, "40").await.is(200, "ok");
    assert!(WebSocket::raw(server.address, WEBSOCKET, &[("x-key", "1")]).await.is_ok());
}

/// Every option is set in at least one test. This test finds the options that are not.
#[test]
fn every_option_has_a_test() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = std::fs::read_dir(folder.join("src/config")).unwrap().map(|entry| entry.unwrap().path());
    let config: String = sources
        .chain([folder.join("src/engine/config/setters.rs")])
        .map(|source| std::fs::read_to_string(source).unwrap())
        .collect();
    let tests: String = std::fs::read_dir(folder.join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let options: Vec<&str> = config
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("pub fn "))
        .filter(|line| line.contains("(mut self") || line.contains("(mut $self"))
        .map(|line| &line[..line.find(['(', '<']).unwrap()])
        .collect();
    assert!(options.len() > 50, "{options:?}");
    let untested: Vec<_> = options.iter().filter(|option| !tests.contains(&format!(".{option}("))).collect();
    assert!(untested.is_empty(), "no test uses {untested:?}");
}
