//! The JavaScript client in Chromium over WebTransport.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Json, Router, extract::Path, response::Html, routing::get};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use quinn::Endpoint;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{crypto::ring::default_provider, pki_types::PrivateKeyDer, version::TLS13};
use serde::Deserialize;
use tokio::net::{TcpListener, UdpSocket};
use tower_socketio::{
    Ack, Args, DisconnectReason, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketRef, Transport,
    extract::Data,
};

use crate::{run, support::*};

/// Why each client has left, by the name in its auth payload.
type Reasons = Arc<Mutex<HashMap<String, DisconnectReason>>>;

fn namespace(reasons: Reasons) -> Namespace {
    /// The name in the auth payload.
    #[derive(Clone, Deserialize)]
    struct Client {
        name: String,
    }
    Namespace::new()
        .on_connect(|socket: SocketRef, Json(client): Json<Client>| async move {
            socket.extensions().insert(client);
        })
        .on("echo", |socket: SocketRef, Data(args): Data<Args>| async move { socket.emit("echo", &args).unwrap() })
        .on("ack", |Data(args): Data<Args>| async move { Ack(args) })
        .on("transport", |socket: SocketRef| async move { Ack(socket.transport().as_str()) })
        .on("kick", |socket: SocketRef| async move {
            socket.emit("last", &"words").unwrap();
            socket.disconnect_all();
        })
        .on_disconnect(move |socket: SocketRef, reason: DisconnectReason| {
            let reasons = reasons.clone();
            async move {
                let client: Client = socket.extensions().get().unwrap();
                reasons.lock().unwrap().insert(client.name, reason);
            }
        })
        .with_state(())
}

/// Serves a page over HTTP, and WebTransport on the same port if there is a TLS configuration.
async fn serve(tls: Option<rustls::ServerConfig>) -> (SocketIo, SocketAddr) {
    let reasons = Reasons::default();
    let known = reasons.clone();
    // Waits until a client has left.
    let reason = async move |Path(name): Path<String>| {
        until(|| known.lock().unwrap().contains_key(&name)).await;
        known.lock().unwrap()[&name].as_str().to_owned()
    };
    let page =
        "<!doctype html><meta charset=utf-8><title>WebTransport</title><script src=/socket.io/socket.io.js></script>";
    let app = Router::new().route("/", get(async move || Html(page))).route("/reason/{name}", get(reason));
    let config = SocketIoConfig::new()
        .transports([Transport::Polling, Transport::WebSocket, Transport::WebTransport])
        // QUIC notices a closed tab after three seconds.
        .ping_interval(Duration::from_secs(5))
        .ping_timeout(PATIENCE)
        .namespace("/", namespace(reasons));
    let layer = SocketIoLayer::new(config);
    let io = layer.io();
    let (listener, udp) = bind().await;
    let address = listener.local_addr().unwrap();
    match tls {
        Some(tls) => {
            drop(udp);
            let endpoint = Endpoint::server(io.webtransport_config(tls).unwrap(), address).unwrap();
            let serving = io.clone();
            tokio::spawn(async move { serving.serve_webtransport(endpoint).await });
        }
        // A network that drops packets: they arrive without an effect.
        None => drop(tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(udp);
        })),
    }
    tokio::spawn(async move { axum::serve(listener, app.layer(layer)).await.unwrap() });
    (io, address)
}

/// Binds a port of TCP, and the same one of UDP.
async fn bind() -> (TcpListener, UdpSocket) {
    retry(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let udp = UdpSocket::bind(listener.local_addr().unwrap()).await.ok()?;
        Some((listener, udp))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_javascript_client_in_chromium_over_webtransport() {
    let now = date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    // Browsers accept the hash of a certificate that is valid for two weeks at most.
    params.not_before = now - Duration::from_secs(24 * 60 * 60);
    params.not_after = now + Duration::from_secs(12 * 24 * 60 * 60);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let der = BASE64_STANDARD.encode(&certificate);
    let tls = rustls::ServerConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let (io, address) = serve(Some(tls)).await;
    let (blocked_io, blocked) = serve(None).await;
    let (url, blocked) = (format!("http://{address}"), format!("http://{blocked}"));
    let example = Example::start("webtransport").await;
    let page = format!("http://{}", example.address);
    run("node", &["webtransport.mjs", &url, &blocked, &der, &page]).await;
    for io in [io, blocked_io] {
        until(|| io.stats().connections == 0).await;
        assert_eq!(io.stats().panics, 0);
    }
}
