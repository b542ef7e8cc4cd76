//! Servers of one process that are nodes of a cluster over a real broker.

mod cases;
#[cfg(feature = "nats")]
mod jetstream;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_socketio::{
    Namespace, SocketIo, SocketIoConfig, SocketIoService, SocketRef,
    cluster::{ClusterAdapter, ClusterError, ClusterErrorKind},
    server_side::ServerSideEvent,
};

use crate::{
    brokers::{Broker, Server},
    support::*,
};

/// How the servers of a test are connected.
pub trait Backend: Server + Default {
    type Adapter: ClusterAdapter;

    /// Connects an adapter whose heartbeats are sent in this interval, or in the default one.
    fn connect(
        url: &str,
        heartbeats: Option<Duration>,
    ) -> impl Future<Output = Result<Self::Adapter, ClusterError>> + Send;
}

/// A server, and what its adapter reported.
pub struct Node {
    pub io: SocketIo,
    pub errors: Arc<Mutex<Vec<ClusterErrorKind>>>,
}

impl Node {
    pub async fn start<B: Backend>(url: &str) -> Self {
        Self::new(B::connect(url, None).await.expect("the broker is there"))
    }

    pub fn new(adapter: impl ClusterAdapter) -> Self {
        Self::configured(SocketIoConfig::new().adapter(adapter))
    }

    /// Its clients join the room `room`, and namespaces below `/dynamic/` are made on demand. It echoes server-side events.
    pub fn configured(config: SocketIoConfig) -> Self {
        let errors = Arc::new(Mutex::new(Vec::new()));
        let namespace = || Namespace::new().on_connect(|socket: SocketRef| async move { socket.join("room") });
        let record = errors.clone();
        let config = config
            .on_cluster_error(move |error| record.lock().unwrap().push(error.kind()))
            .on_server_side("echo", async |event: ServerSideEvent| event.args::<String>().unwrap())
            .namespace("/", namespace())
            .namespace_fn(|name| name.starts_with("/dynamic/"), namespace());
        Self { io: SocketIoService::new(config).io(), errors }
    }

    /// Waits until this many nodes know each other.
    pub async fn sees(&self, nodes: usize) {
        retry(async || (self.io.node_count().await.ok()? == nodes).then_some(())).await;
    }

    pub fn lost(&self) -> u64 {
        let count = |kind: &ClusterErrorKind| if let ClusterErrorKind::Lost { count } = kind { *count } else { 0 };
        self.errors.lock().unwrap().iter().map(count).sum()
    }

    pub fn has_reported(&self, kind: ClusterErrorKind) -> bool {
        self.errors.lock().unwrap().contains(&kind)
    }

    pub async fn reports(&self, kind: ClusterErrorKind) {
        until(|| self.has_reported(kind)).await;
    }
}

/// A broker and two nodes that know each other.
pub struct Cluster<B: Server> {
    pub broker: Broker<B>,
    pub a: Node,
    pub b: Node,
}

impl<B: Backend> Cluster<B> {
    pub async fn start() -> Self {
        let broker = Broker::start(B::default()).await;
        let url = broker.url();
        let (a, b) = (Node::start::<B>(&url).await, Node::start::<B>(&url).await);
        a.sees(2).await;
        b.sees(2).await;
        Self { broker, a, b }
    }
}
