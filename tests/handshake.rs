//! How a session is opened, and how requests are refused.

use tower_socketio::{SocketIoConfig, Transport};

use crate::support::*;

const SESSION: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn a_polling_handshake_tells_the_session_and_its_limits() {
    let server = serve_config(SocketIoConfig::new()).await;
    let reply = get(server.address, SESSION).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let body = reply.text();
    assert_eq!(reply.header("content-length"), Some(&*body.len().to_string()));
    let open = json(body);
    let sid = open["sid"].as_str().unwrap();
    assert_eq!(sid.len(), 20);
    assert_eq!(
        body,
        format!(
            r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
        )
    );
}

#[tokio::test]
async fn a_websocket_handshake_offers_no_upgrade() {
    let server = serve_config(SocketIoConfig::new()).await;
    let mut client = WebSocket::raw(server.address, "/socket.io/?EIO=4&transport=websocket", &[]).await.unwrap();
    let open = json(&client.text().await);
    assert_eq!(open["upgrades"], serde_json::json!([]));
    assert_eq!(open["maxPayload"], 1_000_000);
}

#[tokio::test]
async fn requests_are_refused_in_the_order_of_nodes_checks() {
    let server = serve_config(SocketIoConfig::new()).await;
    let at = server.address;
    for target in [
        "/socket.io/",
        "/socket.io/?EIO=4",
        "/socket.io/?EIO=4&transport=abc",
        "/socket.io/?transport=constructor&sid=abc",
        "/socket.io/default/",
        "/socket.io/nonsense.js",
    ] {
        get(at, target).await.refused(400, 0, "Transport unknown");
    }
    get(at, "/socket.io/?EIO=4&transport=polling&sid=abc").await.refused(400, 1, "Session ID unknown");
    post(at, "/socket.io/?EIO=4&transport=polling&sid=abc", "").await.refused(400, 1, "Session ID unknown");
    post(at, SESSION, "").await.refused(400, 2, "Bad handshake method");
    put(at, SESSION).await.refused(400, 2, "Bad handshake method");
    options(at, SESSION).await.refused(400, 2, "Bad handshake method");
    delete(at, "/socket.io/?EIO=3&transport=polling").await.refused(400, 2, "Bad handshake method");
    get(at, "/socket.io/?EIO=4&transport=websocket").await.refused(400, 3, "Bad request");
    for eio in ["EIO=3&", "EIO=abc&", "EIO=44&", ""] {
        let target = format!("/socket.io/?{eio}transport=polling");
        get(at, &target).await.refused(400, 5, "Unsupported protocol version");
    }
    server.is_empty().await;
}

#[tokio::test]
async fn an_empty_sid_opens_a_session_and_the_last_of_two_parameters_counts() {
    let server = serve_config(SocketIoConfig::new()).await;
    assert_eq!(get(server.address, "/socket.io/?EIO=3&EIO=4&transport=polling&sid=").await.status, 200);
}

#[tokio::test]
async fn all_paths_under_the_prefix_are_served_and_no_others() {
    let server = serve_config(SocketIoConfig::new()).await;
    assert_eq!(get(server.address, "/socket.io/foo/bar/?EIO=4&transport=polling").await.status, 200);
    for target in ["/socket.io?EIO=4&transport=polling", "/socket.iox/?EIO=4&transport=polling", "/Socket.io/"] {
        assert_eq!(get(server.address, target).await.status, 404);
    }
}

#[tokio::test]
async fn the_path_can_be_chosen() {
    for path in ["/ws", "ws", "/ws/"] {
        let server = serve_config(SocketIoConfig::new().path(path)).await;
        assert_eq!(get(server.address, "/ws/?EIO=4&transport=polling").await.status, 200);
        assert_eq!(get(server.address, SESSION).await.status, 404);
    }
}

