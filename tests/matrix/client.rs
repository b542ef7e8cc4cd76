use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Frame, WebSocket, until};

/// A client on one of the nodes, which records what it receives and answers events that ask.
pub struct Client {
    pub name: &'static str,
    /// The id of its socket.
    pub id: String,
    record: Record,
    task: JoinHandle<()>,
}

/// Events as arrays with their names. A disconnection is `"disconnected"`, then `"open"` or `"closed"`: what has become of the connection.
type Record = Arc<Mutex<Vec<Value>>>;

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Joins a namespace. The server puts the client into these rooms, and appends offsets to events if it recovers clients.
    pub async fn join(
        address: SocketAddr,
        namespace: &str,
        name: &'static str,
        rooms: &[&str],
        recovers: bool,
    ) -> Self {
        let query = format!("&from={name}");
        let mut socket = WebSocket::open_with(address, &query, &[("x-from", name)]).await;
        let id = socket.connect(&format!("40{}{}", prefix(namespace), Self::auth(name, rooms))).await;
        let record = Record::default();
        let reader = Reader { name, prefix: prefix(namespace), socket, record: record.clone(), recovers };
        Self { name, id, record, task: tokio::spawn(reader.run()) }
    }

    /// The auth payload. The server stores `data` as the data of the socket.
    pub fn auth(name: &str, rooms: &[&str]) -> Value {
        json!({ "data": { "name": name, "half": 0.5 }, "rooms": rooms })
    }

    /// Whether it has received an event of this name.
    pub fn has(&self, event: &str) -> bool {
        self.record.lock().unwrap().iter().any(|entry| entry[0] == *event)
    }

    /// Waits for the event, or for the end of the socket.
    pub async fn until_event_or_end(&self, event: &str) {
        let is_end = |entry: &Value| entry == "open" || entry == "closed";
        until(|| self.has(event) || self.record.lock().unwrap().iter().any(is_end)).await;
    }

    pub fn record(&self) -> Vec<Value> {
        self.record.lock().unwrap().clone()
    }
}

/// `/chat,` for the namespace `/chat`.
fn prefix(namespace: &str) -> String {
    if namespace == "/" { String::new() } else { format!("{namespace},") }
}

struct Reader {
    name: &'static str,
    prefix: String,
    socket: WebSocket,
    record: Record,
    recovers: bool,
}

impl Reader {
    async fn run(mut self) {
        let disconnect = format!("41{}", self.prefix);
        loop {
            match self.socket.frame().await {
                Frame::Text(text) if text == "2" => self.socket.say("3").await,
                Frame::Text(text) if text == disconnect => {
                    self.push(json!("disconnected"));
                    // The answer shows whether the connection is still open.
                    let _ = self.socket.try_send("40/none,".into()).await;
                }
                Frame::Text(text) if text.starts_with("44/none,") => self.push(json!("open")),
                Frame::Text(text) => self.event(&text).await,
                Frame::Close(_) => return self.push(json!("closed")),
                Frame::Binary(_) => self.push(json!("an unexpected attachment")),
            }
        }
    }

    fn push(&self, entry: Value) {
        self.record.lock().unwrap().push(entry);
    }

    /// Reads an event with its attachments.
    async fn event(&mut self, text: &str) {
        let Some(Packet { attachments, ack, json }) = Packet::parse(text, &self.prefix) else {
            return self.push(json!({ "unexpected": text }));
        };
        let mut bytes = Vec::new();
        for _ in 0..attachments {
            match self.socket.frame().await {
                Frame::Binary(data) => bytes.push(hex(&data)),
                other => self.push(json!({ "unexpected": format!("{other:?}") })),
            }
        }
        let mut event = fill(json, &bytes);
        match ack {
            Some(ack) => self.answer(ack, &event[1]).await,
            None if self.recovers => {
                drop(event.as_array_mut().unwrap().pop_if(|last| last.as_str().is_some_and(is_offset)))
            }
            None => {}
        }
        self.push(event);
    }

    /// Answers as the first argument of the event says.
    async fn answer(&mut self, ack: u64, how: &Value) {
        let Self { name, prefix, .. } = self;
        let answer = match how {
            Value::String(how) if how == "bytes" => {
                let (packet, name) = (format!(r#"461-{prefix}{ack}[{{"_placeholder":true,"num":0}}]"#), *name);
                self.socket.say(&packet).await;
                return self.socket.say_binary(name.as_bytes()).await;
            }
            Value::String(how) if how == "object" => json!([{ "from": name, "list": [1, 0.5, null, "é"] }]),
            Value::String(how) if how == "nothing" => json!([]),
            Value::String(how) if how == "two" => json!([name, "ignored"]),
            how if how["silent"] == *name => return,
            _ => json!([name]),
        };
        self.socket.say(&format!("43{prefix}{ack}{answer}")).await;
    }
}

/// The text of an event.
struct Packet {
    attachments: usize,
    ack: Option<u64>,
    json: Value,
}

impl Packet {
    fn parse(text: &str, prefix: &str) -> Option<Self> {
        let (attachments, rest) = match text.strip_prefix("45") {
            Some(rest) => rest.split_once('-').and_then(|(count, rest)| Some((count.parse().ok()?, rest)))?,
            None => (0, text.strip_prefix("42")?),
        };
        let rest = rest.strip_prefix(prefix)?;
        let (ack, json) = rest.split_at(rest.find('[')?);
        let ack = if ack.is_empty() { None } else { Some(ack.parse().ok()?) };
        Some(Self { attachments, ack, json: serde_json::from_str(json).ok()? })
    }
}

fn is_offset(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-').is_some_and(|(time, sequence)| digits(time) && digits(sequence))
}

/// Puts attachments into their places.
fn fill(value: Value, bytes: &[String]) -> Value {
    match value {
        Value::Object(map) if map.contains_key("_placeholder") => {
            let number = map["num"].as_u64().and_then(|number| usize::try_from(number).ok());
            json!({ "$bytes": number.and_then(|number| bytes.get(number)) })
        }
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, fill(value, bytes))).collect(),
        Value::Array(values) => values.into_iter().map(|value| fill(value, bytes)).collect(),
        other => other,
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
