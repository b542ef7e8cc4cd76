//! HTTP/2: long-polling, and WebSocket by extended CONNECT.

use std::{net::SocketAddr, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Version,
    body::Bytes,
    client::conn::http2::{self, SendRequest},
    ext::Protocol,
    upgrade::Upgraded,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tower_socketio::{
    Ack, Args, Namespace, SocketIo, SocketIoConfig, SocketIoService, SocketRef, Transport, cluster::Local,
    extract::Data, middleware::OriginLayer,
};

use crate::support::*;

const SESSION: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// The one connection of a client.
#[derive(Clone)]
struct Http2 {
    sender: SendRequest<Full<Bytes>>,
}

type Stream = TokioIo<Upgraded>;

impl Http2 {
    async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &mut http2::Builder::new(TokioExecutor::new())).await
    }

    async fn connect_with(address: SocketAddr, builder: &mut http2::Builder<TokioExecutor>) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut client = Self { sender };
        // The server's settings have arrived when it has answered a request.
        client.send(Method::GET, "/other", "").await;
        client
    }

    async fn send(&mut self, method: Method, target: &str, body: &'static str) -> Reply {
        let request = Request::builder().method(method).uri(format!("http://localhost{target}"));
        let response = soon(self.sender.send_request(request.body(Full::from(body)).unwrap())).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        read(response).await
    }

    async fn open(&mut self) -> String {
        let reply = self.send(Method::GET, SESSION, "").await;
        json(reply.text().strip_prefix('0').unwrap())["sid"].as_str().unwrap().to_owned()
    }

    /// Requests a stream for a protocol. Returns the stream, or the response that refuses it.
    async fn extended(
        &mut self,
        protocol: &'static str,
        target: &str,
        version: &str,
    ) -> Result<WebSocket<Stream>, Reply> {
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://localhost{target}"))
            .extension(Protocol::from_static(protocol))
            .header("sec-websocket-version", version)
            .header("sec-websocket-protocol", "one, two")
            .header("origin", "http://localhost");
        let response = soon(self.sender.send_request(request.body(Full::default()).unwrap())).await.unwrap();
        if response.status() != 200 {
            return Err(read(response).await);
        }
        let headers = response.headers();
        for absent in ["sec-websocket-accept", "connection", "upgrade"] {
            assert!(!headers.contains_key(absent), "{headers:?}");
        }
        let (parts, body) = response.into_parts();
        let stream = soon(hyper::upgrade::on(hyper::Response::from_parts(parts.clone(), body))).await.unwrap();
        Ok(WebSocket::over(TokioIo::new(stream), hyper::Response::from_parts(parts, None)).await)
    }

    async fn websocket(&mut self, target: &str) -> WebSocket<Stream> {
        self.extended("websocket", target, "13").await.unwrap_or_else(|reply| panic!("{reply:?}"))
    }
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> Reply {
    let (parts, body) = response.into_parts();
    Reply { status: parts.status, headers: parts.headers, body: soon(body.collect()).await.unwrap().to_bytes() }
}

fn echo() -> SocketIoConfig {
    let namespace = Namespace::new().on("echo", |socket: SocketRef, Data(args): Data<Args>| async move {
        socket.emit("echo", &args).unwrap();
        Ack("done")
    });
    SocketIoConfig::new().namespace("/", namespace)
}

#[cfg(feature = "permessage-deflate")]
#[tokio::test]
async fn a_websocket_on_a_stream_is_compressed() {
    use crate::deflate::{ANY, Raw};

    let server = serve_config(echo().per_message_deflate(tower_socketio::engine::PerMessageDeflate::new())).await;
    let mut http2 = Http2::connect(server.address).await;
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://localhost{WEBSOCKET}"))
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-extensions", ANY);
    let response = soon(http2.sender.send_request(request.body(Full::default()).unwrap())).await.unwrap();
    assert_eq!(response.status(), 200);
    let extension = response.headers()["sec-websocket-extensions"].to_str().unwrap().to_owned();
    let stream = TokioIo::new(soon(hyper::upgrade::on(response)).await.unwrap());
    Raw { stream, extension: Some(extension) }.echoes_after_the_handshake().await;
}

