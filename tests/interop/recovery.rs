//! The JavaScript client over a network that is cut repeatedly. With recovery, each event arrives once and in order.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use bytes::Bytes;
use serde::Deserialize;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    sync::mpsc,
};
use tower_socketio::{Namespace, RecoveryConfig, SocketIo, SocketIoConfig, SocketRef};

use crate::{
    FOLDER,
    proxy::{Cut, Proxy},
    support::*,
};

/// The default number of runs, over each transport in turn. `RECOVERY_RUNS` overrides it.
const RUNS: u64 = 6;

/// The number of events that a client misses while it is disconnected.
const MISSED: usize = 1000;

const ROOMS: [&str; 4] = ["a", "b", "c", "d"];

/// The output of the script.
#[derive(Deserialize)]
struct Report {
    received: Vec<u64>,
    connects: Vec<Connect>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Connect {
    id: String,
    recovered: bool,
    transport: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_cut_off_again_and_again_gets_each_event_once_and_in_order() {
    let setting = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (runs, first) = (setting("RECOVERY_RUNS", RUNS), setting("RECOVERY_SEED", 1));
    let (mut connects, mut upgraded) = (0, 0);
    for seed in first..first + runs {
        let transport = ["polling", "websocket", "upgrade"][seed as usize % 3];
        let report = run(transport, seed).await;
        connects += report.connects.len();
        upgraded += report.connects.iter().filter(|connect| connect.transport == "websocket").count();
    }
    println!("{runs} runs, {connects} connections, {upgraded} of them began with a WebSocket");
}

async fn run(transport: &str, seed: u64) -> Report {
    let (sender, mut ready) = mpsc::unbounded_channel();
    let namespace = Namespace::new().on("ready", move |socket: SocketRef| {
        sender.send(socket).unwrap();
        async {}
    });
    // If its WebSocket is cut during an upgrade, the client notices it only by a missing ping. Many events are emitted
    // until then.
    let config = SocketIoConfig::new()
        .ping_interval(Duration::from_millis(500))
        .ping_timeout(Duration::from_secs(2))
        .recovery(RecoveryConfig::new().max_packets(100_000))
        .namespace("/", namespace.with_state(()));
    let server = serve_config(config).await;
    let proxy = Proxy::start(server.address).await;
    let mut client = Command::new("node")
        .args(["recovery.mjs", &format!("http://{}", proxy.address), transport])
        .current_dir(FOLDER)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let socket = within(ready.recv()).await.unwrap();
    let mut speaker = Speaker::new(server.io.clone(), socket, seed);
    for _ in 0..20 {
        speaker.speak_and_move().await;
    }
    // The client misses many events, and is cut off twice while it receives them.
    proxy.down(speaker.cut());
    for _ in 0..MISSED {
        speaker.speak();
    }
    let cuts = (0..2).map(|_| (speaker.below(50_000), speaker.cut())).collect();
    proxy.up(cuts);
    // Emits until both cuts have happened, and for some time after.
    let mut left = 100;
    while left > 0 {
        speaker.speak_and_move().await;
        left -= u32::from(proxy.is_done());
        // Slower than the client, so that it can catch up.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    within(speaker.client_is_back()).await;
    proxy.cut(speaker.cut());
    (0..20).for_each(|_| speaker.speak());
    speaker.io.to(&*speaker.id).emit("end", &()).unwrap();
    let report = report(&mut client).await;
    assert_eq!(report.received, speaker.expected, "over {transport}, RECOVERY_SEED={seed}");
    let connects = &report.connects;
    assert!(connects.len() > 2 && connects.iter().all(|connect| *connect.id == *speaker.id), "{connects:?}, {seed}");
    assert!(connects.iter().skip(1).all(|connect| connect.recovered), "{connects:?}, {seed}");
    report
}

/// As `soon`, with a longer timeout for a busy machine.
async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE * 3, future).await.expect("it happens in time")
}

async fn report(client: &mut Child) -> Report {
    let mut text = String::new();
    within(client.stdout.take().unwrap().read_to_string(&mut text)).await.unwrap();
    assert!(within(client.wait()).await.unwrap().success());
    serde_json::from_str(&text).unwrap()
}

/// Emits events, changes the rooms of the client's socket, and records which events the client should receive.
struct Speaker {
    io: SocketIo,
    id: String,
    /// The first socket of the client.
    first: SocketRef,
    rooms: BTreeSet<&'static str>,
    expected: Vec<u64>,
    next: u64,
    random: u64,
}

impl Speaker {
    fn new(io: SocketIo, first: SocketRef, seed: u64) -> Self {
        let id = first.id().to_string();
        Self { io, id, first, rooms: BTreeSet::new(), expected: Vec::new(), next: 0, random: seed }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % limit
    }

