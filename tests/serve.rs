//! The server that comes with the crate closes connections that are idle.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Handle,
    task::JoinHandle,
};
use tower_socketio::{Namespace, SocketIo, SocketIoConfig, SocketIoService, SocketRef, extract::Data};

use crate::support::*;

const SESSION: &str = "/socket.io/?EIO=4&transport=polling";
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(3600);

/// Serves until the task is aborted.
async fn listen(config: SocketIoConfig) -> (SocketAddr, SocketIo, JoinHandle<()>) {
    let namespace = Namespace::new().on("echo", |socket: SocketRef, Data(text): Data<String>| async move {
        socket.emit("echo", &text).unwrap();
    });
    let service = SocketIoService::new(config.namespace("/", namespace));
    let io = service.io();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { service.serve(listener).await.unwrap() });
    (address, io, serving)
}

/// Sends bytes on a new connection.
async fn say(address: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// Reads to the end of the connection, which must come soon.
async fn end(mut stream: TcpStream) -> String {
    let mut read = Vec::new();
    // A connection that is closed with unread bytes is reset.
    let _ = soon(stream.read_to_end(&mut read)).await;
    String::from_utf8_lossy(&read).into_owned()
}

/// Reads the head of a response, and the part of its body that arrived with it.
async fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        assert!(soon(stream.read_buf(&mut read)).await.unwrap() > 0, "{}", String::from_utf8_lossy(&read));
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn a_connection_that_sends_no_head_in_time_is_closed() {
    let (address, _, _serving) = listen(SocketIoConfig::new().http_header_timeout(SHORT).http_idle_timeout(LONG)).await;
    for said in [
        "",
        "G",
        "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: h\r\nx-half: ",
        // HTTP/2: half of a preface, and a complete one without any stream.
        "PRI * HT",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ] {
        let closed = end(say(address, said).await).await;
        assert!(!closed.starts_with("HTTP/1.1 200"), "{said:?}: {closed}");
    }
    // Half of a second head.
    let mut stream = say(address, "GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 404"));
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(!end(stream).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn an_idle_keep_alive_connection_is_closed() {
    let (address, io, _serving) =
        listen(SocketIoConfig::new().http_idle_timeout(SHORT).http_header_timeout(LONG)).await;
    // Connections with a pending poll or a WebSocket are not idle.
    let client = Polling::join(address).await;
    let target = client.target();
    let mut poll = say(address, &format!("GET {target} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
    let (mut websocket, _) = WebSocket::join(address, "40").await;
    for _ in 0..2 {
        let mut idle = say(address, "GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert!(head(&mut idle).await.starts_with("HTTP/1.1 404"));
        assert_eq!(end(idle).await, "");
    }
    io.emit("late", &()).unwrap();
    assert!(head(&mut poll).await.ends_with("42[\"late\"]"));
    websocket.expect(r#"42["late"]"#).await;
    // The connection is idle after the response.
    assert_eq!(end(poll).await, "");
    websocket.is_quiet().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_response_is_cut_off() {
    // Long enough for the checks of the task count below.
    let config = SocketIoConfig::new().http_write_timeout(10 * SHORT).max_buffered_bytes(usize::MAX);
    let (address, io, _serving) = listen(config).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let client = Polling::join(address).await;
    // The server has two tasks and the session has one. The connections of its requests have ended.
    until(|| tasks() == 3).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    io.emit("large", &"x".repeat(20_000_000)).unwrap();
    stream.write_all(format!("GET {} HTTP/1.1\r\nhost: h\r\n\r\n", client.target()).as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
    // The task of the connection ends without any further I/O.
    assert_eq!(tasks(), 4);
    until(|| tasks() == 3).await;
    assert!(end(stream).await.len() < 20_000_000);
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not() {
    let config = SocketIoConfig::new().http_write_timeout(PATIENCE).max_buffered_bytes(usize::MAX);
    let (address, io, _serving) = listen(config).await;
    let client = Polling::join(address).await;
    io.emit("large", &"x".repeat(20_000_000)).unwrap();
    let mut stream = say(address, &format!("GET {} HTTP/1.1\r\nhost: h\r\n\r\n", client.target())).await;
    let mut read = head(&mut stream).await.len();
    let mut buffer = vec![0; 1_000_000];
    while read < 20_000_000 {
        read += soon(stream.read(&mut buffer)).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn heads_are_limited_as_they_are_read() {
    let (address, io, _serving) = listen(SocketIoConfig::new()).await;
    let with = |bytes: usize| format!("GET {SESSION} HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "x".repeat(bytes));
    let refused = head(&mut say(address, &with(17_000)).await).await;
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    assert!(refused.ends_with(r#"{"code":3,"message":"The request head exceeds max_head_bytes"}"#), "{refused}");
    // A head that is much larger is not read to its end.
    for mut stream in [say(address, &with(100_000)).await, say(address, &with(1_000_000)[..200_000]).await] {
        let refused = head(&mut stream).await;
        assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
        end(stream).await;
    }
    assert_eq!(io.stats().connections, 0);
    // The limit does not apply to bodies.
    let client = Polling::join(address).await;
    client.say(&format!(r#"42["echo","{}"]"#, "x".repeat(900_000))).await;
    assert_eq!(client.poll().await.body.len(), 900_000 + 13);
}

#[tokio::test]
async fn a_server_that_closes_responds_to_pending_questions() {
    let (address, io, serving) = listen(SocketIoConfig::new()).await;
    let client = Polling::join(address).await;
    let (mut websocket, _) = WebSocket::join(address, "40").await;
    let mut poll = say(address, &format!("GET {} HTTP/1.1\r\nhost: h\r\n\r\n", client.target())).await;
    let mut idle = say(address, "GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(head(&mut idle).await.starts_with("HTTP/1.1 404"));
    let polling =
        io.sockets().into_iter().find(|socket| socket.transport() == tower_socketio::Transport::Polling).unwrap();
    until(move || polling.is_writable()).await;
    serving.abort();
    assert_eq!(end(idle).await, "");
    io.emit("last", &()).unwrap();
    let answer = head(&mut poll).await;
    assert!(answer.ends_with("42[\"last\"]"), "{answer}");
    assert_eq!(end(poll).await, "");
    // WebSockets are not requests: they stay open until the user closes them.
    websocket.expect(r#"42["last"]"#).await;
    websocket.say(r#"42["echo","x"]"#).await;
    websocket.expect(r#"42["echo","x"]"#).await;
    io.sockets().iter().for_each(|socket| socket.conn().close());
    websocket.expect_close().await;
}

#[tokio::test]
async fn handshakes_know_the_address_of_their_peer() {
    let (address, io, _serving) = listen(SocketIoConfig::new()).await;
    let (client, id) = WebSocket::join(address, "40").await;
    let own = client.stream.get_ref().local_addr().unwrap();
    assert_eq!(io.socket(&id).unwrap().handshake().remote_addr(), Some(own));
}
