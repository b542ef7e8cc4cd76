//! Attacks, and well-behaved clients over an unreliable network, against a server in a separate process.
//!
//! `make soak` and `make attack` run these. Plain `cargo test` skips them.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod attack;
mod attacker;
mod figures;
mod normal;
mod process;
mod proxy;
mod ranges;
mod server;
mod soak;
mod soaked;
mod wire;

use std::process::ExitCode;

const USAGE: &str = "\
soak attack [NAME..]      attacks a server; ATTACK_SECONDS, ATTACK_CONNECTIONS and ATTACK_MBITS say how
soak soak MINUTES [SEED]  real clients behind a network that breaks
soak figures PROGRAM..    what single attacks cost a server, which says its address first";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, arguments)) = arguments.split_first() else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let holds = match &**command {
        "serve" => {
            server::run(arguments);
            true
        }
        "normal" => {
            normal::run(arguments[0].parse().unwrap());
            true
        }
        "attacker" => {
            attacker::run(arguments);
            true
        }
        "attack" => run(attack::run(arguments)),
        "soak" => run(soak::run(arguments)),
        "figures" => run(figures::run(arguments)),
        _ => {
            eprintln!("{USAGE}");
            false
        }
    };
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(task: impl Future<Output = bool>) -> bool {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(task)
}
