//! Times an event over long-polling, without a network: a POST with the event, and a GET for the ack.

#[path = "support/polling.rs"]
mod support;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::Method;
use tokio::runtime::Builder;

use self::support::{event_and_ack, join, request, service};

fn poll_cycle(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
    let service = service();
    let target = runtime.block_on(join(&service));
    let mut group = criterion.benchmark_group("polling");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3));
    group.bench_function("event and ack", |bencher| {
        bencher.iter(|| runtime.block_on(async { black_box(event_and_ack(&service, &target).await) }));
    });
    group.bench_function("open and join", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let target = join(&service).await;
                black_box(request(&service, Method::POST, &target, "1").await)
            })
        });
    });
    group.finish();
}

criterion_group!(benches, poll_cycle);
criterion_main!(benches);
