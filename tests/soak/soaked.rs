//! The handlers and emits of the soak server, and the record of both.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tower_socketio::{Ack, Args, Namespace, SocketIo, SocketIoConfig, SocketRef, extract::Data};

use crate::ranges::Ranges;

/// The interval between emits.
const EVERY: Duration = Duration::from_millis(20);

pub const ROOMS: u32 = 3;

/// The server's record of one client.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Heard {
    /// The numbers of the events that were handled, in this order.
    pub handled: Ranges,
    /// The number of events whose binary differs from what was sent.
    pub corrupt: u32,
    /// The numbers of the requests that the client has acknowledged.
    pub answered: Ranges,
    /// The number of requests without an ack.
    pub unanswered: u32,
}

/// The records of all clients, by their numbers.
pub type Account = BTreeMap<u32, Heard>;

static ACCOUNT: std::sync::Mutex<Account> = std::sync::Mutex::new(Account::new());
static SPEAKS: AtomicBool = AtomicBool::new(true);

fn note(client: u32, what: impl FnOnce(&mut Heard)) {
    what(ACCOUNT.lock().unwrap().entry(client).or_default());
}

pub fn account() -> serde_json::Value {
    serde_json::to_value(&*ACCOUNT.lock().unwrap()).unwrap()
}

/// Clears the record, and starts the numbers again.
pub fn begin() {
    ACCOUNT.lock().unwrap().clear();
    SPEAKS.store(true, Ordering::Relaxed);
}

/// Stops the emits, except for the last number of each stream.
pub fn end() {
    SPEAKS.store(false, Ordering::Relaxed);
}

fn client_of(socket: &SocketRef) -> u32 {
    socket.handshake().query_param("client").and_then(|client| client.parse().ok()).unwrap_or(u32::MAX)
}

pub fn namespaces(config: SocketIoConfig) -> SocketIoConfig {
    let root = Namespace::new()
        .on_connect(|socket: SocketRef| async move {
            let client = client_of(&socket);
            socket.join(["all".to_owned(), format!("room {}", client % ROOMS), format!("client {client}")]);
        })
        .on("did", |socket: SocketRef, Data((number, data)): Data<(u32, Bytes)>| async move {
            let is_whole = data.iter().all(|byte| u32::from(*byte) == number % 256);
            note(client_of(&socket), |heard| {
                heard.handled.push(number);
                heard.corrupt += u32::from(!is_whole);
            });
            Ack((number, data))
        })
        .with_state(());
    config.namespace("/", root).namespace("/dynamic/{name}", Namespace::new())
}

/// The last number of each stream.
#[derive(Debug, Default)]
struct Said {
    numbers: BTreeMap<String, u32>,
}

impl Said {
    /// Emits the next number to a room.
    fn say(&mut self, io: &SocketIo, room: &str) {
        let number = self.numbers.entry(room.to_owned()).or_default();
        *number += 1;
        let number = *number;
        let said = match number % 10 {
            0 => io.to(room).emit("said", &(room, number, Bytes::from(vec![number as u8; 3_000]))),
            5 => io.to(room).emit("said", &(room, number, "x".repeat(20_000))),
            _ => io.to(room).emit("said", &(room, number)),
        };
        said.unwrap();
    }
}

/// Emits to all sockets, to rooms and to single clients, with and without acks, until it is stopped. Then starts again.
pub async fn speak(io: SocketIo) {
    loop {
        let mut said = Said::default();
        let mut questions = 0;
        while SPEAKS.load(Ordering::Relaxed) {
            said.say(&io, "all");
            (0..ROOMS).for_each(|room| said.say(&io, &format!("room {room}")));
            for socket in io.sockets().into_iter().filter(SocketRef::is_connected) {
                let client = client_of(&socket);
                if client % 10 == questions % 10 {
                    said.say(&io, &format!("client {client}"));
                    tokio::spawn(ask(socket, questions));
                }
            }
            questions += 1;
            tokio::time::sleep(EVERY).await;
        }
        for socket in io.sockets() {
            socket.emit("end", &said.numbers).ok();
        }
        while !SPEAKS.load(Ordering::Relaxed) {
            tokio::time::sleep(EVERY).await;
        }
    }
}

async fn ask(socket: SocketRef, number: u32) {
    let client = client_of(&socket);
    let answer = socket.timeout(Duration::from_secs(5)).emit_with_ack::<Args>("asked", &number).await;
    note(client, |heard| match answer {
        Ok(_) => heard.answered.push(number),
        Err(_) => heard.unanswered += 1,
    });
}
