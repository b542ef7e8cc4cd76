//! Callbacks that observe the HTTP exchanges of connections.

use std::sync::{Arc, Mutex};

use hyper::http::{HeaderMap, HeaderValue, request::Parts};
use tower_socketio::{
    SocketIoConfig,
    engine::{ConnectionError, SessionCookie},
};

use crate::support::*;

const SESSION: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// The calls that the hooks have received.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn say(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// A hook that records a request, and inserts a header into the response.
    fn headers(&self, name: &'static str) -> impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static {
        let told = self.clone();
        move |headers, request| {
            told.say(format!("{name} {} {}", request.method, request.headers["x-request"].to_str().unwrap()));
            headers.append(name, HeaderValue::from_static("yes"));
        }
    }
}

fn refusals(config: SocketIoConfig) -> (SocketIoConfig, Told) {
    let told = Told::default();
    let hook = told.clone();
    let config = config.on_connection_error(move |error: &ConnectionError<'_>| {
        let request = error.request();
        assert_eq!(request.uri.path(), "/socket.io/");
        let debug = format!("{error:?}");
        assert!(debug.contains(error.context()) && !debug.contains("x-secret"), "{debug}");
        hook.say(format!("{} {} {} {error}", request.method, error.status().as_u16(), error.code()));
    });
    (config, told)
}

