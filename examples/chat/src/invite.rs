//! The address of this server for other devices.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use axum::{Json, extract::State};
use qrcode::{QrCode, render::svg};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Invitation {
    url: String,
    /// The address as an SVG.
    qr: Option<String>,
}

/// Returns how another device reaches the server, or null if it listens on this machine only.
pub(crate) async fn invite(State(listener): State<SocketAddr>) -> Json<Option<Invitation>> {
    let address = reachable(listener.ip()).map(|ip| SocketAddr::new(ip, listener.port()));
    Json(address.map(|address| {
        let url = format!("http://{address}");
        let qr = QrCode::new(&url).ok().map(|code| code.render::<svg::Color<'_>>().min_dimensions(240, 240).build());
        Invitation { url, qr }
    }))
}

fn reachable(ip: IpAddr) -> Option<IpAddr> {
    if ip.is_unspecified() {
        // Sends nothing, but selects the interface that leads to other machines.
        let socket = UdpSocket::bind((ip, 0)).ok()?;
        socket.connect(if ip.is_ipv4() { "192.0.2.1:9" } else { "[2001:db8::1]:9" }).ok()?;
        return socket.local_addr().ok().map(|local| local.ip());
    }
    (!ip.is_loopback()).then_some(ip)
}
