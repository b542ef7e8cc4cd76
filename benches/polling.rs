//! The whole way of an event through the service, without a network: a POST that brings it, a GET that fetches the ack.

use std::{hint::black_box, time::Duration};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;
use tower_socketio::{Ack, Namespace, SocketIoConfig, SocketIoService, extract::Data};

fn service() -> SocketIoService {
    let echo = Namespace::new().on("echo", async |Data(value): Data<Value>| Ack(value));
    SocketIoService::new(SocketIoConfig::new().namespace("/", echo))
}

async fn request(service: &SocketIoService, method: Method, target: &str, body: &'static [u8]) -> Bytes {
    let request = Request::builder().method(method).uri(target).body(Full::new(Bytes::from_static(body)));
    let response = service.clone().oneshot(request.expect("the request is well formed")).await;
    let body = response.unwrap_or_else(|never| match never {}).into_body().collect().await;
    body.expect("the body is in memory").to_bytes()
}

/// Opens a session that has joined the default namespace, and gives its target.
async fn join(service: &SocketIoService) -> String {
    let open = request(service, Method::GET, "/socket.io/?EIO=4&transport=polling", b"").await;
    let open: Value = serde_json::from_slice(&open[1..]).expect("the handshake is JSON");
    let sid = open["sid"].as_str().expect("the handshake names the session");
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    request(service, Method::POST, &target, b"40").await;
    request(service, Method::GET, &target, b"").await;
    target
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime can be made")
}

fn poll_cycle(criterion: &mut Criterion) {
    let runtime = runtime();
    let service = service();
    let target = runtime.block_on(join(&service));
    let mut group = criterion.benchmark_group("polling");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3));
    group.bench_function("event and ack", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                request(&service, Method::POST, &target, br#"420["echo",{"c":1,"n":2,"t":"text"}]"#).await;
                black_box(request(&service, Method::GET, &target, b"").await)
            })
        });
    });
    group.bench_function("open and join", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let target = join(&service).await;
                black_box(request(&service, Method::POST, &target, b"1").await)
            })
        });
    });
    group.finish();
}

criterion_group!(benches, poll_cycle);
criterion_main!(benches);
