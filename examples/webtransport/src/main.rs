//! WebTransport beside long-polling and WebSocket, on the same port number: `cargo run -p example-webtransport`.
//!
//! The page shows which transport carries it. It trusts the certificate, which is made at the start, by its hash. With a certificate
//! that browsers trust, no hash is needed.

use std::{
    error::Error,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Json, Router, response::Html, routing::get};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer, version::TLS13};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tower_socketio::{Ack, Namespace, SocketIoConfig, SocketIoLayer, SocketRef, Transport, extract::Data};

/// A TLS configuration with a new certificate, and the hash of the certificate.
fn tls() -> Result<(ServerConfig, [u8; 32]), Box<dyn Error>> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let now = date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut params = CertificateParams::new(["localhost".to_owned()])?;
    // Browsers accept the hash of a certificate that is valid for two weeks at most, and whose key is ECDSA.
    (params.not_before, params.not_after) = (now - DAY, now + 12 * DAY);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.der().clone();
    let hash = Sha256::digest(&certificate).into();
    let tls = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
    Ok((tls, hash))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let namespace = Namespace::new()
        .on("transport", async |socket: SocketRef| Ack(socket.transport().as_str()))
        .on("echo", async |Data(text): Data<String>| Ack(text));
    let config = SocketIoConfig::new()
        .transports([Transport::Polling, Transport::WebSocket, Transport::WebTransport])
        .namespace("/", namespace);
    let layer = SocketIoLayer::new(config);
    let (tls, hash) = tls()?;

    let listener = TcpListener::bind(address).await?;
    // Browsers connect to the port of the page, over UDP.
    let endpoint = quinn::Endpoint::server(layer.io().webtransport_config(tls)?, listener.local_addr()?)?;
    let io = layer.io();
    tokio::spawn(async move { io.serve_webtransport(endpoint).await });

    let app = Router::new()
        .route("/", get(async || Html(include_str!("../index.html"))))
        .route("/certificate-hash", get(async move || Json(hash)))
        .layer(layer);
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
