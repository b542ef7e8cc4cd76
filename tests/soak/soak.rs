//! `make soak`: real clients over an unreliable network. Checks every event, and that all resources are released at the
//! end.

use std::{
    collections::BTreeMap,
    fmt,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::{
    process::{Figures, Process, Server},
    proxy::Proxy,
    ranges::Ranges,
    soaked::Account,
};

/// The npm packages, and whether their clients support recovery.
const GENERATIONS: [(&str, bool); 2] = [("socket.io-client-4", true), ("socket.io-client-2.5", false)];

/// The number of clients of each package, over each transport in turn.
const CLIENTS: u32 = 12;

/// The length of the first round. The memory in use after it is the reference.
const WARM_UP: Duration = Duration::from_secs(15);

/// How long it takes until all resources are released: a session waits for recovery for 20 s, the heartbeat ends after 3 s,
/// and the HTTP connections that the proxy has silenced end after 10 s more.
const UNTIL_BACK: Duration = Duration::from_secs(60);

/// The allowed growth of resident memory: the 16 MiB that recovery may store, and as much again for an allocator that keeps
/// what it has freed.
const MORE_MEMORY: usize = 32 << 20;

/// The report of a client.
#[derive(Debug, Deserialize)]
struct Report {
    client: u32,
    connects: usize,
    recovered: usize,
    corrupt: usize,
    sent: u32,
    /// By stream and session.
    streams: BTreeMap<String, BTreeMap<u32, Ranges>>,
    acked: Ranges,
    asked: Ranges,
    /// The last number of each stream, as reported by the server.
    last: BTreeMap<String, u32>,
}

#[derive(Default)]
struct Verdict {
    violations: Vec<String>,
    received: usize,
    /// Events for clients that were not recovered.
    lost: usize,
    acked: usize,
    unacked: usize,
    answered: usize,
    unanswered: usize,
    connects: usize,
    recovered: usize,
}

impl Verdict {
    fn hold(&mut self, holds: bool, rule: impl fmt::Display) {
        if !holds {
            self.violations.push(rule.to_string());
        }
    }
}

/// `MINUTES [SEED]`. Returns whether all checks passed.
pub async fn run(arguments: &[String]) -> bool {
    let minutes: f64 = arguments.first().map_or(3.0, |minutes| minutes.parse().unwrap());
    let by_clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = arguments.get(1).map_or_else(by_clock, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let server = Server::start("soak").await;
    let start = (server.figures().await, server.descriptors());
    let mut verdict = Verdict::default();
    round(&server, seed, WARM_UP, &mut verdict).await;
    back(&server, start, &mut verdict).await;
    let warm = server.resident();
    round(&server, seed ^ 1, Duration::from_secs_f64(minutes * 60.0), &mut verdict).await;
    back(&server, start, &mut verdict).await;
    let resident = server.resident();
    println!("resident memory: {} MiB after the warm-up, {} MiB at the end", warm >> 20, resident >> 20);
    verdict.hold(
        resident <= warm + MORE_MEMORY,
        format!("memory is back: {} MiB, and {} MiB after the warm-up", resident >> 20, warm >> 20),
    );
    println!("{verdict}");
    verdict.violations.is_empty()
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, lost, acked, unacked, answered, unanswered, connects, recovered, violations } = self;
        writeln!(f, "clients connected {connects} times, and were recovered {recovered} times")?;
        writeln!(
            f,
            "clients sent {} events: {acked} acked, each handled once; {unacked} without an ack",
            acked + unacked
        )?;
        writeln!(f, "clients were asked {} times: {answered} answers, {unanswered} without", answered + unanswered)?;
        writeln!(
            f,
            "clients received {received} events, in order, none twice; {lost} were lost between sessions that were not recovered"
        )?;
        violations.iter().try_for_each(|violation| writeln!(f, "violated: {violation}"))
    }
}