#[tokio::test]
async fn a_session_answers_only_its_own_transport_and_revision() {
    let server = serve_config(SocketIoConfig::new()).await;
    let client = Polling::join(server.address).await;
    let websocket = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
    get(server.address, &websocket).await.refused(400, 3, "Bad request");
    let old = format!("/socket.io/?EIO=3&transport=polling&sid={}", client.sid);
    get(server.address, &old).await.refused(400, 3, "Bad request");
    assert_eq!(put(server.address, &client.target()).await.status, 405);
    client.say("40/nowhere").await;
    client.expect(r#"44/nowhere,{"message":"Invalid namespace"}"#).await;
}

#[tokio::test]
async fn a_transport_that_is_switched_off_is_unknown() {
    let server = serve_config(SocketIoConfig::new().transports([Transport::Polling])).await;
    let client = Polling::open(server.address).await;
    assert_eq!(client.open["upgrades"], serde_json::json!([]));
    let websocket = "/socket.io/?EIO=4&transport=websocket";
    get(server.address, websocket).await.refused(400, 0, "Transport unknown");
    assert!(WebSocket::raw(server.address, websocket, &[]).await.is_err());

    let server = serve_config(SocketIoConfig::new().transports([Transport::WebSocket])).await;
    get(server.address, SESSION).await.refused(400, 0, "Transport unknown");
    WebSocket::open(server.address).await;
}

#[tokio::test]
async fn unsupported_methods_of_a_session_are_rejected() {
    let server = serve_config(SocketIoConfig::new()).await;
    let client = Polling::join(server.address).await;
    for method in [Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let reply = send(server.address, method, &client.target(), &[], "").await;
        reply.refused(405, 2, "Method not allowed");
        assert_eq!(reply.header("allow"), Some("GET, POST"));
    }
    client.say("6").await;
}

#[tokio::test]
async fn a_handshake_with_a_large_head_is_refused() {
    let server = serve_config(SocketIoConfig::new()).await;
    // The header that hyper's client adds: `host: localhost`.
    let base = SESSION.len() + "host".len() + "localhost".len() + 4;
    let head = |bytes: usize| "x".repeat(bytes - base - "x-large".len() - 4);
    let with = |bytes: usize| {
        let value = head(bytes);
        async move { send(server.address, Method::GET, SESSION, &[("x-large", &value)], "").await }
    };
    assert_eq!(with(16 * 1024).await.status, 200);
    with(16 * 1024 + 1).await.refused(431, 3, "The request head exceeds max_head_bytes");
    let long = format!("{SESSION}&long={}", "x".repeat(16 * 1024));
    get(server.address, &long).await.refused(431, 3, "The request head exceeds max_head_bytes");
    let many: Vec<(String, String)> = (0..90).map(|n| (format!("x-{n:0100}"), "x".repeat(80))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    let reply = send(server.address, Method::GET, SESSION, &many, "").await;
    reply.refused(431, 3, "The request head exceeds max_head_bytes");
    let large = [("x-large", &*head(20_000))];
    assert!(WebSocket::raw(server.address, "/socket.io/?EIO=4&transport=websocket", &large).await.is_err());
    assert_eq!(server.io.stats().connections, 1);
    // Later requests of a session are not stored.
    let client = Polling::open(server.address).await;
    let reply = send(server.address, Method::POST, &client.target(), &[("x-large", &head(30_000))], "40").await;
    reply.is(200, "ok");
}

#[tokio::test]
async fn a_function_that_panics_makes_no_session() {
    let config = SocketIoConfig::new().generate_id(|request| {
        assert!(request.uri.query().unwrap().contains("good"), "on purpose");
        "id".to_owned()
    });
    let server = serve_config(config).await;
    get(server.address, SESSION).await.refused(500, 3, "Internal server error");
    assert!(WebSocket::raw(server.address, "/socket.io/?EIO=4&transport=websocket", &[]).await.is_err());
    assert_eq!((server.io.stats().panics, server.io.stats().connections), (2, 0));
    assert_eq!(get(server.address, &format!("{SESSION}&good=1")).await.status, 200);
    // The same over a custom transport.
    assert_eq!(Memory::open(&server.io).packet().await, None);
    assert_eq!(server.io.stats().panics, 3);
}
