//! Metrics for Prometheus at `/metrics`: `cargo run -p example-metrics [-- ADDRESS]`.

use std::time::Duration;

use axum::{Router, http::header, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tower_socketio::{Ack, Args, Namespace, SocketIoConfig, SocketIoLayer, SocketRef, extract::Data};

/// Installs the recorder. Histograms with fixed bounds can be added up over several servers.
fn install() -> Result<PrometheusHandle, BuildError> {
    let seconds = [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0];
    let bytes = [100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0];
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)?
        .set_buckets_for_metric(Matcher::Suffix("_outbox_bytes".into()), &bytes)?
        .install_recorder()
}

/// Regularly moves measurements to the histograms. Otherwise they would accumulate until the next request for `/metrics`.
async fn upkeep(prometheus: PrometheusHandle) {
    let mut interval = tokio::time::interval(Duration::from_secs(5));
    loop {
        interval.tick().await;
        prometheus.run_upkeep();
    }
}

async fn joined(socket: SocketRef) {
    socket.join("lobby");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Before the configuration is created, because its metrics are registered with the recorder.
    let prometheus = install()?;
    tokio::spawn(upkeep(prometheus.clone()));

    let echo = Namespace::new().on_connect(joined).on("echo", async |Data(args): Data<Args>| Ack(args));
    let rooms = Namespace::new().on("echo", async |Data(args): Data<Args>| Ack(args));
    let config = SocketIoConfig::new().namespace("/", echo).namespace("/room/{id}", rooms);
    let metrics = || async move {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], prometheus.render()).into_response()
    };
    let app = Router::new().route("/metrics", get(metrics)).layer(SocketIoLayer::new(config));

    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
