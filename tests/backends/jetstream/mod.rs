//! Servers in a cluster over NATS JetStream.

mod outages;
mod recovery;
mod stream;

use std::path::Path;

use serde_json::{Value, json as value};
use tokio::process::Command;
use tower_socketio::{
    RecoveryConfig,
    cluster::nats::{NatsConfig, NatsJetStreamAdapter, NatsJetStreamConfig},
};

use super::{Backend, ClusterError, Duration, Node, SocketIoConfig, cases};
use crate::{
    brokers::{Broker, Nats, Server},
    support::*,
};

/// NATS, for this adapter.
#[derive(Default)]
struct JetStream(Nats);

impl Server for JetStream {
    async fn prepare(&self, folder: &Path) {
        self.0.prepare(folder).await;
    }

    fn command(&self, folder: &Path, port: u16) -> Command {
        self.0.command(folder, port)
    }

    fn greeting(&self) -> (Vec<u8>, &'static [&'static [u8]]) {
        self.0.greeting()
    }

    fn url(&self, port: u16) -> String {
        self.0.url(port)
    }
}

impl Backend for JetStream {
    type Adapter = NatsJetStreamAdapter;

    async fn connect(url: &str, heartbeats: Option<Duration>) -> Result<NatsJetStreamAdapter, ClusterError> {
        let mut config = NatsConfig::new(url);
        if let Some(interval) = heartbeats {
            config = config.heartbeat_interval(interval).heartbeat_timeout(interval * 2);
        }
        NatsJetStreamAdapter::connect(config).await
    }
}

/// A test for each case.
macro_rules! tests {
    ($($case:ident),* $(,)?) => {
        $(
            #[tokio::test]
            #[ignore = "requires brokers: make backends"]
            async fn $case() {
                cases::$case::<JetStream>().await;
            }
        )*
    };
}

tests! {
    emits_reach_the_selected_clients_in_order,
    a_burst_arrives_complete_and_in_order,
    sockets_of_other_nodes_join_leave_and_are_disconnected,
    requests_are_answered_by_all_nodes,
    namespaces_come_and_go,
    a_node_that_leaves_is_not_waited_for,
    a_node_that_dies_is_noticed,
    a_program_without_a_server_emits,
    a_server_that_starts_late_stays_connected,
    sessions_are_shared,
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn wrong_credentials_are_an_error() {
    let protected = JetStream(Nats { password: Some("secret") });
    cases::wrong_credentials_are_an_error(protected, |url, wrong| url.replace("secret", wrong)).await;
}

/// The configuration of nodes that notice soon that a connection is lost.
fn impatient(url: &str) -> NatsConfig {
    let interval = Duration::from_millis(500);
    NatsConfig::new(url).heartbeat_interval(interval).heartbeat_timeout(interval * 4).connect_timeout(interval * 2)
}

/// Starts a node, with recovery or without.
async fn node(config: impl Into<NatsJetStreamConfig>, recovers: bool) -> Node {
    let server = SocketIoConfig::new().adapter(NatsJetStreamAdapter::connect(config).await.unwrap());
    Node::configured(if recovers { server.recovery(RecoveryConfig::new()) } else { server })
}

/// Starts two nodes that know one another.
async fn pair(url: &str, recovers: bool) -> (Node, Node) {
    let (a, b) = (node(impatient(url), recovers).await, node(impatient(url), recovers).await);
    a.sees(2).await;
    b.sees(2).await;
    (a, b)
}

/// Sends requests to JetStream.
struct Admin(async_nats::Client);

impl Admin {
    async fn connect(broker: &Broker<Nats>) -> Self {
        Self(async_nats::connect(broker.url()).await.unwrap())
    }

    async fn request(&self, name: &str, body: Value) -> Value {
        // NATS may take seconds to create a stream on a busy disk, and does not respond to others meanwhile.
        let responding = async {
            loop {
                if let Ok(response) = self.0.request(format!("$JS.API.{name}"), body.to_string().into()).await {
                    return response;
                }
            }
        };
        serde_json::from_slice(&soon(responding).await.payload).unwrap()
    }

    /// Returns the number of batches that were ever added to the stream of events.
    async fn batches(&self) -> u64 {
        self.request("STREAM.INFO.socket-io", value!({})).await["state"]["last_seq"].as_u64().unwrap()
    }

    /// Changes the configuration of the stream of events.
    async fn configure(&self, key: &str, setting: Value) {
        let mut config = self.request("STREAM.INFO.socket-io", value!({})).await["config"].take();
        config[key] = setting;
        let updated = self.request("STREAM.UPDATE.socket-io", config).await;
        assert_eq!(updated["error"], Value::Null);
    }

    /// Waits until a session is stored.
    async fn has_session(&self, pid: &str) {
        let last = value!({ "last_by_subj": format!("socket.io.saved.{pid}") });
        let is_there = async {
            // NATS 2.9 crashes if a message is read from a stream that is being created.
            while self.request("STREAM.INFO.socket-io-sessions", value!({})).await["state"]["messages"].as_u64()
                < Some(1)
                || !self.request("STREAM.MSG.GET.socket-io-sessions", last.clone()).await["message"].is_object()
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon(is_there).await;
    }
}
