use std::{
    future::poll_fn,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::cluster::{
    backoff::Backoff,
    broker::Options,
    error::{ClusterError, ClusterErrorKind},
    node::ClusterNode,
};

use super::{
    super::{
        config::Servers,
        connection::{Connection, Incident},
    },
    api::Api,
    config::Limits,
    store::{Info, Store},
};

/// Waits for the store, which changes with the connection.
#[derive(Clone)]
pub(super) struct Stores(watch::Receiver<Option<Arc<Store>>>);

impl Stores {
    /// Returns the store as soon as there is a connection. `None` if the adapter is closed.
    pub(super) async fn get(&mut self) -> Option<Arc<Store>> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

/// Keeps the connection, and opens another one when it is lost.
pub(super) struct Keeper {
    servers: Arc<Servers>,
    options: Options,
    limits: Arc<Limits>,
    node: Arc<OnceLock<ClusterNode>>,
    stores: watch::Sender<Option<Arc<Store>>>,
    connection: Connection,
    /// Set to `true` when the connection is lost.
    lost: watch::Sender<bool>,
}

impl Keeper {
    /// Connects, and creates the stream of events if it does not exist. Returns its state, too.
    pub(super) async fn open(
        servers: Arc<Servers>,
        options: Options,
        limits: Arc<Limits>,
        node: Arc<OnceLock<ClusterNode>>,
    ) -> Result<(Self, Stores, Info), ClusterError> {
        let (connection, lost, store, info) = open(&servers, &options, &limits).await?;
        let (stores, receiver) = watch::channel(Some(store));
        Ok((Self { servers, options, limits, node, stores, connection, lost }, Stores(receiver), info))
    }

    /// Runs until the task is aborted.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut reported = None;
        loop {
            let opened = Instant::now();
            self.until_lost().await;
            self.lost.send_replace(true);
            self.stores.send_replace(None);
            if opened.elapsed() > STABLE {
                backoff.reset();
            }
            loop {
                sleep(backoff.next()).await;
                match open(&self.servers, &self.options, &self.limits).await {
                    Ok((connection, lost, store, _)) => {
                        (self.connection, self.lost) = (connection, lost);
                        self.stores.send_replace(Some(store));
                        reported = None;
                        break;
                    }
                    // The link for requests reports that there is no connection.
                    Err(error) if error.kind() == ClusterErrorKind::Disconnected => {}
                    Err(error) if reported == Some(error.kind()) => {}
                    Err(error) => {
                        reported = Some(error.kind());
                        if let Some(node) = self.node.get() {
                            node.report(error);
                        }
                    }
                }
            }
        }
    }

    async fn until_lost(&mut self) {
        loop {
            match poll_fn(|cx| self.connection.poll_incident(cx)).await {
                Incident::Lost => return,
                // Its messages are asked for, so none are dropped, and requests fail by themselves.
                Incident::Dropped | Incident::Rejected(_) => {}
            }
        }
    }
}

/// After this time, a connection is considered stable: if it is lost, the next attempt follows soon.
const STABLE: Duration = Duration::from_secs(5);

async fn open(
    servers: &Arc<Servers>,
    options: &Options,
    limits: &Arc<Limits>,
) -> Result<(Connection, watch::Sender<bool>, Arc<Store>, Info), ClusterError> {
    let opening = Connection::open(servers, options);
    let disconnected = |elapsed| ClusterError::new(ClusterErrorKind::Disconnected).caused_by(elapsed);
    let connection = timeout(options.connect_timeout, opening).await.map_err(disconnected)??;
    let lost = watch::Sender::new(false);
    let api = Api { client: connection.client.clone(), timeout: options.connect_timeout, lost: lost.subscribe() };
    let store = Store::new(api, servers.subjects.clone(), limits.clone());
    let info = store.events().await?;
    Ok((connection, lost, Arc::new(store), info))
}
