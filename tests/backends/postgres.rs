use tower_socketio::cluster::postgres::{PostgresAdapter, PostgresConfig};

use super::{Backend, Cluster, ClusterError, ClusterErrorKind, Duration, Node, cases};
use crate::brokers::{Broker, Postgres};

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
    a_server_that_starts_late_stays_connected,
    sessions_are_shared,
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

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn an_attachment_that_is_gone_is_missed() {
    let Cluster { a, b, broker } = Cluster::<Postgres>::start().await;
    let mut client = crate::support::Memory::join(&b.io).await;
    broker.execute(r#"NOTIFY "socket.io#/", '{"uid":"x","type":3,"attachmentId":"999"}'"#).await;
    a.reports(ClusterErrorKind::Missed).await;
    b.reports(ClusterErrorKind::Missed).await;
    a.io.emit("n", &1).unwrap();
    client.expect(r#"42["n",1]"#).await;
    assert!(!b.has_reported(ClusterErrorKind::Malformed));
}

/// Node.js writes the name of the table into statements as it is.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn tables_have_the_names_that_statements_give_them() {
    let broker = Broker::start(Postgres::default()).await;
    broker
        .execute("CREATE TABLE Attachments (id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea)")
        .await;
    let node = async |table| {
        let config = PostgresConfig::new(broker.url()).table(table);
        Node::new(PostgresAdapter::connect(config).await.unwrap())
    };
    let (a, b) = (node("Attachments").await, node("public.attachments").await);
    a.sees(2).await;
    b.sees(2).await;
    let mut client = crate::support::Memory::join(&b.io).await;
    a.io.emit("n", &"x".repeat(9000)).unwrap();
    assert!(client.text().await.starts_with(r#"42["n","x"#));
    assert_eq!((a.lost(), b.errors.lock().unwrap().len()), (0, 0));
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn only_events_of_the_gap_are_missing() {
    let connect = async |url: String| Postgres::connect(&url, None).await;
    cases::only_events_of_the_gap_are_missing::<Postgres, _>(connect, Duration::from_secs(1)).await;
}

#[tokio::test]
#[ignore = "a drill: ten seconds"]
async fn drill_ten_seconds_without_the_broker() {
    let connect = async |url: String| Postgres::connect(&url, None).await;
    cases::only_events_of_the_gap_are_missing::<Postgres, _>(connect, Duration::from_secs(10)).await;
}
