//! What a hostile client can send: each has an exact answer, and nothing of it stays in memory.

use std::{net::SocketAddr, time::Duration};

use allocation_counter::measure;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Handle},
};
use tokio_tungstenite::tungstenite::Message;
use tower_socketio::{Ack, Args, Namespace, SocketIoConfig, extract::Data};

use crate::support::*;

/// What may be kept after a scene: a table that has grown, for the next client.
const KEPT: i64 = 16 * 1024;

fn echo() -> Namespace {
    Namespace::new()
        .on("echo", |Data(args): Data<Args>| async move { Ack(args) })
        .on("none", || async { Ack(()) })
        .with_state(())
}

/// Plays a scene, on one thread with the server, and checks that memory returns to where it was.
fn costs_nothing(config: SocketIoConfig, scene: impl AsyncFn(SocketAddr)) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(serve_config(config.namespace("/", echo())));
    let tasks = runtime.block_on(async { Handle::current().metrics().num_alive_tasks() });
    let play = || {
        runtime.block_on(async {
            scene(server.address).await;
            server.is_empty().await;
            until(|| Handle::current().metrics().num_alive_tasks() <= tasks).await;
        });
    };
    // Tables and buffers that are made once.
    play();
    play();
    let kept = measure(play).bytes_current;
    assert!(kept < KEPT, "{kept} bytes were kept");
}

/// A message over WebSocket after which the server closes.
fn closes(message: &'static str) {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(message).await;
        client.expect_close().await;
        let client = Polling::join(address).await;
        let reply = client.post(message).await;
        if reply.status == 200 {
            client.expect("6\x1e1").await;
        } else {
            reply.is(400, "");
        }
        client.is_gone().await;
    });
}

#[test]
fn six_bytes_that_begin_with_a_multi_byte_character() {
    closes("é1234");
}

#[test]
fn a_lone_b() {
    closes("b");
}

#[test]
fn an_upgrade_packet_on_an_established_transport() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say("5").await;
        client.is_quiet().await;
        let client = Polling::join(address).await;
        client.say("5").await;
        client.say("1").await;
    });
}

#[test]
fn a_binary_event_without_a_payload() {
    closes("451-");
}

#[test]
fn an_event_with_a_reserved_name() {
    closes(r#"42["connect"]"#);
}

#[test]
fn violations_of_the_packet_format() {
    for message in [
        "4",
        "4 ",
        "47",
        "4abc",
        "42{}",
        "42[]",
        "42[true]",
        "42[\"a\"",
        "42[\"a\"]garbage",
        "42[\"echo\",]",
        "42[\"echo\",1]garbage",
        "42[\"echo\",01]",
        "421e3[\"a\"]",
        "42-1[\"a\"]",
        "42 1[\"a\"]",
        "4299999999999999999999[\"a\"]",
        "43{}",
        "435{}",
        "435[garbage",
        "40[]",
        "40garbage",
        "44{\"message\":\"m\"}",
        "41/admin,{}",
        "45",
        "451",
        "450-[\"a\"]",
        "4511-[\"a\"]",
    ] {
        closes(message);
    }
}

#[test]
fn json_nested_ten_thousand_times() {
    let deep = format!(r#"42["none",{}{}]"#, "[".repeat(10_000), "]".repeat(10_000));
    closes(deep.leak());
}

#[test]
fn json_nested_up_to_the_limit_is_read_and_one_level_more_is_not() {
    let nested = |levels: usize| format!(r#"420["echo",{}{}]"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    costs_nothing(SocketIoConfig::new(), async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(&nested(100)).await;
        assert!(client.text().await.starts_with("430[[[["));
        client.say(&nested(101)).await;
        client.expect_close().await;
    });
    let shallow = SocketIoConfig::new().max_json_depth(2);
    costs_nothing(shallow, async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(r#"420["echo",[1,2]]"#).await;
        client.expect("430[[1,2]]").await;
        client.say(r#"420["echo",[[1]]]"#).await;
        client.expect_close().await;
    });
}

#[test]
fn attachments_out_of_turn_or_beyond_the_limits() {
    for (text, binary, closing) in [
        // Text where an attachment is due.
        (r#"451-["none",{"_placeholder":true,"num":0}]"#, None, r#"42["none"]"#),
        // A placeholder without its attachment.
        (r#"451-["none",{"_placeholder":true,"num":1}]"#, Some(b"x"), ""),
        (r#"451-["echo",{"_placeholder":true,"num":"0"}]"#, Some(b"x"), ""),
        // Binary where none is due.
        (r#"42["none"]"#, Some(b"x"), ""),
    ] {
        costs_nothing(SocketIoConfig::new(), async |address| {
            let (mut client, _) = WebSocket::join(address, "40").await;
            client.say(text).await;
            if let Some(binary) = binary {
                client.say_binary(binary).await;
            }
            if !closing.is_empty() {
                client.say(closing).await;
            }
            client.expect_close().await;
        });
    }
    let config = SocketIoConfig::new().max_attachments(2).max_attachment_bytes(10);
    costs_nothing(config, async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(r#"452-0["echo"]"#).await;
        client.say_binary(b"12345").await;
        client.say_binary(b"12345").await;
        client.expect("430[]").await;
        client.say(r#"452-0["echo"]"#).await;
        client.say_binary(b"12345").await;
        client.say_binary(b"123456").await;
        client.expect_close().await;
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(r#"453-["echo"]"#).await;
        client.expect_close().await;
    });
}

#[test]
fn attachments_that_never_come() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(r#"4510-["echo"]"#).await;
        for _ in 0..9 {
            client.say_binary(&vec![0; 500_000]).await;
        }
        // Packets of the engine may stand in between.
        client.say("3").await;
        client.say_binary(b"").await;
        client.say("40/quiet?").await;
        client.expect(r#"44/quiet?,{"message":"Invalid namespace"}"#).await;
        client.say(r#"4510-["echo"]"#).await;
        client.say_binary(&vec![0; 1_000_000]).await;
        client.try_send(Message::Close(None)).await;
    });
}

#[test]
fn a_payload_one_byte_over_the_limit() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let body = format!("42[\"none\",\"{}\"]", "x".repeat(1_000_001 - 13));
        let client = Polling::join(address).await;
        client.post(body.clone()).await.is(413, "");
        client.say("1").await;
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.try_send(Message::text(body)).await;
        assert_eq!(client.frame().await, Frame::Close(Some(1009)));
    });
}

#[test]
fn two_gets_at_once() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let client = Polling::join(address).await;
        // Whichever arrives second is refused, and the other is told.
        let (a, b) = tokio::join!(client.poll(), client.poll());
        let (told, refused) = if a.status == 200 { (a, b) } else { (b, a) };
        told.is(200, "1");
        refused.is(400, "");
        client.is_gone().await;
    });
}

#[test]
fn two_posts_at_once() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let client = Polling::join(address).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let head = format!("POST {} HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n42", client.target());
        first.write_all(head.as_bytes()).await.unwrap();
        retry(async || (client.post("6").await.status == 400).then_some(())).await;
        let mut answer = [0; 12];
        soon(first.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 400");
        client.is_gone().await;
    });
}

