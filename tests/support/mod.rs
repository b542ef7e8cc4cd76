//! A server to test, and clients that send raw frames, so that a test reads as a wire script.

mod balancer;
mod example;
mod http;
mod memory;
mod polling;
mod server;
mod websocket;
mod webtransport;

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake},
    thread::Thread,
    time::Duration,
};

pub use self::{
    balancer::Balancer,
    example::Example,
    http::{Body, HttpClient, Method, Reply, delete, get, options, post, put, send},
    memory::Memory,
    polling::Polling,
    server::{TestServer, echo, serve, serve_app, serve_config, serve_namespace},
    websocket::{Frame, WebSocket},
    webtransport::{Served, WebTransport, connect_request},
};

/// The timeout for everything that a test expects, on a machine that runs other work too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Advances the clock of this runtime, for server and clients alike.
///
/// Otherwise the real clock is used. A runtime with a paused clock would skip time whenever it waits for the network.
pub async fn skip(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Waits for a future, at most for `PATIENCE`.
#[track_caller]
pub fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened in time at {caller}"),
        }
    }
}

/// Waits until a condition holds.
#[track_caller]
pub fn until(mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !condition() {
            assert!(tokio::time::Instant::now() < end, "the condition did not come true at {caller}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Retries until there is a result.
#[track_caller]
pub fn retry<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(result) = attempt().await {
                return result;
            }
            assert!(tokio::time::Instant::now() < end, "no attempt succeeded at {caller}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Returns the name and the detail of a reason.
pub fn detail(reason: Option<tower_socketio::DisconnectReason>) -> (&'static str, Option<&'static str>) {
    let reason = reason.expect("a reason");
    (reason.as_str(), reason.detail())
}

/// Parses the JSON in a packet, after its prefix.
pub fn json(text: &str) -> serde_json::Value {
    let start = text.find(['{', '[']).unwrap_or_else(|| panic!("no JSON in {text:?}"));
    serde_json::from_str(&text[start..]).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// Blocks on a future on a thread without a runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

/// Returns the last argument of an event, which with recovery is its offset.
pub fn offset(event: &str) -> String {
    json(event).as_array().unwrap().last().unwrap().as_str().unwrap().to_owned()
}
