//! What the server of the soak does: it hears and speaks, and keeps account of both.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tower_socketio::{Ack, Args, Namespace, SocketIo, SocketIoConfig, SocketRef, extract::Data};

use crate::ranges::Ranges;

/// How often something is said.
const EVERY: Duration = Duration::from_millis(20);

pub const ROOMS: u32 = 3;

/// What the server knows of one client.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Heard {
    /// Numbers of the events that have been handled, in this order.
    pub handled: Ranges,
    /// Events whose binary was not as it had been sent.
    pub corrupt: u32,
    /// Numbers of the questions that the client has answered.
    pub answered: Ranges,
    /// How many questions got no answer.
    pub unanswered: u32,
}

/// Of all clients, by their numbers.
pub type Account = BTreeMap<u32, Heard>;

static ACCOUNT: std::sync::Mutex<Account> = std::sync::Mutex::new(Account::new());
static SPEAKS: AtomicBool = AtomicBool::new(true);

fn note(client: u32, what: impl FnOnce(&mut Heard)) {
    what(ACCOUNT.lock().unwrap().entry(client).or_default());
}

pub fn account() -> serde_json::Value {
    serde_json::to_value(&*ACCOUNT.lock().unwrap()).unwrap()
}

/// The account begins anew, and so do the numbers.
pub fn begin() {
    ACCOUNT.lock().unwrap().clear();
    SPEAKS.store(true, Ordering::Relaxed);
}

/// Nothing is said any more, but the numbers of what was said last.
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

/// What has been said last in each stream.
#[derive(Debug, Default)]
struct Said {
    numbers: BTreeMap<String, u32>,
}

impl Said {
    /// Says the next number to a room.
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

/// Speaks to all, to rooms, to single clients, and asks them, until it is ended; again and again.
pub async fn speak(io: SocketIo) {
    loop {
        let mut said = Said::default();
        let mut questions = 0;
        while SPEAKS.load(Ordering::Relaxed) {
            said.say(&io, "all");
            (0..ROOMS).for_each(|room| said.say(&io, &format!("room {room}")));
            for socket in io.sockets().into_iter().filter(SocketRef::connected) {
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