#[test]
fn ten_thousand_connects_to_invented_namespaces() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let mut client = WebSocket::open(address).await;
        for number in 0..10_000 {
            client.say(&format!("40/invented-{number}")).await;
            client.expect(&format!(r#"44/invented-{number},{{"message":"Invalid namespace"}}"#)).await;
        }
    });
}

#[test]
fn more_namespaces_than_a_connection_a_server_or_a_name_may_have() {
    let config = || SocketIoConfig::new().max_namespace_length(20).namespace("/room/{id}", Namespace::new());
    costs_nothing(config().max_namespaces(2), async |address| {
        let mut client = WebSocket::open(address).await;
        client.connect("40/room/1").await;
        client.connect("40/room/2").await;
        client.say("40/room/3").await;
        client.expect(r#"44/room/3,{"message":"too many namespaces on this connection"}"#).await;
        client.say("41/room/1").await;
        client.connect("40/room/3").await;
        client.say("40/room/a-very-long-name").await;
        client.expect(r#"44/room/a-very-long-name,{"message":"the namespace name is too long"}"#).await;
    });
    costs_nothing(config().max_dynamic_namespaces(1), async |address| {
        let mut client = WebSocket::open(address).await;
        client.connect("40/room/1").await;
        client.say("40/room/2").await;
        client.expect(r#"44/room/2,{"message":"too many namespaces on this server"}"#).await;
        client.say("41/room/1").await;
        client.connect("40/room/2").await;
    });
}

#[test]
fn a_probe_that_is_abandoned() {
    let config = SocketIoConfig::new().upgrade_timeout(Duration::from_secs(1));
    costs_nothing(config, async |address| {
        let client = Polling::join(address).await;
        let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
        let mut websocket = WebSocket::raw(address, &target, &[]).await.unwrap();
        websocket.say("2probe").await;
        websocket.expect("3probe").await;
        websocket.expect_close().await;
        client.say(r#"420["echo",1]"#).await;
        client.expect("430[1]").await;
        client.say("1").await;
    });
}

#[test]
fn sessions_that_are_opened_and_left_alone() {
    let config = SocketIoConfig::new().connect_timeout(Duration::from_millis(50));
    costs_nothing(config, async |address| {
        for _ in 0..20 {
            Polling::open(address).await;
            drop(WebSocket::open(address).await);
        }
        // Nobody fetches the close: it is given up after half a minute.
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(40)).await;
        tokio::time::resume();
    });
}