#[tokio::test]
async fn a_websocket_opens_on_a_stream() {
    let server = serve_config(echo()).await;
    let mut http2 = Http2::connect(server.address).await;
    let mut client = http2.websocket(WEBSOCKET).await;
    assert_eq!(client.response.headers()["sec-websocket-protocol"], "one");
    assert!(client.text().await.starts_with(r#"0{"sid":""#));
    client.connect("40").await;
    let socket = server.io.sockets()[0].clone();
    assert_eq!((socket.transport(), socket.request().method()), (Transport::WebSocket, &Method::CONNECT));
    client.say(r#"420["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
    client.expect(r#"430["done"]"#).await;
    let large = vec![7; 300_000];
    client.say(r#"451-["echo",{"_placeholder":true,"num":0}]"#).await;
    client.say_binary(&large).await;
    client.expect(r#"451-["echo",{"_placeholder":true,"num":0}]"#).await;
    client.expect_binary(&large).await;
    // Other requests share the connection.
    let mut other = http2.websocket(WEBSOCKET).await;
    other.text().await;
    other.connect("40").await;
    server.io.emit("all", &()).unwrap();
    client.expect(r#"42["all"]"#).await;
    other.expect(r#"42["all"]"#).await;
    drop(client);
    server.has_sockets(1).await;
    other.say("1").await;
    other.expect_close().await;
    server.is_empty().await;
    assert_eq!(http2.send(Method::GET, SESSION, "").await.status, 200);
}

#[tokio::test]
async fn the_server_ends_a_stream() {
    let server = serve_config(echo()).await;
    let mut client = Http2::connect(server.address).await.websocket(WEBSOCKET).await;
    client.text().await;
    client.connect("40").await;
    server.io.sockets()[0].disconnect_all();
    client.expect("41").await;
    client.expect_close().await;
    server.is_empty().await;
}

#[tokio::test]
async fn a_session_moves_from_long_polling_to_a_stream() {
    let server = serve_config(echo()).await;
    let mut http2 = Http2::connect(server.address).await;
    let sid = http2.open().await;
    let target = format!("{SESSION}&sid={sid}");
    http2.send(Method::POST, &target, "40").await.is(200, "ok");
    assert!(http2.send(Method::GET, &target, "").await.text().starts_with("40{"));
    let mut client = http2.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    client.say("2probe").await;
    client.expect("3probe").await;
    http2.send(Method::GET, &target, "").await.is(200, "6");
    client.say("5").await;
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
    assert_eq!(server.io.sockets()[0].transport(), Transport::WebSocket);
    http2.send(Method::GET, &target, "").await.refused(400, 3, "Bad request");
    drop(client);
    server.is_empty().await;
}

#[tokio::test]
async fn a_session_of_another_node_moves_to_a_stream() {
    let cluster = Local::new();
    let node = || serve_config(echo().adapter(cluster.node()).share_sessions(true));
    let (owner, other) = (node().await, node().await);
    let sid = Polling::join(owner.address).await.sid;
    let target = format!("{SESSION}&sid={sid}");
    let mut http2 = Http2::connect(other.address).await;
    let mut client = http2.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    assert_eq!(client.response.headers()["sec-websocket-protocol"], "one");
    client.say("2probe").await;
    client.expect("3probe").await;
    http2.send(Method::GET, &target, "").await.is(200, "6");
    client.say("5").await;
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
    http2.send(Method::GET, &target, "").await.refused(400, 3, "Bad request");
    assert_eq!(owner.io.sockets()[0].transport(), Transport::WebSocket);
    drop(client);
    owner.is_empty().await;
}

#[tokio::test]
async fn an_invalid_websocket_request_is_rejected() {
    let server = serve_config(echo().origins("http://localhost")).await;
    let mut http2 = Http2::connect(server.address).await;
    let sid = http2.open().await;
    let upgrade = format!("{WEBSOCKET}&sid={sid}");
    // A protocol other than WebSocket.
    let reply = http2.extended("connect-udp", WEBSOCKET, "13").await.err().unwrap();
    reply.refused(400, 2, "Bad handshake method");
    let reply = http2.extended("connect-udp", &upgrade, "13").await.err().unwrap();
    reply.refused(400, 3, "Bad request");
    // No protocol.
    http2.send(Method::GET, WEBSOCKET, "").await.refused(400, 3, "Bad request");
    // A WebSocket whose query names another transport, one of another version, and one for an unknown session.
    let reply = http2.extended("websocket", SESSION, "13").await.err().unwrap();
    reply.refused(400, 3, "Bad request");
    let reply = http2.extended("websocket", WEBSOCKET, "8").await.err().unwrap();
    reply.refused(400, 3, "the Sec-WebSocket-Version is not 13");
    assert_eq!(reply.header("sec-websocket-version"), Some("13"));
    let reply = http2.extended("websocket", &format!("{WEBSOCKET}&sid=none"), "13").await.err().unwrap();
    reply.refused(400, 1, "Session ID unknown");
    // The session is unchanged.
    let mut client = http2.websocket(&upgrade).await;
    client.say("2probe").await;
    client.expect("3probe").await;
}

/// The service on hyper, without axum.
async fn serve_hyper(extended_connect: bool) -> (SocketAddr, SocketIo, JoinHandle<()>) {
    let service = SocketIoService::new(echo());
    let io = service.io();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let mut http = Builder::new(TokioExecutor::new());
                if extended_connect {
                    http.http2().enable_connect_protocol();
                }
                let _ = http.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, io, task)
}

#[tokio::test]
async fn hypers_server_supports_it_if_enabled() {
    let (address, io, task) = serve_hyper(true).await;
    let mut client = Http2::connect(address).await.websocket(WEBSOCKET).await;
    assert!(client.text().await.starts_with(r#"0{"sid":""#));
    client.connect("40").await;
    client.say(r#"42["echo","é"]"#).await;
    client.expect(r#"42["echo","é"]"#).await;
    client.say("41").await;
    client.is_quiet().await;
    drop(client);
    until(|| io.stats().connections == 0).await;
    task.abort();
}

#[tokio::test]
async fn long_polling_works_on_any_server() {
    let (address, _, task) = serve_hyper(false).await;
    let mut http2 = Http2::connect(address).await;
    let target = format!("{SESSION}&sid={}", http2.open().await);
    http2.send(Method::POST, &target, "40").await.is(200, "ok");
    assert!(http2.send(Method::GET, &target, "").await.text().starts_with("40{"));
    // A pending poll and a POST share the connection.
    let mut second = http2.clone();
    let (poll, post) =
        tokio::join!(http2.send(Method::GET, &target, ""), second.send(Method::POST, &target, r#"42["echo",1]"#));
    post.is(200, "ok");
    poll.is(200, r#"42["echo",1]"#);
    task.abort();
}

/// hyper keeps a stream that cannot be written until its HTTP/2 connection ends. The memory that it keeps is small.
#[test]
fn a_stream_whose_window_stays_closed_uses_little_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = SocketIoConfig::new().slow_client_timeout(std::time::Duration::from_millis(50));
    let (server, mut client) = runtime.block_on(async {
        let server = serve_config(config).await;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let client = Http2::connect_with(server.address, builder.initial_stream_window_size(0)).await;
        (server, client)
    });
    let mut streams = Vec::with_capacity(2);
    let mut play = || {
        runtime.block_on(async {
            let mut websocket = client.websocket(WEBSOCKET).await;
            websocket.say("40").await;
            server.has_sockets(1).await;
            for _ in 0..10 {
                server.io.emit("data", &"x".repeat(1_000_000)).unwrap();
            }
            server.is_empty().await;
            // The driver gives up the close after five seconds.
            tokio::time::pause();
            tokio::time::sleep(std::time::Duration::from_secs(6)).await;
            tokio::time::resume();
            // The client keeps the stream and does not read it.
            streams.push(websocket.stream.into_inner());
        });
    };
    // Allocates the tables and buffers that are made only once.
    play();
    let kept = allocation_counter::measure(play).bytes_current;
    assert!(kept < 100_000, "{kept} bytes were kept");
}

/// HTTP/2 has no `Host` header. Layers of a namespace that need one find it.
#[tokio::test]
async fn the_host_is_known_to_layers_of_a_namespace() {
    async fn joined(headers: hyper::HeaderMap, socket: SocketRef) {
        socket.emit("host", headers["host"].to_str().unwrap()).unwrap();
    }
    let namespace = Namespace::new().on_connect(joined).layer(OriginLayer::new("https://elsewhere.example"));
    let server = serve_config(SocketIoConfig::new().namespace("/", namespace.with_state(()))).await;
    let mut client = Http2::connect(server.address).await.websocket(WEBSOCKET).await;
    assert!(client.text().await.starts_with("0{"));
    client.say("40").await;
    // The request comes from the server's own origin.
    assert!(client.text().await.starts_with("40{"));
    client.expect(r#"42["host","localhost"]"#).await;
}

/// Streams that have become WebSockets keep their connection open.
#[tokio::test]
async fn an_http2_connection_without_streams_is_closed_by_serve() {
    let config = echo().http_idle_timeout(Duration::from_secs(1)).http_header_timeout(Duration::from_secs(3600));
    let service = SocketIoService::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(service.serve(listener));
    let mut used = Http2::connect(address).await;
    let mut websocket = used.websocket(WEBSOCKET).await;
    assert!(websocket.text().await.starts_with("0{"));
    websocket.connect("40").await;
    // A pending poll is also an open stream.
    let mut polling = Http2::connect(address).await;
    let sid = polling.open().await;
    let target: &'static str = format!("{SESSION}&sid={sid}").leak();
    polling.send(Method::POST, target, "40").await.is(200, "ok");
    polling.send(Method::GET, target, "").await;
    let mut polled = polling.clone();
    let poll = tokio::spawn(async move { polled.send(Method::GET, target, "").await });
    for _ in 0..2 {
        let idle = Http2::connect(address).await;
        until(|| idle.sender.is_closed()).await;
    }
    assert!(!used.sender.is_closed() && !polling.sender.is_closed());
    websocket.say(r#"42["echo",1]"#).await;
    websocket.expect(r#"42["echo",1]"#).await;
    used.send(Method::GET, "/other", "").await;
    polling.send(Method::POST, target, r#"42["echo",2]"#).await.is(200, "ok");
    poll.await.unwrap().is(200, r#"42["echo",2]"#);
    // The connection is closed after they have ended.
    websocket.say("1").await;
    websocket.expect_close().await;
    until(|| used.sender.is_closed() && polling.sender.is_closed()).await;
    serving.abort();
}

/// The service on its own server, with room for thousands of streams.
async fn served_for_proxies(config: SocketIoConfig) -> (SocketIo, SocketAddr, JoinHandle<std::io::Result<()>>) {
    let service = SocketIoService::new(config.max_http2_streams(4000));
    let io = service.io();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (io, address, tokio::spawn(service.serve(listener)))
}

/// A client that gives each stream a small window, as proxies do: so streams that are not read cannot use up the window of the
/// connection.
async fn proxy(address: SocketAddr) -> Http2 {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(16 * 1024).initial_connection_window_size(64 * 1024 * 1024);
    Http2::connect_with(address, &mut builder).await
}

async fn join_all(http2: &mut Http2, count: usize) -> Vec<WebSocket<Stream>> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = http2.websocket(WEBSOCKET).await;
        client.text().await;
        client.connect("40").await;
        clients.push(client);
    }
    clients
}

const STREAMS: usize = 2000;

#[tokio::test]
async fn thousands_of_websockets_share_one_connection() {
    let (io, address, serving) = served_for_proxies(echo()).await;
    let mut http2 = proxy(address).await;
    let mut clients = join_all(&mut http2, STREAMS).await;
    assert_eq!((io.stats().connections, io.stats().sockets), (STREAMS, STREAMS));
    // All of them came over one connection.
    let peers: std::collections::HashSet<_> = io.conns().iter().map(|conn| conn.remote_addr().unwrap()).collect();
    assert_eq!(peers.len(), 1);
    io.emit("all", &1).unwrap();
    for client in &mut clients {
        client.expect(r#"42["all",1]"#).await;
        client.say(r#"420["echo",2]"#).await;
    }
    for client in &mut clients {
        client.expect(r#"42["echo",2]"#).await;
        client.expect(r#"430["done"]"#).await;
    }
    drop(clients);
    until(|| io.stats().connections == 0).await;
    // The connection is still usable.
    assert_eq!(http2.send(Method::GET, SESSION, "").await.status, 200);
    serving.abort();
}

#[tokio::test]
async fn streams_that_are_not_read_do_not_delay_the_others() {
    const SLOW: usize = 500;
    // More than the window of a stream.
    const EVENT: usize = 20_000;
    const EVENTS: usize = 20;
    let config = echo().max_buffered_bytes(EVENT * EVENTS * 2).slow_client_timeout(Duration::from_secs(3600));
    let (io, address, serving) = served_for_proxies(config).await;
    let mut http2 = proxy(address).await;
    let mut slow = join_all(&mut http2, SLOW).await;
    let mut fast = join_all(&mut http2, 20).await;
    let text = "x".repeat(EVENT);
    for number in 0..EVENTS {
        io.emit("n", &(number, &text)).unwrap();
        for client in &mut fast {
            client.expect(&format!(r#"42["n",{number},"{text}"]"#)).await;
        }
    }
    // Each of the others still has most of its events in its queue on the server, and gets them when it reads.
    let queued: Vec<usize> = io.sockets().iter().map(SocketRef::buffered_bytes).collect();
    assert_eq!(queued.iter().filter(|bytes| **bytes > EVENT * EVENTS / 2).count(), SLOW);
    for number in 0..EVENTS {
        slow[0].expect(&format!(r#"42["n",{number},"{text}"]"#)).await;
    }
    // One that does not read exceeds its limit, and is disconnected without the others.
    while io.stats().slow_clients == 0 {
        io.emit("n", &(0, &text)).unwrap();
        for client in fast.iter_mut().chain(&mut slow[..1]) {
            client.expect(&format!(r#"42["n",0,"{text}"]"#)).await;
        }
    }
    until(|| io.stats().sockets == 21).await;
    for client in fast.iter_mut().chain(&mut slow[..1]) {
        client.say(r#"42["echo",3]"#).await;
        client.expect(r#"42["echo",3]"#).await;
    }
    serving.abort();
}

/// Returns the bytes of the heap that the server keeps for each WebSocket: a stream of one connection, or a connection of its own.
fn heap_of_each(over_http2: bool) -> i64 {
    // Opened before, because they allocate tables that are shared.
    const FIRST: usize = 100;
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime();
    let (io, address, serving) = server.block_on(served_for_proxies(echo()));
    let (proceed, may_proceed) = std::sync::mpsc::channel::<()>();
    // The counter counts the allocations of a thread. The clients have another one.
    let clients = std::thread::spawn(move || {
        runtime().block_on(async {
            let mut http2 = proxy(address).await;
            let (mut streams, mut connections) = (Vec::new(), Vec::new());
            for count in [FIRST, STREAMS] {
                for _ in 0..count {
                    if over_http2 {
                        streams.extend(join_all(&mut http2, 1).await);
                    } else {
                        connections.push(WebSocket::join(address, "40").await);
                    }
                }
                let _ = may_proceed.recv();
            }
        });
    });
    server.block_on(until(|| io.stats().sockets == FIRST));
    proceed.send(()).unwrap();
    let serve_all = async {
        for count in (FIRST..=FIRST + STREAMS).step_by(100) {
            until(|| io.stats().sockets >= count).await;
        }
    };
    let kept = allocation_counter::measure(|| server.block_on(serve_all)).bytes_current;
    proceed.send(()).unwrap();
    clients.join().unwrap();
    serving.abort();
    kept / i64::try_from(STREAMS).unwrap()
}

/// With `--nocapture`, it prints the numbers of docs/performance.md.
#[test]
fn a_stream_uses_little_memory() {
    let [stream, connection] = [true, false].map(heap_of_each);
    println!("{stream} bytes for each stream, {connection} bytes for each connection");
    assert!(stream < 12_000, "{stream}");
}
