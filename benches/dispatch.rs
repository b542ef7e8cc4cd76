//! Times the path from the wire to a handler, and from an emit to the wire, over an in-memory transport.

#[path = "support/scene.rs"]
mod scene;

use std::time::Instant;

use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use self::scene::{EVENT, EVENT_WITH_ACK, Scene, packet};

/// Times an operation without the start of its runtime.
fn time(bencher: &mut Bencher<'_>, scene: &Scene, operation: &impl AsyncFn(&Scene)) {
    bencher.iter_custom(|times| {
        let start = Instant::now();
        scene.repeat(times, operation);
        start.elapsed()
    });
}

fn dispatch(criterion: &mut Criterion) {
    let scene = Scene::new(1);
    let mut group = criterion.benchmark_group("dispatch");
    group.throughput(Throughput::Elements(1));
    let events = [
        ("struct", EVENT.to_owned()),
        ("value", EVENT.replace("move", "value")),
        ("64 KiB of text", format!(r#"42["text","{}"]"#, "x".repeat(64 * 1024))),
        ("struct and ack", EVENT_WITH_ACK.to_owned()),
    ];
    for (name, event) in events {
        let event = packet(event);
        group.bench_function(name, |bencher| time(bencher, &scene, &async |scene: &Scene| scene.event(&event).await));
    }
    group.finish();
}

fn emit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("emit");
    let scene = Scene::new(1);
    group.throughput(Throughput::Elements(1));
    group.bench_function("to one", |bencher| time(bencher, &scene, &Scene::emit));
    group.bench_function("with ack", |bencher| time(bencher, &scene, &Scene::ask));
    for members in [1, 100, 10_000] {
        let scene = Scene::new(members);
        group.throughput(Throughput::Elements(members as u64));
        group.bench_with_input(BenchmarkId::new("to a room", members), &scene, |bencher, scene| {
            time(bencher, scene, &Scene::broadcast);
        });
    }
    group.finish();
}

criterion_group!(benches, dispatch, emit);
criterion_main!(benches);
