//! Autobahn's test-suite against the decoder, the encoder and compression: `make autobahn`.

use std::{collections::BTreeMap, path::Path};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::*;
use crate::engine::{EngineIoConfig, PerMessageDeflate};

/// Responds to an opening handshake.
async fn accept(io: &mut TcpStream) -> io::Result<Deflate> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await?);
    }
    let lines = str::from_utf8(&head).expect("a head is text").lines();
    let headers: HeaderMap = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap()))
        .collect();
    let config = EngineIoConfig::new().per_message_deflate(PerMessageDeflate::new().threshold(0));
    let (deflate, extension) = Deflate::negotiate(&config, &headers);
    let extension = extension.map(|extension| format!("Sec-WebSocket-Extensions: {}\r\n", extension.to_str().unwrap()));
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{}\r\n",
        derive_accept_key(headers["sec-websocket-key"].as_bytes()),
        extension.unwrap_or_default(),
    );
    io.write_all(response.as_bytes()).await?;
    Ok(deflate)
}

/// Echoes messages until the connection ends.
async fn echo(mut io: TcpStream) -> io::Result<()> {
    let mut deflate = accept(&mut io).await?;
    let wire_format = WireFormat::default_for(crate::engine::ProtocolVersion::V4);
    let mut decoder = Decoder::new(64 << 20, deflate.is_agreed());
    let mut encoder = Encoder::default();
    let mut read = BytesMut::with_capacity(READ_SIZE);
    loop {
        let (opcode, data) = match decoder.next() {
            Ok(Some(Message::Text(text))) => (TEXT, text.into_bytes()),
            Ok(Some(Message::Binary(data))) => (BINARY, data),
            Ok(Some(Message::Ping(payload))) => (PONG, payload.into_vec().into()),
            Ok(Some(Message::Pong)) => continue,
            Ok(Some(Message::Close(code))) => (CLOSE, code_bytes(code)),
            Err(Violation { code, .. }) => (CLOSE, code_bytes(Some(code))),
            Ok(None) if decoder.is_paused() => continue,
            Ok(None) => {
                read.clear();
                if io.read_buf(&mut read).await? == 0 {
                    return Ok(());
                }
                decoder.push(&read);
                continue;
            }
        };
        let compressed = match opcode {
            TEXT | BINARY => deflate.compress(&Packet::binary(data.clone()), &wire_format),
            _ => None,
        };
        match compressed {
            Some(Frame::Binary(data) | Frame::Text(data)) => encoder.message(opcode | COMPRESSED, &data),
            None => encoder.message(opcode, &data),
        }
        poll_fn(|cx| encoder.poll_write(&mut io, cx)).await?;
        if opcode == CLOSE {
            io.shutdown().await?;
            // Unread input would reset the connection.
            while io.read_buf(&mut read).await? > 0 {
                read.clear();
            }
            return Ok(());
        }
    }
}

fn code_bytes(code: Option<CloseCode>) -> Bytes {
    code.map_or_else(Bytes::new, |code| Bytes::copy_from_slice(&u16::from(code).to_be_bytes()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    behavior: String,
    behavior_close: String,
}

/// `WSTEST` is the path of the program, `AUTOBAHN_CASES` a list of cases such as `12.* 13.*`, and `AUTOBAHN_REPORTS` a folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "requires Autobahn's test-suite and half an hour: `make autobahn`"]
async fn autobahns_test_suite() {
    let wstest = std::env::var("WSTEST").expect("`make autobahn` sets WSTEST");
    let reports = std::env::var("AUTOBAHN_REPORTS").expect("`make autobahn` sets AUTOBAHN_REPORTS");
    let cases = std::env::var("AUTOBAHN_CASES").unwrap_or("*".to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            io.set_nodelay(true).unwrap();
            tokio::spawn(echo(io));
        }
    });
    let spec = json!({
        "outdir": reports,
        "servers": [{"agent": "tower-socketio", "url": format!("ws://{address}")}],
        "cases": cases.split_whitespace().collect::<Vec<_>>(),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    std::fs::create_dir_all(&reports).unwrap();
    let path = Path::new(&reports).join("spec.json");
    std::fs::write(&path, spec.to_string()).unwrap();
    // Its status is always 0.
    let mut wstest = Command::new(wstest);
    wstest.args(["-m", "fuzzingclient", "-s"]).arg(&path).current_dir(&reports).kill_on_drop(true);
    assert!(wstest.status().await.unwrap().success());
    server.abort();
    let index = std::fs::read(Path::new(&reports).join("index.json")).unwrap();
    let mut index: BTreeMap<String, BTreeMap<String, Outcome>> = serde_json::from_slice(&index).unwrap();
    let outcomes = index.remove("tower-socketio").unwrap();
    let mut counts = BTreeMap::<&str, usize>::new();
    for outcome in outcomes.values() {
        *counts.entry(&outcome.behavior).or_default() += 1;
    }
    println!("{} cases: {counts:?}", outcomes.len());
    let is_fine = |case: &str, outcome: &Outcome| match &*outcome.behavior {
        "OK" | "INFORMATIONAL" => matches!(&*outcome.behavior_close, "OK" | "INFORMATIONAL"),
        // Invalid UTF-8 is noticed when the message is complete.
        "NON-STRICT" => case.starts_with("6.4."),
        _ => false,
    };
    let failed: Vec<_> =
        outcomes.iter().filter(|(case, outcome)| !is_fine(case, outcome)).map(|(case, _)| case).collect();
    assert!(failed.is_empty() && !outcomes.is_empty(), "failed: {failed:?}");
}
