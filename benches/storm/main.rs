//! Measures how clients come back when their server is replaced: `bench-storm SERVER [ARGUMENTS]`. The server gets its port as the last
//! argument, answers `echo`, and drains when it reads a number of seconds. `CLIENTS` is the number of clients, `ROUNDS` that of
//! repetitions, `DRAIN` that of seconds, and `ONLY` is a part of the names of what is measured.

use std::{
    env, fs, io, mem,
    net::{Ipv4Addr, TcpListener},
    str::FromStr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

use client::Clients;
use process::Server;

mod client;
mod process;

/// Only a hang takes this long.
const DEADLINE: Duration = Duration::from_secs(180);

/// How a server is replaced. But for the first way, clients wait as the JavaScript client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replacement {
    /// The server is killed, and the next one starts. Clients connect at once.
    KilledAtOnce,
    Killed,
    /// The next server starts, then the old one drains. Clients connect to the next one.
    Drained,
    /// The server drains, then the next one starts.
    DrainedAlone,
}

use Replacement::{Drained, DrainedAlone, Killed, KilledAtOnce};

const REPLACEMENTS: [(Replacement, &str); 4] = [
    (KilledAtOnce, "killed, clients at once"),
    (Killed, "killed, with delay"),
    (Drained, "drained beside the next"),
    (DrainedAlone, "drained before the next"),
];

/// What is measured, with its unit.
type Figures = Vec<(&'static str, f64)>;

struct Bench {
    command: Vec<String>,
    server: Server,
    clients: Arc<Clients>,
    count: usize,
    /// Gets the time that each client was without a connection.
    connected: UnboundedReceiver<Duration>,
}

impl Bench {
    async fn start(command: Vec<String>, count: usize) -> io::Result<Self> {
        let server = Server::start(&command, free_port()?)?;
        let clients = Arc::new(Clients::default());
        clients.port.store(server.port, Relaxed);
        let (sender, connected) = unbounded_channel();
        for index in 0..count {
            tokio::spawn(clients.clone().run(index, sender.clone()));
        }
        let mut bench = Self { command, server, clients, count, connected };
        bench.all_connected().await;
        Ok(bench)
    }

    /// Waits until all clients have connected once. Returns the seconds without a connection, in order.
    async fn all_connected(&mut self) -> Vec<f64> {
        let mut seconds = Vec::with_capacity(self.count);
        while seconds.len() < self.count {
            seconds.extend(self.connected.recv().await.map(|time| time.as_secs_f64()));
        }
        seconds.sort_by(f64::total_cmp);
        seconds
    }

    /// Replaces the server, and waits until all clients are connected again.
    async fn replace(&mut self, how: Replacement) -> io::Result<Figures> {
        self.clients.wait.store(how != KilledAtOnce, Relaxed);
        self.clients.failures.store(0, Relaxed);
        let drain = number("DRAIN", 10);
        let dropped = dropped_syns()?;
        let mut begin = Instant::now();
        let mut draining = None;
        if how == Drained {
            let next = Server::start(&self.command, free_port()?)?;
            next.ready().await;
            self.clients.port.store(next.port, Relaxed);
            begin = Instant::now();
            let server = draining.insert(mem::replace(&mut self.server, next));
            server.take_slowest();
            server.drain(drain).await?;
        } else {
            match how {
                DrainedAlone => self.server.drain(drain).await?,
                _ => self.server.process.start_kill()?,
            }
            self.server.process.wait().await?;
            self.server = Server::start(&self.command, self.server.port)?;
        }
        let without = self.all_connected().await;
        let total = begin.elapsed().as_secs_f64();
        let (user, system) = self.server.cpu_time()?;
        let each = |figure: f64| figure / self.count as f64;
        let mut figures = vec![
            ("until all are connected again (s)", total),
            ("a client without a connection, p50 (s)", without[self.count / 2]),
            ("p99 (s)", without[self.count * 99 / 100]),
            ("max (s)", without[self.count - 1]),
            ("failed attempts of each", each(self.clients.failures.load(Relaxed) as f64)),
            ("dropped SYN packets of each", each(dropped_syns()? - dropped)),
            ("CPU time of the next server for each, user (µs)", each(user * 1e6)),
            ("system (µs)", each(system * 1e6)),
            ("peak of its resident memory (MiB)", self.server.peak()?),
            ("its slowest echo (ms)", self.server.take_slowest()),
        ];
        if let Some(mut server) = draining {
            server.process.wait().await?;
            figures.push(("slowest echo of the draining server (ms)", server.take_slowest()));
        }
        Ok(figures)
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Returns how many SYN packets the kernel has dropped, because the queue of a listener was full.
fn dropped_syns() -> io::Result<f64> {
    let netstat = fs::read_to_string("/proc/net/netstat")?;
    let mut lines = netstat.lines().map(str::split_whitespace);
    let (names, values) = lines.next().zip(lines.next()).ok_or(io::ErrorKind::InvalidData)?;
    let dropped = names.zip(values).find(|(name, _)| *name == "ListenDrops").and_then(|(_, count)| count.parse().ok());
    dropped.ok_or(io::ErrorKind::InvalidData.into())
}

fn number<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Prints the medians of all rounds: a row for each figure, and a column for each replacement.
fn print(columns: &[(&str, Vec<Figures>)]) {
    let median = |rounds: &[Figures], row: usize| {
        let mut values: Vec<_> = rounds.iter().filter_map(|figures| Some(figures.get(row)?.1)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).map_or("- |".to_owned(), |value| format!("{value:.2} |"))
    };
    println!("| | {} |", columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "--:|".repeat(columns.len()));
    let rows = columns.iter().filter_map(|(_, rounds)| rounds.first()).max_by_key(|figures| figures.len());
    for (row, (name, _)) in rows.into_iter().flatten().enumerate() {
        let cells: Vec<_> = columns.iter().map(|(_, rounds)| median(rounds, row)).collect();
        println!("| {name} | {}", cells.join(" "));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let command = env::args().skip(1).collect();
    let mut bench = timeout(DEADLINE, Bench::start(command, number("CLIENTS", 19_000))).await??;
    let only = env::var("ONLY").unwrap_or_default();
    let selected = REPLACEMENTS.into_iter().filter(|(_, name)| name.contains(&only));
    let mut columns: Vec<_> = selected.clone().map(|(_, name)| (name, Vec::new())).collect();
    for _ in 0..number("ROUNDS", 3) {
        for ((how, name), (_, rounds)) in selected.clone().zip(&mut columns) {
            let figures = timeout(DEADLINE, bench.replace(how)).await??;
            eprintln!("{name}: {figures:.2?}");
            rounds.push(figures);
        }
    }
    print(&columns);
    Ok(())
}
