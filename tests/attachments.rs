//! Binary arguments: each attachment is referenced once, and none is copied unnecessarily.

use std::sync::{Arc, Mutex};

use allocation_counter::measure;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{runtime::Builder, sync::mpsc};
use tower_socketio::{
    Ack, Args, DisconnectReason, Namespace, SocketIo, SocketIoConfig, SocketIoService, Value,
    engine::Packet,
    extract::{Data, Rest},
};

use crate::support::*;

const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;

/// Handlers that extract all of the arguments, some of them, or none.
fn handlers() -> Namespace {
    Namespace::new()
        .on("all", |Data(args): Data<Args>| async move { Ack(args) })
        .on("first", |Data(first): Data<Value>| async move { Ack(first) })
        .on("text", |Data(text): Data<String>| async move { Ack(text) })
        .on("none", || async { Ack(()) })
        .with_state(())
}

/// The same namespace, which also reports why clients disconnect.
fn server() -> (SocketIo, mpsc::UnboundedReceiver<DisconnectReason>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let namespace = handlers().on_disconnect(move |reason: DisconnectReason| {
        let sender = sender.clone();
        async move { sender.send(reason).unwrap() }
    });
    let config = SocketIoConfig::new().max_attachments(100).namespace("/", namespace);
    (SocketIoService::new(config).io(), receiver)
}

async fn detail(reasons: &mut mpsc::UnboundedReceiver<DisconnectReason>) -> &'static str {
    let reason = soon(reasons.recv()).await.unwrap();
    assert_eq!(reason.to_string(), "forced close");
    reason.detail().unwrap_or_else(|| panic!("no detail: {reason:?}"))
}

