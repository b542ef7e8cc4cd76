//! Measures single attacks on a server that may be another program: `figures PROGRAM ARGUMENTS..`. The program prints its
//! address first, and exits when its standard input is closed.

use std::time::Duration;

use tokio::{
    process::Command,
    time::{Instant, sleep, timeout},
};

use crate::{
    attacker::{list, placeholders},
    process::{Process, Server},
    wire::{BINARY, Wire, frame, text},
};

/// The time limit for the server to handle the data.
const TIME: Duration = Duration::from_secs(8);

/// The memory limit. A server that exceeds it is stopped.
const TOO_MUCH: usize = 6 << 30;

pub async fn run(program: &[String]) -> bool {
    let start = async |mode: &str| {
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).arg(mode);
        let server = Server::of_process(Process::spawn(command)).await;
        // Allocates the memory that is allocated only once.
        drop(Wire::joined(server.address).await);
        sleep(Duration::from_millis(300)).await;
        server
    };
    let server = start("plain").await;
    let mut wire = Wire::joined(server.address).await.unwrap();
    wire.send(&placeholders()).await.ok();
    println!("two frames that name an attachment 30,000 times: {}", growth(&server).await);

    let server = start("plain").await;
    println!("locked out after 10,000 handshakes: {}", lockout(&server).await);

    let server = start("plain").await;
    let headers: String = (0..48).map(|n| format!("x-{n:03}: {}\r\n", "x".repeat(8_000))).collect();
    let before = server.resident();
    let wires =
        futures_util::future::join_all((0..50).map(|_| Wire::websocket_with(server.address, 4, &headers))).await;
    let open = wires.iter().filter(|wire| wire.is_ok()).count();
    sleep(Duration::from_secs(1)).await;
    println!("50 connections with a head of 385 kB: {open} open, {}", kept(&server, before));
    drop(wires);

    let server = start("plain").await;
    let before = server.resident();
    let mut wire = Wire::websocket(server.address, 4).await.unwrap();
    for namespace in 0..32 {
        wire.send(&text(&format!(r#"40/{namespace},{{"a":"{}"}}"#, "x".repeat(990_000)))).await.ok();
    }
    sleep(Duration::from_secs(2)).await;
    println!("990 kB of auth in each of 32 namespaces: {}", kept(&server, before));
    drop(wire);

    let server = start("plain").await;
    let before = server.resident();
    let mut wire = Wire::websocket(server.address, 4).await.unwrap();
    let named: Vec<String> = (0..10).map(|n| format!(r#"{{"_placeholder":true,"num":{n}}}"#)).collect();
    wire.send(&text(&format!(r#"4510-["x",{}]"#, named.join(",")))).await.ok();
    wire.send(&frame(BINARY, &[0; 990_000]).repeat(9)).await.ok();
    sleep(Duration::from_secs(1)).await;
    println!("9 of 10 attachments of 990 kB without having joined: {}", kept(&server, before));
    drop(wire);

    for mode in ["plain", "msgpack"] {
        let server = start(mode).await;
        let mut wire = Wire::websocket(server.address, 4).await.unwrap();
        let (join, event) = if mode == "plain" {
            (text("40"), text(&format!(r#"42["wait",[{}]]"#, list(r#"{"":0}"#, 940_000))))
        } else {
            (frame(BINARY, MSGPACK_CONNECT), frame(BINARY, &msgpack_event()))
        };
        wire.send(&join).await.unwrap();
        wire.message().await.unwrap();
        let before = server.resident();
        let bytes = event.len();
        wire.send(&event).await.unwrap();
        sleep(Duration::from_secs(3)).await;
        let factor = |now: usize| now.saturating_sub(before) as f64 / bytes as f64;
        println!(
            "a list of small maps, {bytes} bytes, {mode}: {:.1} times its bytes held, {:.1} times at the peak",
            factor(server.resident()),
            factor(server.peak())
        );
    }

    for (count, bytes) in [(10_000, 100), (5, 400_000)] {
        let server = start("plain").await;
        let mut wire = Wire::joined(server.address).await.unwrap();
        wire.send(&text(&format!(r#"42["burst",{count},{bytes}]"#))).await.unwrap();
        let mut arrived = 0;
        while arrived < count && timeout(TIME, wire.message()).await.is_ok_and(|message| message.is_ok()) {
            arrived += 1;
        }
        println!("{count} emits of {bytes} bytes from one handler: {arrived} arrive");
    }
    true
}

/// `{type: 0, nsp: "/"}`
const MSGPACK_CONNECT: &[u8] = b"\x82\xa4type\x00\xa3nsp\xa1/";

fn msgpack_event() -> Vec<u8> {
    // {type: 2, nsp: "/", data: ["wait", [{"": 0}, ..]]}
    let maps = 313_000u32;
    let mut event = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa4wait\xdd".to_vec();
    event.extend(maps.to_be_bytes());
    event.extend(b"\x81\xa0\x00".repeat(maps as usize));
    event
}

fn kept(server: &Server, before: usize) -> String {
    format!("{} KiB kept", server.resident().saturating_sub(before) >> 10)
}

/// Returns the peak memory that a server uses to handle the data.
async fn growth(server: &Server) -> String {
    let before = server.resident();
    let end = Instant::now() + TIME;
    while Instant::now() < end && server.resident() < TOO_MUCH {
        sleep(Duration::from_millis(50)).await;
    }
    let peak = server.peak().saturating_sub(before);
    format!("{} MiB at the peak{}", peak >> 20, if peak > TOO_MUCH - (100 << 20) { ", and going on" } else { "" })
}

/// Opens 10,000 sessions over 8 connections, and then retries until one more can be opened.
async fn lockout(server: &Server) -> String {
    let address = server.address;
    let floods = (0..8).map(|_| async move {
        let mut wire = Wire::connect(address).await.unwrap();
        for _ in 0..1_250 {
            wire.get("/socket.io/?EIO=4&transport=polling").await.ok();
        }
    });
    let begin = Instant::now();
    futures_util::future::join_all(floods).await;
    let (flooded, mut tries) = (begin.elapsed(), 0);
    while begin.elapsed() < Duration::from_secs(120) {
        tries += 1;
        let mut wire = Wire::connect(address).await.unwrap();
        if let Ok((200, _)) = wire.get("/socket.io/?EIO=4&transport=polling").await {
            let locked_out = (begin.elapsed() - flooded).as_secs_f64();
            return format!("{locked_out:.2} s ({tries} tries; the flood took {:.2} s)", flooded.as_secs_f64());
        }
        sleep(Duration::from_millis(200)).await;
    }
    "more than 120 s".to_owned()
}
