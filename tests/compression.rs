//! Responses to polls are compressed if the client accepts that.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use futures_util::future::BoxFuture;
use tower_socketio::{
    SocketIoConfig,
    cluster::{ClusterAdapter, ClusterCommand, ClusterError, ClusterMessage, ClusterNode, Peers, PublishError},
    engine::Packet,
};

use crate::support::*;

const GZIP: &[(&str, &str)] = &[("accept-encoding", "gzip, deflate")];

/// Text that compresses well and is longer than the threshold.
fn text() -> String {
    "compress me ".repeat(200)
}

/// The packet in which the text arrives.
fn packet() -> String {
    format!(r#"42["n","{}"]"#, text())
}

async fn poll(client: &Polling, headers: &[(&str, &str)]) -> Reply {
    send(client.address, Method::GET, &client.target(), headers, "").await
}

/// Checks that a response is compressed, and checks its text.
#[track_caller]
fn is_compressed(reply: &Reply, encoding: &str, expected: &str) {
    assert_eq!((reply.status.as_u16(), reply.header("content-encoding")), (200, Some(encoding)));
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-length").unwrap(), reply.body.len().to_string());
    assert!(reply.body.len() < expected.len());
    let mut text = String::new();
    match encoding {
        "gzip" => GzDecoder::new(&reply.body[..]).read_to_string(&mut text).unwrap(),
        _ => ZlibDecoder::new(&reply.body[..]).read_to_string(&mut text).unwrap(),
    };
    assert_eq!(text, expected);
}

#[track_caller]
fn is_plain(reply: &Reply, expected: &str) {
    assert_eq!(reply.header("content-encoding"), None);
    reply.is(200, expected);
}

#[tokio::test]
async fn a_long_response_is_compressed_as_the_client_prefers() {
    let server = serve_config(SocketIoConfig::new()).await;
    let client = Polling::join(server.address).await;
    for (accept, encoding) in [("gzip, deflate", "gzip"), ("gzip;q=0.5, deflate", "deflate"), ("*", "gzip")] {
        server.io.emit("n", &text()).unwrap();
        is_compressed(&poll(&client, &[("accept-encoding", accept)]).await, encoding, &packet());
    }
    for headers in [&[][..], &[("accept-encoding", "br")], &[("accept-encoding", "gzip;q=0")]] {
        server.io.emit("n", &text()).unwrap();
        is_plain(&poll(&client, headers).await, &packet());
    }
}

#[tokio::test]
async fn an_answer_below_the_threshold_is_not_compressed() {
    let server = serve_config(SocketIoConfig::new()).await;
    let client = Polling::join(server.address).await;
    let around = r#"42["n",""]"#.len();
    for (length, compressed) in [(1023, false), (1024, true)] {
        server.io.emit("n", &"a".repeat(length - around)).unwrap();
        let reply = poll(&client, GZIP).await;
        assert_eq!(reply.header("content-encoding").is_some(), compressed, "{length}");
    }
    // The response to a POST is not compressed either.
    let reply = send(client.address, Method::POST, &client.target(), GZIP, "42[\"n\"]").await;
    is_plain(&reply, "ok");
}

#[tokio::test]
async fn http_compression_sets_the_threshold_or_turns_it_off() {
    let server = serve_config(SocketIoConfig::new().http_compression(Some(40))).await;
    let client = Polling::join(server.address).await;
    let text = "a".repeat(60);
    server.io.emit("n", &text).unwrap();
    is_compressed(&poll(&client, GZIP).await, "gzip", &format!(r#"42["n","{text}"]"#));
    let server = serve_config(SocketIoConfig::new().http_compression(None)).await;
    let client = Polling::join(server.address).await;
    server.io.emit("n", &self::text()).unwrap();
    is_plain(&poll(&client, GZIP).await, &packet());
}

#[tokio::test]
async fn http_compression_level_sets_the_level() {
    let text: String = (0..6000).map(|n: u32| format!("{},", n * n % 1009)).collect();
    let mut sizes = Vec::new();
    for level in [1, 9] {
        let server = serve_config(SocketIoConfig::new().http_compression_level(level)).await;
        let client = Polling::join(server.address).await;
        server.io.emit("n", &text).unwrap();
        let reply = poll(&client, GZIP).await;
        is_compressed(&reply, "gzip", &format!(r#"42["n","{text}"]"#));
        sizes.push(reply.body.len());
    }
    assert!(sizes[1] < sizes[0], "{sizes:?}");
}

#[test]
#[should_panic(expected = "the compression level must be from 1 to 9")]
fn a_compression_level_that_does_not_exist_is_refused_at_once() {
    let _ = SocketIoConfig::new().http_compression_level(10);
}

#[tokio::test]
async fn the_first_answer_is_compressed_too() {
    let config = SocketIoConfig::new().initial_packet(Packet::message(&text())).generate_id(|_| "id".into());
    let server = serve_config(config).await;
    let reply = send(server.address, Method::GET, "/socket.io/?EIO=4&transport=polling", GZIP, "").await;
    let open =
        r#"0{"sid":"id","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    is_compressed(&reply, "gzip", &format!("{open}\x1e4{}", text()));
}

#[tokio::test]
async fn compress_false_disables_compression_of_a_response() {
    let server = serve_config(SocketIoConfig::new()).await;
    let client = Polling::join(server.address).await;
    let (io, socket) = (&server.io, &server.io.sockets()[0]);
    let text = text();
    let all = io.of("/").unwrap();
    let emits: [&dyn Fn(bool); 7] = [
        &|compress| socket.compress(compress).emit("n", &text).unwrap(),
        &|compress| socket.volatile().compress(!compress).compress(compress).emit("n", &text).unwrap(),
        &|compress| socket.compress(compress).within("room").emit("n", &text).unwrap(),
        &|compress| socket.within("room").compress(compress).emit("n", &text).unwrap(),
        &|compress| io.compress(compress).emit("n", &text).unwrap(),
        &|compress| all.compress(compress).to("room").emit("n", &text).unwrap(),
        &|compress| io.to("room").compress(compress).emit("n", &text).unwrap(),
    ];
    socket.join("room");
    for emit in emits {
        for compress in [false, true] {
            // A volatile event is sent only if a poll is pending.
            let (reply, ()) = tokio::join!(poll(&client, GZIP), async {
                until(|| socket.is_writable()).await;
                emit(compress);
            });
            match compress {
                true => is_compressed(&reply, "gzip", &packet()),
                false => is_plain(&reply, &packet()),
            }
        }
    }
}

#[tokio::test]
async fn one_packet_that_may_be_compressed_is_enough() {
    let server = serve_config(SocketIoConfig::new()).await;
    let client = Polling::join(server.address).await;
    let socket = &server.io.sockets()[0];
    socket.compress(false).emit("n", &text()).unwrap();
    socket.compress(false).emit("n", &text()).unwrap();
    is_plain(&poll(&client, GZIP).await, &format!("{}\x1e{}", packet(), packet()));
    socket.compress(false).emit("n", &text()).unwrap();
    socket.emit("n", "x").unwrap();
    is_compressed(&poll(&client, GZIP).await, "gzip", &format!("{}\x1e42[\"n\",\"x\"]", packet()));
}

#[tokio::test]
async fn attachments_and_acks_carry_the_flag() {
    let server = serve_config(SocketIoConfig::new()).await;
    let client = Polling::join(server.address).await;
    let socket = &server.io.sockets()[0];
    socket.compress(false).emit("n", &Bytes::from(vec![0; 3000])).unwrap();
    let reply = poll(&client, GZIP).await;
    assert_eq!((reply.header("content-encoding"), reply.body.len() > 4000), (None, true));
    let ack = socket.compress(false).emit_with_ack::<()>("n", &text());
    assert_eq!(poll(&client, GZIP).await.header("content-encoding"), None);
    drop(ack);
    let acks = server.io.compress(false).emit_with_ack::<()>("n", &text()).unwrap();
    assert_eq!(poll(&client, GZIP).await.header("content-encoding"), None);
    drop(acks);
}

/// An adapter that delivers nothing, and keeps the messages of its node.
#[derive(Clone, Default)]
struct Record(std::sync::Arc<std::sync::Mutex<Vec<ClusterMessage>>>);

impl ClusterAdapter for Record {
    fn start(&self, _: ClusterNode) {}

    fn publish(&self, message: ClusterMessage) -> Result<(), PublishError> {
        self.0.lock().unwrap().push(message);
        Ok(())
    }

    fn peers(&self, _: &str) -> BoxFuture<'static, Result<Peers, ClusterError>> {
        Box::pin(std::future::ready(Ok(Peers::Count(0))))
    }
}

#[tokio::test]
async fn other_nodes_are_notified() {
    let record = Record::default();
    let server = serve_config(SocketIoConfig::new().adapter(record.clone())).await;
    server.io.compress(false).emit("n", &Bytes::from_static(b"x")).unwrap();
    server.io.emit("n", "x").unwrap();
    let flags: Vec<Option<bool>> = record
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|message| {
            let ClusterCommand::Emit { options, .. } = &message.command else { panic!("{message:?}") };
            options.flags.compress
        })
        .collect();
    assert_eq!(flags, [Some(false), None]);
}
