use std::panic::Location;

use serde_json::Value;

use crate::{
    engine::Packet,
    io::SocketIo,
    observer::{Script, redact},
};

use super::TestClient;

/// Plays a recorded session against a server: sends the packets of the client, and compares those of the server.
///
/// A session that a [`Recorder`](crate::observer::Recorder) has written becomes a test:
///
/// ```
/// use tower_socketio::{Ack, Namespace, SocketIoConfig, SocketIoLayer, extract::Data, test};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let echo = Namespace::new().on("echo", async |Data(text): Data<String>| Ack(text));
/// let io = SocketIoLayer::new(SocketIoConfig::new().namespace("/", echo)).io();
/// let script = r#"
///     > 0
///     < 0{"sid":"mR3bNOsRiXIBWJtJAAAB"}
///     > 20["echo","hello"]
///     < 30["hello"]
/// "#;
/// test::play(&io, &script.parse().unwrap()).await;
/// # }
/// ```
///
/// Packets are compared as JSON. The ids in the response to CONNECT are not compared. If the script is redacted, values are not compared
/// either, but their types, and the lengths of strings. Packets that other clients caused have to be removed from the script.
///
/// # Panics
///
/// Panics if the server sends another packet, or closes the connection, or after 60 seconds without a packet.
#[track_caller]
pub fn play(io: &SocketIo, script: &Script) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let mut client = TestClient::builder(io).open();
        // The handshake.
        client.next_raw().await;
        for line in &script.lines {
            if line.is_from_client {
                client.send_raw(line.packet.clone());
                continue;
            }
            let at = format!("line {} of the script, played at {caller}", line.number);
            let Some(packet) = client.next_raw().await else {
                panic!("expected {}, but the connection was closed, in {at}", show(&line.packet));
            };
            let (actual, expected) = (comparable(&packet, script), comparable(&line.packet, script));
            assert!(actual == expected, "expected {}, got {}, in {at}", show(&line.packet), show(&packet));
        }
    }
}

fn show(packet: &Packet) -> String {
    if packet.is_binary() { format!("{packet:?}") } else { String::from_utf8_lossy(packet.data()).into_owned() }
}

/// Splits a packet into its header and its JSON, or its data.
fn comparable(packet: &Packet, script: &Script) -> (String, Result<Value, Vec<u8>>) {
    let packet = if script.is_redacted() { redact(packet) } else { packet.clone() };
    let text = String::from_utf8_lossy(packet.data());
    if packet.is_binary() {
        return (String::new(), Err(packet.data().to_vec()));
    }
    let begin = text.find(['[', '{']).unwrap_or(text.len());
    let (header, payload) = text.split_at(begin);
    let is_connect = text.starts_with('0');
    match serde_json::from_str(payload) {
        _ if is_connect => (header.to_owned(), Ok(Value::Null)),
        Ok(json) => (header.to_owned(), Ok(json)),
        Err(_) => (header.to_owned(), Err(payload.as_bytes().to_vec())),
    }
}
