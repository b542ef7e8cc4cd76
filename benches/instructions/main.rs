//! Counts the instructions of operations, without their setup. `baseline.txt` has those of an earlier version; see `make instructions`.
//!
//! The id of each bench ends with the number of repetitions.

// The macros generate public items without documentation, and a `main` that exits.
#![allow(clippy::exit, missing_docs, unreachable_pub)]

#[path = "../support/polling.rs"]
mod polling;
#[path = "../support/scene.rs"]
mod scene;

use gungraun::{library_benchmark, library_benchmark_group, main};
use http::{Method, Uri};
use tokio::runtime::{Builder, Runtime};
use tower_socketio::{RecoveryConfig, SocketIoConfig, SocketIoService, engine::Packet};

use self::scene::{EVENT, EVENT_WITH_ACK, Scene};

/// Returns a warm scene, so that tables and buffers that are allocated once are not counted.
fn warm(members: usize, operation: &impl AsyncFn(&Scene)) -> Scene {
    let scene = Scene::new(members);
    scene.repeat(2, operation);
    scene
}

// The return value of a bench is dropped after the measurement. A closure in a bench would have its name and stop the count.

fn event_scene(text: &'static str) -> (Scene, Packet) {
    let (scene, packet) = (Scene::new(1), scene::packet(text));
    send(&scene, &packet, 2);
    (scene, packet)
}

fn send(scene: &Scene, packet: &Packet, times: u64) {
    scene.repeat(times, &async |scene: &Scene| scene.event(packet).await);
}

#[library_benchmark]
#[bench::plain_x1000(args = (EVENT), setup = event_scene)]
#[bench::with_ack_x1000(args = (EVENT_WITH_ACK), setup = event_scene)]
fn event((scene, packet): (Scene, Packet)) -> Scene {
    send(&scene, &packet, 1000);
    scene
}

fn emit_scene() -> Scene {
    warm(1, &Scene::emit)
}

#[library_benchmark]
#[bench::x1000(setup = emit_scene)]
fn emit(scene: Scene) -> Scene {
    scene.repeat(1000, &Scene::emit);
    scene
}

fn ask_scene() -> Scene {
    warm(1, &Scene::ask)
}

#[library_benchmark]
#[bench::x1000(setup = ask_scene)]
fn emit_with_ack(scene: Scene) -> Scene {
    scene.repeat(1000, &Scene::ask);
    scene
}

fn broadcast_scene(members: usize, times: u64) -> (Scene, u64) {
    (warm(members, &Scene::broadcast), times)
}

#[library_benchmark]
#[bench::to_1_x1000(args = (1, 1000), setup = broadcast_scene)]
#[bench::to_100_x100(args = (100, 100), setup = broadcast_scene)]
#[bench::to_10000_x10(args = (10_000, 10), setup = broadcast_scene)]
fn broadcast((scene, times): (Scene, u64)) -> Scene {
    scene.repeat(times, &Scene::broadcast);
    scene
}

/// Returns a server with recovery.
fn recovery_scene(members: usize, times: u64) -> (Scene, u64) {
    let scene = Scene::with_config(members, SocketIoConfig::new().recovery(RecoveryConfig::new()));
    scene.repeat(2, &Scene::emit);
    scene.repeat(2, &Scene::broadcast);
    (scene, times)
}

#[library_benchmark]
#[bench::x1000(args = (1, 1000), setup = recovery_scene)]
fn recovery_emit((scene, times): (Scene, u64)) -> Scene {
    scene.repeat(times, &Scene::emit);
    scene
}

#[library_benchmark]
#[bench::to_100_x100(args = (100, 100), setup = recovery_scene)]
fn recovery_broadcast((scene, times): (Scene, u64)) -> Scene {
    scene.repeat(times, &Scene::broadcast);
    scene
}

fn connect_scene() -> Scene {
    warm(1, &Scene::connect)
}

#[library_benchmark]
#[bench::x1000(setup = connect_scene)]
fn connect(scene: Scene) -> Scene {
    scene.repeat(1000, &Scene::connect);
    scene
}

struct Polling {
    runtime: Runtime,
    service: SocketIoService,
    target: Uri,
}

impl Polling {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
        let service = polling::service();
        let target = runtime.block_on(polling::join(&service));
        let polling = Self { runtime, service, target };
        polling.cycle(2);
        polling.handshake(2);
        polling
    }

    fn cycle(&self, times: u64) {
        self.runtime.block_on(async {
            for _ in 0..times {
                polling::event_and_ack(&self.service, &self.target).await;
            }
        });
    }

    fn handshake(&self, times: u64) {
        self.runtime.block_on(async {
            let entrance = polling::entrance();
            for _ in 0..times {
                polling::request(&self.service, Method::GET, &entrance, "").await;
            }
        });
    }
}

#[library_benchmark]
#[bench::x1000(setup = Polling::new)]
fn poll_cycle(polling: Polling) -> Polling {
    polling.cycle(1000);
    polling
}

#[library_benchmark]
#[bench::x1000(setup = Polling::new)]
fn poll_handshake(polling: Polling) -> Polling {
    polling.handshake(1000);
    polling
}

library_benchmark_group!(
    name = operations,
    benchmarks =
        [event, emit, emit_with_ack, broadcast, recovery_emit, recovery_broadcast, connect, poll_cycle, poll_handshake]
);
main!(library_benchmark_groups = operations);
