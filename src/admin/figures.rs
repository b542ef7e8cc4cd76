//! Figures of a server for the dashboard.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{DisconnectReason, NamespaceRef, SocketIo, Transport, client::Conn, engine::Packet, util::Mutex};

use super::time::millis;

/// What has happened since the figures were taken last.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// The current number of connections on long-polling.
    polling: AtomicUsize,
    opened: AtomicU64,
    closed: Mutex<BTreeMap<&'static str, u64>>,
    packets_in: AtomicU64,
    packets_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Figures {
    pub(super) fn opened(&self, connection: &Conn) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        if connection.transport() == Transport::Polling {
            self.polling.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn upgraded(&self) {
        self.polling.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self, connection: &Conn, reason: DisconnectReason) {
        if connection.transport() == Transport::Polling {
            self.polling.fetch_sub(1, Ordering::Relaxed);
        }
        *self.closed.lock().entry(reason.as_str()).or_default() += 1;
    }

    pub(super) fn received(&self, packet: &Packet) {
        self.packets_in.fetch_add(1, Ordering::Relaxed);
        self.bytes_in.fetch_add(packet.data().len() as u64, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, packet: &Packet) {
        self.packets_out.fetch_add(1, Ordering::Relaxed);
        self.bytes_out.fetch_add(packet.data().len() as u64, Ordering::Relaxed);
    }

    /// Returns what has happened since the last call.
    pub(super) fn take(&self) -> Vec<Aggregated> {
        let timestamp = millis() / 1000 * 1000;
        let event = |kind, sub_kind, count| Aggregated { timestamp, kind, sub_kind, count };
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let totals = [
            ("rawConnection", &self.opened),
            ("packetsIn", &self.packets_in),
            ("packetsOut", &self.packets_out),
            ("bytesIn", &self.bytes_in),
            ("bytesOut", &self.bytes_out),
        ];
        let totals = totals.map(|(kind, counter)| event(kind, None, take(counter)));
        let closed = std::mem::take(&mut *self.closed.lock());
        let closed = closed.into_iter().map(|(reason, count)| event("rawDisconnection", Some(reason), count));
        totals.into_iter().filter(|event| event.count > 0).chain(closed).collect()
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Aggregated {
    timestamp: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "subType", skip_serializing_if = "Option::is_none")]
    sub_kind: Option<&'static str>,
    count: u64,
}

/// The value of [`ServerStats::implementation`].
const IMPLEMENTATION: &str = "tower-socketio";

/// The arguments of `server_stats`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerStats<'a> {
    /// Tells other nodes that this is not a server of Node.js. The UI does not read it.
    implementation: &'static str,
    server_id: &'a str,
    hostname: &'a str,
    pid: u32,
    uptime: f64,
    clients_count: usize,
    polling_clients_count: usize,
    aggregated_events: Vec<Aggregated>,
    namespaces: Vec<NamespaceStats>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NamespaceStats {
    name: String,
    sockets_count: usize,
}

impl<'a> ServerStats<'a> {
    pub(super) fn take(
        figures: &Figures,
        io: &SocketIo,
        server_id: &'a str,
        hostname: &'a str,
        uptime: Duration,
    ) -> Self {
        let stats = |namespace: NamespaceRef| NamespaceStats {
            name: namespace.name().to_owned(),
            sockets_count: namespace.socket_count(),
        };
        Self {
            implementation: IMPLEMENTATION,
            server_id,
            hostname,
            pid: std::process::id(),
            uptime: uptime.as_secs_f64(),
            clients_count: io.stats().connections,
            polling_clients_count: figures.polling.load(Ordering::Relaxed),
            aggregated_events: figures.take(),
            namespaces: io.namespaces().into_iter().take(MAX_NAMESPACES).map(stats).collect(),
        }
    }
}

/// What is read of the figures of another server.
#[derive(Debug, Deserialize)]
pub(super) struct ForeignStats {
    #[serde(default)]
    implementation: Option<String>,
    #[serde(default)]
    namespaces: Vec<ForeignNamespace>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ForeignNamespace {
    name: String,
    sockets_count: u64,
}

impl ForeignStats {
    pub(super) fn is_of_node(&self) -> bool {
        self.implementation.as_deref() != Some(IMPLEMENTATION)
    }

    /// Returns `true` if a namespace has sockets on that server.
    pub(super) fn has_sockets(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|other| other.name == namespace && other.sockets_count > 0)
    }
}

/// How many namespaces are told.
pub(super) const MAX_NAMESPACES: usize = 1000;
