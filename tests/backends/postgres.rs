use tower_socketio::cluster::postgres::{PostgresAdapter, PostgresConfig};

use super::{Backend, ClusterError, Duration, cases};
use crate::brokers::Postgres;

impl Backend for Postgres {
    type Adapter = PostgresAdapter;

    async fn connect(url: &str, heartbeats: Option<Duration>) -> Result<PostgresAdapter, ClusterError> {
        let mut config = PostgresConfig::new(url);
        if let Some(interval) = heartbeats {
            config = config.heartbeat_interval(interval).heartbeat_timeout(interval * 2);
        }
        PostgresAdapter::connect(config).await
    }
}

/// A test for each case.
macro_rules! tests {
    ($($case:ident),* $(,)?) => {
        $(
            #[tokio::test]
            #[ignore = "requires brokers: make backends"]
            async fn $case() {
                cases::$case::<Postgres>().await;
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
async fn a_namespace_with_too_long_a_name_is_local() {
    let name = format!("/dynamic/{}", "x".repeat(50));
    cases::a_namespace_with_too_long_a_name_is_local::<Postgres>(&name).await;
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn wrong_credentials_are_an_error() {
    let protected = Postgres { password: Some("secret") };
    cases::wrong_credentials_are_an_error(protected, |url, wrong| url.replace("secret", wrong)).await;
}