    fn cut(&mut self) -> Cut {
        [Cut::Fin, Cut::Reset, Cut::HalfOpen][self.below(3)]
    }

    fn room(&mut self) -> &'static str {
        ROOMS[self.below(ROOMS.len())]
    }

    async fn speak_and_move(&mut self) {
        self.speak();
        if self.below(4) == 0 {
            self.change_rooms().await;
        }
    }

    /// Waits until the client answers, even if it has to reconnect first.
    async fn client_is_back(&self) {
        loop {
            if let Some(socket) = self.io.socket(&self.id) {
                let answer = socket.timeout(Duration::from_secs(1)).emit_with_ack::<()>("there?", &());
                if answer.await.is_ok() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Emits an event to all sockets, to some rooms, to the client alone, or to others.
    fn speak(&mut self) {
        let (to, also_to, except) = (self.room(), self.room(), self.room());
        let is_in = |room| self.rooms.contains(room);
        let (io, id) = (self.io.clone(), &*self.id);
        let everyone = || io.all();
        let (operator, is_meant) = match self.next % 8 {
            0 => (everyone(), true),
            1 => (io.to(to), is_in(to)),
            2 => (io.to([to, also_to]), is_in(to) || is_in(also_to)),
            3 => (io.except(except), !is_in(except)),
            4 => (io.to(to).except(except), is_in(to) && !is_in(except)),
            5 => (io.to([id, to]).except(except), !is_in(except)),
            6 => (io.except([id, to]), false),
            _ => (io.to(id), true),
        };
        let number = self.next;
        if number % 8 == 7 && number % 16 == 15 {
            // After the first cut, this is the handle of a socket that has ended.
            self.first.emit("n", &number).unwrap();
        } else {
            match self.below(20) {
                0 => operator.emit("n", &(number, Bytes::from(vec![7; 100]))).unwrap(),
                1 => operator.emit("n", &(number, "x".repeat(2000))).unwrap(),
                _ => operator.emit("n", &number).unwrap(),
            }
        }
        if is_meant {
            self.expected.push(number);
        }
        self.next += 1;
        if self.below(10) == 0 {
            self.io.volatile().emit("volatile", &"an offset of another kind").unwrap();
        }
    }

    /// Joins or leaves a room. If the connection is lost meanwhile, nothing is emitted until the outcome is known.
    async fn change_rooms(&mut self) {
        let room = self.room();
        let Some(socket) = self.io.socket(&self.id).filter(SocketRef::is_connected) else {
            return;
        };
        let joins = !self.rooms.contains(room);
        match (joins, self.below(2)) {
            (true, 0) => socket.join(room),
            (true, _) => self.io.to(&*self.id).sockets_join(room),
            (false, 0) => socket.leave(room),
            (false, _) => self.io.to(&*self.id).sockets_leave(room),
        }
        let is_in = if socket.rooms().is_empty() { self.is_in_after_return(room).await } else { joins };
        if is_in {
            self.rooms.insert(room);
        } else {
            self.rooms.remove(room);
        }
    }

    /// Waits until the client is connected, and returns whether it is in a room.
    async fn is_in_after_return(&self, room: &str) -> bool {
        let mut is_in = None;
        until(|| {
            let socket = self.io.socket(&self.id).filter(SocketRef::is_connected);
            is_in = socket.as_ref().map(|socket| socket.is_in(room));
            // If the client has disconnected meanwhile, it was in no room.
            socket.is_some_and(|socket| !socket.rooms().is_empty())
        })
        .await;
        is_in.unwrap()
    }
}