#[tokio::test]
async fn an_attachment_is_named_exactly_once() {
    const TWICE: &str = "illegal attachments: one is named twice";
    const UNNAMED: &str = "illegal attachments: one is not named";
    const UNKNOWN: &str = "illegal attachments: a placeholder has no valid number";
    let (io, mut reasons) = server();
    let place = |number: &str| format!(r#"{{"_placeholder":true,"num":{number}}}"#);
    for (count, args, expected) in [
        (1, format!("{PLACEHOLDER},{PLACEHOLDER}"), TWICE),
        (1, format!("1,{{\"a\":[{PLACEHOLDER},{{\"b\":{PLACEHOLDER}}}]}}"), TWICE),
        (2, format!("{},{}", place("1"), place("1")), TWICE),
        (3, format!("{},{},{}", place("0"), place("1"), place("0")), TWICE),
        (1, "1".to_owned(), UNNAMED),
        (2, PLACEHOLDER.to_owned(), UNNAMED),
        (1, r#"{"_placeholder":false,"num":0}"#.to_owned(), UNNAMED),
        (1, r#""{\"_placeholder\":true,\"num\":0}""#.to_owned(), UNNAMED),
        (1, place("1"), UNKNOWN),
        (1, format!("{PLACEHOLDER},{}", place("1")), UNKNOWN),
        (1, place("-1"), UNKNOWN),
        (1, place("0.5"), UNKNOWN),
        (1, place("\"0\""), UNKNOWN),
        (1, place("null"), UNKNOWN),
        (1, r#"{"_placeholder":true}"#.to_owned(), UNKNOWN),
    ] {
        for event in ["all", "first", "text", "none", "nobody"] {
            let mut client = Memory::join(&io).await;
            client.say(&format!(r#"45{count}-["{event}",{args}]"#));
            for _ in 0..count {
                client.send(Packet::binary("x"));
            }
            assert_eq!(detail(&mut reasons).await, expected, "{event} {args}");
            while client.packet().await.is_some() {}
        }
        // An ack, whether it is awaited or not.
        for id in [0, 7] {
            let client = Memory::join(&io).await;
            let answer = io.sockets()[0].emit_with_ack::<Args>("ask", &());
            client.say(&format!("46{count}-{id}[{args}]"));
            assert_eq!(detail(&mut reasons).await, expected, "{args}");
            assert!(soon(answer).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_placeholder_may_be_written_in_any_way() {
    let (io, _) = server();
    let mut client = Memory::join(&io).await;
    for placeholder in [
        PLACEHOLDER,
        r#"{"num":0,"_placeholder":true}"#,
        "{ \"_placeholder\" : true ,\n\"num\" : 0 }",
        r#"{"x":[{"y":1}],"_placeholder":true,"num":0}"#,
    ] {
        client.say(&format!(r#"451-0["all",{placeholder}]"#));
        client.send(Packet::binary("x"));
        client.expect(&format!("461-0[{PLACEHOLDER}]")).await;
        assert_eq!(client.packet().await, Some(Packet::binary("x")));
    }
    // Without attachments, an object that looks like a placeholder is an ordinary object.
    client.say(&format!(r#"420["all",{PLACEHOLDER},{PLACEHOLDER}]"#));
    client.expect(&format!("430[{PLACEHOLDER},{PLACEHOLDER}]")).await;
}

/// Over WebSocket, with a text of one million bytes: an unhandled event, and one event for each kind of handler.
#[test]
fn an_attachment_that_is_named_thirty_thousand_times_takes_no_memory() {
    let placeholders = vec![PLACEHOLDER; 30_000].join(",");
    let attachment = vec![7; 950_000];
    for event in ["nobody", "none", "first", "all"] {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let text = format!(r#"451-["{event}",{placeholders}]"#);
        let play = || {
            runtime.block_on(async {
                let server = serve_config(SocketIoConfig::new().namespace("/", handlers())).await;
                let (mut client, _) = WebSocket::join(server.address, "40").await;
                client.say(&text).await;
                client.try_send(attachment.clone().into()).await;
                client.expect_close().await;
                server.is_empty().await;
            });
        };
        // Allocates the tables and buffers that are made only once.
        play();
        let info = measure(play);
        // The client holds the text twice, and the attachment. So does the server.
        assert!(info.bytes_max < 10_000_000, "{event}: {info:?}");
    }
}

/// A handler that keeps one megabyte of an event keeps no more than that alive.
#[test]
fn binary_shares_the_received_buffer() {
    const SIZE: usize = 900_000;
    let kept: Arc<Mutex<Vec<Value>>> = Arc::default();
    let keep = kept.clone();
    let keep = move |values: Vec<Value>| keep.lock().unwrap().extend(values);
    let (values, args, rest) = (keep.clone(), keep.clone(), keep.clone());
    let namespace = Namespace::new()
        .on("value", move |Data(value): Data<Value>| {
            values(vec![value]);
            async { Ack(()) }
        })
        .on("args", move |Data(all): Data<Args>| {
            args(all.into());
            async { Ack(()) }
        })
        .on("rest", move |Data((first, others)): Data<(Value, Rest)>| {
            rest(vec![first]);
            rest(others.into());
            async { Ack(()) }
        })
        .on("bytes", move |Data(data): Data<Bytes>| {
            keep(vec![data.into()]);
            async { Ack(()) }
        });
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let io = runtime.block_on(async { SocketIoService::new(SocketIoConfig::new().namespace("/", namespace)).io() });
    let mut client = runtime.block_on(Memory::join(&io));
    for event in ["value", "args", "rest", "bytes"] {
        for argument in [PLACEHOLDER.to_owned(), format!(r#"{{"deep":[{PLACEHOLDER}]}}"#)] {
            let argument = if event == "bytes" { PLACEHOLDER.to_owned() } else { argument };
            let info = measure(|| {
                runtime.block_on(async {
                    client.say(&format!(r#"451-0["{event}",{argument}]"#));
                    client.send(Packet::binary(vec![7; SIZE]));
                    client.expect("430[]").await;
                });
            });
            assert!(info.bytes_max < SIZE as u64 + 50_000, "{event}: {info:?}");
            kept.lock().unwrap().clear();
        }
    }
    // An ack.
    let socket = io.sockets().remove(0);
    let info = measure(|| {
        runtime.block_on(async {
            let (bytes, value) = (socket.emit_with_ack::<Bytes>("ask", &()), socket.emit_with_ack::<Value>("ask", &()));
            for id in ["0", "1"] {
                client.expect(&format!(r#"42{id}["ask"]"#)).await;
                client.say(&format!("461-{id}[{PLACEHOLDER}]"));
                client.send(Packet::binary(vec![7; SIZE]));
            }
            let (bytes, value) = (soon(bytes).await.unwrap(), soon(value).await.unwrap());
            assert_eq!((bytes.len(), value.as_binary().map(Bytes::len)), (SIZE, Some(SIZE)));
        });
    });
    assert!(info.bytes_max < 2 * SIZE as u64 + 50_000, "{info:?}");
}

#[derive(Deserialize, Serialize)]
struct Upload {
    name: String,
    content: Vec<u8>,
    preview: Option<Box<[u8]>>,
    magic: [u8; 2],
}

fn uploads() -> Namespace {
    let sum = |data: &[u8]| data.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    Namespace::new()
        .on("vec", move |Data(data): Data<Vec<u8>>| async move { Ack(sum(&data)) })
        .on("boxed", move |Data(data): Data<Box<[u8]>>| async move { Ack(sum(&data)) })
        .on("array", move |Data(data): Data<[u8; 3]>| async move { Ack(sum(&data)) })
        .on("option", move |Data(data): Data<Option<Vec<u8>>>| async move { Ack(data.map(|data| sum(&data))) })
        .on("tuple", move |Data((a, b)): Data<(Vec<u8>, Vec<u8>)>| async move { Ack((sum(&a), sum(&b))) })
        .on("bytes", move |Data(data): Data<Bytes>| async move { Ack(sum(&data)) })
        .on("struct", move |Data(upload): Data<Upload>| async move {
            let preview = upload.preview.map(|data| sum(&data));
            Ack((upload.name, sum(&upload.content), preview, upload.magic.len()))
        })
        .with_state(())
}

#[tokio::test]
async fn a_vector_of_bytes_takes_binary_and_an_array_of_numbers() {
    let io = SocketIoService::new(SocketIoConfig::new().namespace("/", uploads())).io();
    let mut client = Memory::join(&io).await;
    let place = |number: u8| format!(r#"{{"_placeholder":true,"num":{number}}}"#);
    for (event, answer) in [("vec", "[6]"), ("boxed", "[6]"), ("array", "[6]"), ("option", "[6]"), ("bytes", "[6]")] {
        client.say(&format!(r#"451-0["{event}",{PLACEHOLDER}]"#));
        client.send(Packet::binary(&[1u8, 2, 3][..]));
        client.expect(&format!("430{answer}")).await;
        client.say(&format!(r#"420["{event}",[1,2,3]]"#));
        client.expect(&format!("430{answer}")).await;
    }
    client.say(&format!(r#"451-0["tuple",[1,2],{PLACEHOLDER}]"#));
    client.send(Packet::binary(&[4u8][..]));
    client.expect("430[3,4]").await;
    let upload = |content: &str, preview: &str, magic: &str| {
        format!(r#"["struct",{{"name":"n","content":{content},"preview":{preview},"magic":{magic}}}]"#)
    };
    client.say(&format!("453-0{}", upload(&place(2), &place(0), &place(1))));
    for data in [&[1u8][..], &[0, 0], &[2, 3]] {
        client.send(Packet::binary(data));
    }
    client.expect(r#"430["n",5,1,2]"#).await;
    client.say(&format!("420{}", upload("[5]", "null", "[1,2]")));
    client.expect(r#"430["n",5,null,2]"#).await;
    // A type error names the types that were sent.
    for (event, error) in [
        (format!(r#"451-0["array",{PLACEHOLDER}]"#), "invalid length 1"),
        (format!(r#"451-0["struct",{PLACEHOLDER}]"#), "invalid type: byte array, expected struct Upload"),
    ] {
        client.say(&event);
        client.send(Packet::binary("x"));
        let answer = client.text().await;
        assert!(answer.contains(error), "{answer}");
    }
    // Acks that the server awaits.
    let socket = io.sockets().remove(0);
    let answer = socket.emit_with_ack::<(Vec<u8>, Option<Vec<u8>>)>("ask", &());
    client.expect(r#"420["ask"]"#).await;
    client.say(&format!("461-0[[1],{PLACEHOLDER}]"));
    client.send(Packet::binary("x"));
    assert_eq!(soon(answer).await.unwrap(), (vec![1], Some(b"x".to_vec())));
}

#[cfg(feature = "msgpack")]
#[tokio::test]
async fn a_vector_of_bytes_takes_binary_of_msgpack() {
    use tower_socketio::parser::MsgpackParser;

    let config = SocketIoConfig::new().namespace("/", uploads()).parser(MsgpackParser);
    let mut client = Memory::open(&SocketIoService::new(config).io());
    client.text().await;
    client.send(Packet::binary(&b"\x82\xa4type\x00\xa3nsp\xa1/"[..]));
    client.packet().await.unwrap();
    for event in ["vec", "boxed", "array", "option", "bytes"] {
        for argument in [&b"\xc4\x03\x01\x02\x03"[..], b"\xc7\x03\x00\x01\x02\x03", b"\x93\x01\x02\x03"] {
            let length = 0xa0 + event.len() as u8;
            let packet =
                [b"\x84\xa4type\x02\xa2id\x00\xa3nsp\xa1/\xa4data\x92", &[length][..], event.as_bytes(), argument];
            client.send(Packet::binary(packet.concat()));
            let answer = client.packet().await.unwrap();
            assert_eq!(answer.data(), b"\x84\xa4type\x03\xa4data\x91\x06\xa3nsp\xa1/\xa2id\x00", "{event}");
        }
    }
}