/// Runs clients over the unreliable network for a time, and checks the events.
async fn round(server: &Server, seed: u64, time: Duration, verdict: &mut Verdict) {
    server.order("begin").await;
    let proxy = Proxy::start(server.address, seed).await;
    let url = format!("http://{}", proxy.address);
    let mut scripts: Vec<Process> =
        GENERATIONS.iter().zip(0..).map(|((package, _), part)| script(&url, package, part * CLIENTS)).collect();
    sleep(time).await;
    proxy.heal();
    let clients = CLIENTS as usize * GENERATIONS.len();
    // Waits until old sessions have ended and all clients are connected, for a while.
    let mut since = Instant::now();
    let end = since + Duration::from_secs(120);
    while since.elapsed() < Duration::from_secs(5) {
        if server.sockets_of_root().await != clients {
            since = Instant::now();
        }
        if Instant::now() > end {
            let sockets = server.sockets_of_root().await;
            verdict.hold(false, format!("{clients} clients come back: {sockets} are there"));
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    server.order("end").await;
    for (script, (package, recovers)) in scripts.iter_mut().zip(GENERATIONS) {
        let reports: Vec<Report> = script.json().await;
        let account = server.account().await;
        for report in reports {
            check(package, recovers, &report, &account, verdict);
        }
    }
    println!("connections that broke: {:?}", proxy.broken());
}

fn script(url: &str, package: &str, first: u32) -> Process {
    let mut command = Command::new("node");
    command.args(["clients.mjs", url, package, &first.to_string(), &CLIENTS.to_string()]);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/soak"));
    Process::spawn(command.into())
}

fn check(package: &str, recovers: bool, report: &Report, account: &Account, verdict: &mut Verdict) {
    let who = format!("{package}, client {}", report.client);
    let empty = crate::soaked::Heard::default();
    let heard = account.get(&report.client).unwrap_or(&empty);
    let (handled, twice) = heard.handled.sorted();
    verdict.hold(twice == 0, format!("{who}: an event is handled once: {twice} were handled again"));
    let (acked, twice) = report.acked.sorted();
    verdict.hold(twice == 0, format!("{who}: an event is acked once: {twice} were acked again"));
    let missing = acked.missing_in(&handled);
    verdict.hold(missing == 0, format!("{who}: what is acked has been handled: {missing} have not"));
    let (asked, twice) = report.asked.sorted();
    verdict.hold(twice == 0, format!("{who}: a question arrives once: {twice} arrived again"));
    let missing = heard.answered.missing_in(&asked);
    verdict.hold(missing == 0, format!("{who}: what is answered has been asked: {missing} have not"));
    let corrupt = report.corrupt + heard.corrupt as usize;
    verdict.hold(corrupt == 0, format!("{who}: data arrives as it was sent: {corrupt} did not"));
    verdict.hold(recovers || report.recovered == 0, format!("{who}: it is not recovered"));
    verdict.acked += acked.len();
    verdict.unacked += report.sent as usize - acked.len();
    verdict.answered += heard.answered.len();
    verdict.unanswered += heard.unanswered as usize;
    verdict.connects += report.connects;
    verdict.recovered += report.recovered;
    let room = report.client % crate::soaked::ROOMS;
    for stream in ["all".to_owned(), format!("room {room}"), format!("client {}", report.client)] {
        check_stream(&who, &stream, report, verdict);
    }
    verdict.hold(report.streams.len() <= 3, format!("{who}: it receives what is for it: {:?}", report.streams.keys()));
}

/// Events arrive in order, none twice, none missing within a session, and the last one has arrived.
fn check_stream(who: &str, stream: &str, report: &Report, verdict: &mut Verdict) {
    let said = report.last.get(stream).copied().unwrap_or_default();
    let mut last = 0;
    for (session, ranges) in report.streams.get(stream).into_iter().flatten() {
        for (index, (from, to)) in ranges.0.iter().enumerate() {
            let after = format!("{who}, {stream}, session {session}: {from} to {to} after {last}");
            verdict.hold(*from > last, format!("{after}: events arrive in order, none twice"));
            verdict.hold(index == 0 || *from <= last + 1, format!("{after}: none is missing within a session"));
            verdict.lost += from.saturating_sub(last + 1) as usize;
            verdict.received += (to - from + 1) as usize;
            last = *to;
        }
    }
    verdict.hold(last == said, format!("{who}, {stream}: the last event arrives: {said} was said, {last} received"));
}

/// All resources are released.
async fn back(server: &Server, (figures, descriptors): (Figures, usize), verdict: &mut Verdict) {
    let end = Instant::now() + UNTIL_BACK;
    loop {
        let now = server.figures().await;
        if (now, server.descriptors()) == (figures, descriptors) {
            return;
        }
        if Instant::now() > end {
            let now_descriptors = server.descriptors();
            let at_first = format!("{figures:?} and {descriptors} descriptors at first");
            verdict.hold(false, format!("everything is back: {now:?} and {now_descriptors} descriptors, {at_first}"));
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}
