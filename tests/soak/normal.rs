//! Well-behaved clients that measure their response time, in a separate process.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::wire::{Wire, open_polling, text};

/// The interval between the requests of a client.
const EVERY: Duration = Duration::from_millis(100);

/// A response that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

const WEBSOCKETS: usize = 2;
const POLLING: usize = 2;

/// The measured response times, in milliseconds.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Seen {
    pub answers: usize,
    pub median: f64,
    pub p99: f64,
    pub longest: f64,
    /// Lost responses and closed connections.
    pub faults: Vec<String>,
}

#[derive(Default)]
struct Log {
    times: Vec<Duration>,
    faults: Vec<String>,
}

type Shared = Arc<Mutex<Log>>;

/// Runs the clients. Discards the results at `begin` on the standard input, and prints the later ones when it is closed.
pub fn run(address: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let log = Shared::default();
    let clients = log.clone();
    std::thread::spawn(move || runtime.block_on(ask(address, clients)));
    // Waits for the first responses.
    while log.lock().unwrap().times.len() < 10 * (WEBSOCKETS + POLLING) {
        std::thread::sleep(Duration::from_millis(50));
    }
    *log.lock().unwrap() = Log::default();
    println!("ready");
    io::stdout().flush().unwrap();
    io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
    let log = std::mem::take(&mut *log.lock().unwrap());
    println!("{}", serde_json::to_string(&seen(log)).unwrap());
}

fn seen(log: Log) -> Seen {
    let mut times = log.times;
    times.sort_unstable();
    let part = |part: f64| {
        let index = (times.len() as f64 * part) as usize;
        times.get(index.min(times.len().saturating_sub(1))).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    Seen { answers: times.len(), median: part(0.5), p99: part(0.99), longest: part(1.0), faults: log.faults }
}

async fn ask(address: SocketAddr, log: Shared) {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..WEBSOCKETS {
        clients.spawn(websocket(address, log.clone()));
    }
    for _ in 0..POLLING {
        clients.spawn(polling(address, log.clone()));
    }
    while let Some(ended) = clients.join_next().await {
        if let Err(error) = ended.unwrap() {
            log.lock().unwrap().faults.push(error.to_string());
        }
    }
    std::future::pending::<()>().await;
}

async fn in_time<T>(what: &str, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let what = |error: io::Error| io::Error::other(format!("{what}: {error}"));
    timeout(PATIENCE, future).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(what)
}

/// The scheduled time of the next request. Its response time counts from then, even if the previous response was late.
struct Clock(tokio::time::Interval);

impl Clock {
    fn new() -> Self {
        let mut interval = interval(EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
        Self(interval)
    }

    async fn next(&mut self) -> Instant {
        self.0.tick().await
    }
}

async fn websocket(address: SocketAddr, log: Shared) -> io::Result<()> {
    let mut wire = Wire::joined(address).await?;
    let mut clock = Clock::new();
    for number in 0u64.. {
        let begin = clock.next().await;
        in_time("an event over WebSocket", wire.send(&text(&format!(r#"42{number}["echo",{number}]"#)))).await?;
        let answer = in_time("an answer over WebSocket", wire.message()).await?;
        if answer != format!("43{number}[{number}]").as_bytes() {
            return Err(io::Error::other(format!("another answer: {}", String::from_utf8_lossy(&answer))));
        }
        log.lock().unwrap().times.push(begin.elapsed());
    }
    Ok(())
}

async fn polling(address: SocketAddr, log: Shared) -> io::Result<()> {
    let mut polls = Wire::connect(address).await?;
    let mut posts = Wire::connect(address).await?;
    let target = open_polling(&mut polls).await?;
    let mut clock = Clock::new();
    for number in 0u64.. {
        let begin = clock.next().await;
        // A poll is pending during the POST.
        let poll = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        in_time("a poll", polls.send(poll.as_bytes())).await?;
        let (posted, _) = in_time("a POST", posts.post(&target, &format!(r#"42{number}["echo",{number}]"#))).await?;
        let mut polled = in_time("an answer over long-polling", polls.answer()).await?;
        while polled.1.starts_with('2') {
            posts.post(&target, "3").await?;
            polled = if polled.1 == "2" { polls.get(&target).await? } else { (polled.0, polled.1[2..].to_owned()) };
        }
        if (posted, &*polled.1) != (200, &*format!("43{number}[{number}]")) {
            return Err(io::Error::other(format!("another answer: {posted}, {polled:?}")));
        }
        log.lock().unwrap().times.push(begin.elapsed());
    }
    Ok(())
}