#[tokio::test]
async fn on_connection_error_is_called_for_each_rejected_request() {
    let config = SocketIoConfig::new()
        .origins("https://good.example")
        .generate_id(|request| request.headers.get("x-id").map_or("taken", |id| id.to_str().unwrap()).to_owned());
    let (config, told) = refusals(config);
    let server = serve_config(config).await;
    assert_eq!(get(server.address, SESSION).await.status, 200);
    let one = |method, target: &'static str, headers: &'static [(&str, &str)]| {
        let address = server.address;
        async move { send(address, method, target, headers, "").await }
    };
    let upgrade: &[(&str, &str)] =
        &[("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "8")];
    for (method, target, headers, expected) in [
        (Method::GET, "/socket.io/", &[][..], "GET 400 0 Transport unknown: the transport is unknown or turned off"),
        (
            Method::GET,
            "/socket.io/?EIO=4&transport=polling&sid=none",
            &[("x-secret", "1")],
            "GET 400 1 Session ID unknown: no session has this id, or it has ended",
        ),
        (Method::POST, SESSION, &[], "POST 400 2 Bad handshake method: a request without a session must be a GET"),
        (Method::GET, WEBSOCKET, &[], "GET 400 3 Bad request: the request does not fit its transport"),
        (Method::GET, SESSION, &[], "GET 400 3 Bad request: the id of the session is taken"),
        (Method::GET, SESSION, &[("x-id", "")], "GET 400 3 Bad request: the id of the session is empty"),
        (
            Method::GET,
            "/socket.io/?EIO=3&transport=polling&sid=taken",
            &[],
            "GET 400 3 Bad request: the session speaks another revision of Engine.IO",
        ),
        (
            Method::GET,
            "/socket.io/?EIO=4&transport=websocket&sid=taken",
            &[],
            "GET 400 3 Bad request: the request does not fit its transport",
        ),
        (Method::GET, SESSION, &[("origin", "http://bad.example")], "GET 403 4 Forbidden: the origin is not allowed"),
        (
            Method::GET,
            "/socket.io/?EIO=3&transport=polling",
            &[],
            "GET 400 5 Unsupported protocol version: the revision of Engine.IO is not served",
        ),
        (Method::GET, WEBSOCKET, upgrade, "GET 400 3 Bad request: the Sec-WebSocket-Version is not 13"),
    ] {
        let reply = one(method, target, headers).await;
        assert!(!reply.status.is_success());
        assert_eq!(told.take(), [expected]);
    }
    // Neither an error within a session nor a successful request is a refused handshake.
    let target = "/socket.io/?EIO=4&transport=polling&sid=taken";
    post(server.address, target, "garbage").await.refused(400, 3, "Bad request");
    assert_eq!(get(server.address, SESSION).await.status, 200);
    assert_eq!(told.take(), [""; 0]);
}

#[tokio::test]
async fn on_connection_error_is_called_for_limits_and_upgrades() {
    let config = SocketIoConfig::new().max_sessions_per_address(1).max_head_bytes(1000).allow_upgrades(false);
    let (config, told) = refusals(config);
    let server = serve_config(config).await;
    let client = Polling::open(server.address).await;
    get(server.address, SESSION).await.refused(429, 4, "Too many sessions from this address");
    let expected = "GET 429 4 Too many sessions from this address: max_sessions_per_address is reached";
    assert_eq!(told.take(), [expected]);
    let long = format!("{SESSION}&x={}", "x".repeat(1000));
    get(server.address, &long).await.refused(431, 3, "The request head exceeds max_head_bytes");
    let expected = "GET 431 3 The request head exceeds max_head_bytes: the target and the headers are too large";
    assert_eq!(told.take(), [expected]);
    let target = format!("{WEBSOCKET}&sid={}", client.sid);
    assert!(WebSocket::raw(server.address, &target, &[]).await.is_err());
    assert_eq!(told.take(), ["GET 400 3 Bad request: upgrades are turned off"]);
    send(server.address, Method::PUT, &client.target(), &[], "").await.refused(405, 2, "Method not allowed");
    let expected = "PUT 405 2 Method not allowed: a request of a session must be a GET or a POST";
    assert_eq!(told.take(), [expected]);
}

#[tokio::test]
async fn on_headers_sees_every_successful_answer_and_on_initial_headers_the_first() {
    let told = Told::default();
    let config = SocketIoConfig::new().on_headers(told.headers("x-each")).on_initial_headers(told.headers("x-first"));
    let server = serve_config(config).await;
    let has = |headers: &HeaderMap| (headers.contains_key("x-first"), headers.contains_key("x-each"));

    let first = send(server.address, Method::GET, SESSION, &[("x-request", "1")], "").await;
    assert_eq!(has(&first.headers), (true, true));
    assert_eq!(told.take(), ["x-first GET 1", "x-each GET 1"]);
    let target = format!("{SESSION}&sid={}", json(first.text())["sid"].as_str().unwrap());
    let reply = send(server.address, Method::POST, &target, &[("x-request", "2")], "40").await;
    reply.is(200, "ok");
    assert_eq!(has(&reply.headers), (false, true));
    let reply = send(server.address, Method::GET, &target, &[("x-request", "3")], "").await;
    assert_eq!((reply.status.as_u16(), has(&reply.headers)), (200, (false, true)));
    let upgrade = target.replace("polling", "websocket");
    let websocket = WebSocket::raw(server.address, &upgrade, &[("x-request", "4")]).await.unwrap();
    assert_eq!(has(websocket.response.headers()), (false, true));
    assert_eq!(told.take(), ["x-each POST 2", "x-each GET 3", "x-each GET 4"]);

    let websocket = WebSocket::raw(server.address, WEBSOCKET, &[("x-request", "5")]).await.unwrap();
    assert_eq!(has(websocket.response.headers()), (true, true));
    assert_eq!(told.take(), ["x-first GET 5", "x-each GET 5"]);

    // Responses with an error are not passed to the hook.
    for (method, target) in [(Method::GET, "/socket.io/"), (Method::PUT, &*target), (Method::POST, &*target)] {
        let reply = send(server.address, method, target, &[("x-request", "6")], "garbage").await;
        assert_eq!((reply.status.is_success(), has(&reply.headers)), (false, (false, false)));
    }
    assert_eq!(told.take(), [""; 0]);
}

#[tokio::test]
async fn cookies_of_callbacks_follow_that_of_the_session() {
    // Whether the hook appends or inserts them.
    let config = SocketIoConfig::new()
        .cookie(SessionCookie::new("io"))
        .generate_id(|_| "id".into())
        .on_initial_headers(|headers, _| {
            headers.insert("set-cookie", HeaderValue::from_static("first=1"));
        })
        .on_headers(|headers, _| {
            headers.append("set-cookie", HeaderValue::from_static("each=1"));
        });
    let server = serve_config(config).await;
    let cookies = |headers: &HeaderMap| -> Vec<String> {
        headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    let websocket = WebSocket::open(server.address).await;
    assert_eq!(cookies(websocket.response.headers()), ["io=id", "first=1", "each=1"]);
    drop(websocket);
    server.is_empty().await;
    assert_eq!(cookies(&get(server.address, SESSION).await.headers), ["io=id", "first=1", "each=1"]);
    let reply = post(server.address, &format!("{SESSION}&sid=id"), "40").await;
    assert_eq!(cookies(&reply.headers), ["each=1"]);
}

#[tokio::test]
async fn hooks_may_use_the_server() {
    let io = Arc::new(std::sync::OnceLock::<tower_socketio::SocketIo>::new());
    let handle = io.clone();
    let config = SocketIoConfig::new().on_headers(move |_, request| {
        let io = handle.get().expect("the server is there");
        io.emit("request", request.method.as_str()).unwrap();
        io.sockets().iter().for_each(|socket| drop(socket.rooms()));
    });
    let server = serve_config(config).await;
    io.set(server.io.clone()).unwrap();
    let client = Polling::join(server.address).await;
    client.say(r#"42["x"]"#).await;
    client.expect("42[\"request\",\"GET\"]\x1e42[\"request\",\"POST\"]").await;
}

#[tokio::test]
async fn a_callback_that_panics_loses_no_packets() {
    let config = SocketIoConfig::new()
        .on_headers(|_, request| assert_ne!(request.method, Method::GET))
        .on_initial_headers(|_, _| panic!("a bad hook"))
        .on_connection_error(|_| panic!("a bad hook"));
    let server = serve_config(config).await;
    let client = Polling::join(server.address).await;
    server.io.emit("n", &1).unwrap();
    client.expect(r#"42["n",1]"#).await;
    WebSocket::join(server.address, "40").await;
    get(server.address, "/socket.io/").await.refused(400, 0, "Transport unknown");
    // Two for each handshake, one for each poll, and one for the refused request.
    assert_eq!(server.io.stats().panics, 2 * 2 + 2 + 1);
}
