//! `make attack`: the cost of one thousand hostile connections for a server and for its other clients.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    attacker::{ATTACKS, Done},
    normal::Seen,
    process::{Figures, Process, Server, processor_time},
};

/// The limit on the server's memory, in bytes.
const MOST_MEMORY: usize = 1 << 30;

/// The limit on the 99th percentile of the other clients' response time, in milliseconds.
const LATEST: f64 = 50.0;

struct Settings {
    seconds: usize,
    connections: usize,
    /// The bandwidth of the attackers' network.
    mbits: usize,
}

struct Result {
    name: &'static str,
    what: &'static str,
    peak: usize,
    /// Resident memory before the attack, and at its end.
    idle: usize,
    now: usize,
    /// At the end of the attack.
    figures: Figures,
    seen: Seen,
    done: Done,
    /// CPU time, as a fraction of one processor.
    server: f64,
    attacker: f64,
}

/// Runs each attack, or those with these names, on a new server. Returns whether the server stayed within its limits.
pub async fn run(names: &[String]) -> bool {
    let setting = |name: &str, default: usize| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let settings = Settings {
        seconds: setting("ATTACK_SECONDS", 20),
        connections: setting("ATTACK_CONNECTIONS", 1000),
        mbits: setting("ATTACK_MBITS", 1000),
    };
    println!(
        "{} connections, {} s each, {} Mbit/s; {} processors",
        settings.connections,
        settings.seconds,
        settings.mbits,
        std::thread::available_parallelism().unwrap()
    );
    println!(
        "| attack | each connection | peak, MiB | for each connection, KiB | closed | p99 of others, ms | longest, ms | sent, MB/s | processors: server, attacker |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut violations = Vec::new();
    for (name, what) in ATTACKS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            let result = attack(name, what, &settings).await;
            result.print(&settings);
            if std::env::var_os("ATTACK_FIGURES").is_some() {
                println!("{:?}, {} MiB now", result.figures, result.now >> 20);
            }
            violations.extend(result.violations());
        }
    }
    violations.iter().for_each(|violation| eprintln!("violated: {violation}"));
    violations.is_empty()
}

async fn attack(name: &'static str, what: &'static str, settings: &Settings) -> Result {
    let server = Server::start(if name == "pings-3" { "eio3" } else { "plain" }).await;
    let mut normal = Process::start(["normal", &server.address.to_string()]);
    assert_eq!(normal.line().await, "ready");
    let idle = server.resident();
    let before = server.processor_time();
    let [connections, mbits] = [settings.connections, settings.mbits].map(|number| number.to_string());
    let mut attacker = Process::start_nicely(["attacker", name, &server.address.to_string(), &connections, &mbits]);
    sleep(Duration::from_secs(settings.seconds as u64)).await;
    let seconds = settings.seconds as f64;
    let attacker_time = processor_time(attacker.pid()).as_secs_f64() / seconds;
    let server_time = (server.processor_time() - before).as_secs_f64() / seconds;
    let (peak, now, figures) = (server.peak(), server.resident(), server.figures().await);
    normal.stop();
    let seen = normal.json().await;
    attacker.stop();
    let done = attacker.json().await;
    Result { name, what, peak, idle, now, figures, seen, done, server: server_time, attacker: attacker_time }
}

impl Result {
    fn print(&self, settings: &Settings) {
        let Self { name, what, peak, idle, seen, done, server, attacker, .. } = self;
        println!(
            "| `{name}` | {what} | {} | {} | {} of {} | {:.1} | {:.0} | {:.1} | {server:.2}, {attacker:.2} |",
            peak >> 20,
            peak.saturating_sub(*idle) / settings.connections >> 10,
            done.closed,
            done.opened,
            seen.p99,
            seen.longest,
            done.bytes as f64 / 1e6 / settings.seconds as f64,
        );
    }

    fn violations(&self) -> Vec<String> {
        let name = self.name;
        let mut violations: Vec<String> =
            self.seen.faults.iter().map(|fault| format!("{name}: another client's connection: {fault}")).collect();
        let mut hold = |holds: bool, rule: String| {
            if !holds {
                violations.push(format!("{name}: {rule}"));
            }
        };
        hold(self.peak <= MOST_MEMORY, format!("the server took {} MiB", self.peak >> 20));
        hold(self.seen.p99 <= LATEST, format!("p99 of the other clients is {:.1} ms", self.seen.p99));
        hold(self.seen.answers > 0, "the other clients got no answer".to_owned());
        hold(self.figures.panics == 0, format!("{} panics", self.figures.panics));
        violations
    }
}
