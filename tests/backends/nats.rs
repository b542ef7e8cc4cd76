use std::sync::{Mutex, mpsc};

use tower_socketio::cluster::nats::{NatsAdapter, NatsConfig};

use super::{Backend, Cluster, ClusterError, ClusterErrorKind, Duration, cases};
use crate::{brokers::Nats, support::*};

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
    a_server_that_starts_late_stays_connected,
    sessions_are_shared,
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn wrong_credentials_are_an_error() {
    let protected = Nats { password: Some("secret") };
    cases::wrong_credentials_are_an_error(protected, |url, wrong| url.replace("secret", wrong)).await;
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn only_events_of_the_gap_are_missing() {
    let connect = async |url: String| Nats::connect(&url, None).await;
    cases::only_events_of_the_gap_are_missing::<Nats, _>(connect, Duration::from_secs(1)).await;
}

#[tokio::test]
#[ignore = "a drill: ten seconds"]
async fn drill_ten_seconds_without_the_broker() {
    let connect = async |url: String| Nats::connect(&url, None).await;
    cases::only_events_of_the_gap_are_missing::<Nats, _>(connect, Duration::from_secs(10)).await;
}

/// Large messages arrive while the node is busy with another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "requires brokers: make backends"]
async fn messages_that_wait_are_limited_in_bytes() {
    let Cluster { a, b, broker } = Cluster::<Nats>::start().await;
    let _on_b = Memory::join(&b.io).await;
    // Ends the wait when it is dropped.
    let (release, wait) = mpsc::channel::<()>();
    let (wait, (waiting, waits)) = (Mutex::new(wait), mpsc::channel());
    b.io.sockets()[0].on_any_outgoing(move |event| {
        if event.name() == "wait" {
            waiting.send(()).unwrap();
            let _ = wait.lock().unwrap().recv();
        }
    });
    a.io.emit("wait", &()).unwrap();
    until(|| waits.try_recv().is_ok()).await;
    let other = async_nats::connect(broker.url()).await.unwrap();
    let garbage = bytes::Bytes::from(vec![0; 1_000_000]);
    for _ in 0..150 {
        other.publish("socket.io.ns./", garbage.clone()).await.unwrap();
    }
    // NATS has all of it, and keeps at most 64 MiB for a client.
    other.flush().await.unwrap();
    drop(release);
    b.reports(ClusterErrorKind::Missed).await;
    assert_eq!((a.lost(), b.lost()), (0, 0));
}
