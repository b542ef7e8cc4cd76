use tower_socketio::cluster::nats::{NatsAdapter, NatsConfig};

use super::{Backend, ClusterError, Duration, cases};
use crate::brokers::Nats;

impl Backend for Nats {
    type Adapter = NatsAdapter;

    async fn connect(url: &str, heartbeats: Option<Duration>) -> Result<NatsAdapter, ClusterError> {
        let mut config = NatsConfig::new(url);
        if let Some(interval) = heartbeats {
            config = config.heartbeat_interval(interval).heartbeat_timeout(interval * 2);
        }
        NatsAdapter::connect(config).await
    }
}

/// A test for each case.
macro_rules! tests {
    ($($case:ident),* $(,)?) => {
        $(
            #[tokio::test]
            #[ignore = "requires brokers: make backends"]
            async fn $case() {
                cases::$case::<Nats>().await;
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
    a_broker_that_dies_comes_back,
    a_program_without_a_server_emits,
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn wrong_credentials_are_an_error() {
    let protected = Nats { password: Some("secret") };
    cases::wrong_credentials_are_an_error(protected, |url, wrong| url.replace("secret", wrong)).await;
}
