//! The tests of each adapter. A backend adds one line here for its nodes, and one for its emitter.

use tower_socketio::{
    SocketIoConfig,
    cluster::{
        ClusterError, Local,
        redis::{RedisConfig, RedisStreamsAdapter},
    },
};

use super::{
    cluster::Cluster,
    emits,
    emitter::RustEmitter,
    node::{Actor, Node, NodeJs},
    requests,
    rust::RustNode,
};
use crate::brokers::{Broker, Postgres, Redis, RedisCluster};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    NodeJs,
    Rust,
}

/// Starts three nodes.
async fn nodes(
    adapter: &str,
    url: &str,
    kinds: [Kind; 3],
    adapt: &impl AsyncFn(SocketIoConfig) -> SocketIoConfig,
) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (kind, name) in kinds.into_iter().zip(["a", "b", "c"]) {
        nodes.push(match kind {
            Kind::NodeJs => NodeJs::node(adapter, url, name).await,
            Kind::Rust => RustNode::start(name, adapter.ends_with("-recovery"), adapt).await,
        });
    }
    nodes
}

/// Runs all operations on the emitter, or else on the first node.
async fn run(adapter: &str, url: &str, nodes: Vec<Node>, emitter: Option<Box<dyn Actor>>, faults: &[&'static str]) {
    let (mut faults, recovers) = (faults.to_vec(), adapter.ends_with("-recovery"));
    // The channels of a Redis Cluster are on several masters.
    let unordered = url.contains(',');
    if unordered {
        faults.push("order of several targets");
    }
    let cluster = Cluster { nodes, emitter, faults, recovers, unordered };
    cluster.run(emits::cases().into_iter().chain(requests::cases()).collect()).await;
}

/// For clusters without Rust.
async fn no_adapter(_: SocketIoConfig) -> SocketIoConfig {
    unreachable!("no node is in Rust")
}

/// Tests nodes with an adapter: its name in `tests/cluster/node.mjs`, and a broker. `faults` are the cases that Node's adapter fails.
/// `rust` connects the adapter in Rust to the URL of the broker.
macro_rules! backend {
    ($(#[$attribute:meta])* $name:ident, $adapter:literal, $broker:expr, faults: $faults:expr $(, rust: $connect:expr)?) => {
        $(#[$attribute])*
        mod $name {
            use super::*;

            #[tokio::test]
            #[ignore = "requires brokers and Node.js: make backends"]
            async fn node_js() {
                let broker = $broker.await;
                let nodes = nodes($adapter, &broker.url(), [Kind::NodeJs; 3], &no_adapter).await;
                run($adapter, &broker.url(), nodes, None, &$faults).await;
            }

            $(
                async fn mixed(kinds: [Kind; 3], faults: &[&'static str]) {
                    let broker = $broker.await;
                    let url = broker.url();
                    let adapt = async |config: SocketIoConfig| config.adapter($connect(url.as_str()).await.expect("it connects"));
                    let nodes = nodes($adapter, &url, kinds, &adapt).await;
                    run($adapter, &broker.url(), nodes, None, faults).await;
                }

                #[tokio::test]
                #[ignore = "requires brokers and Node.js: make backends"]
                async fn rust() {
                    mixed([Kind::Rust; 3], &[]).await;
                }

                #[tokio::test]
                #[ignore = "requires brokers and Node.js: make backends"]
                async fn rust_with_node_js() {
                    mixed([Kind::Rust, Kind::Rust, Kind::NodeJs], &[]).await;
                }

                #[tokio::test]
                #[ignore = "requires brokers and Node.js: make backends"]
                async fn node_js_with_rust() {
                    mixed([Kind::NodeJs, Kind::Rust, Kind::Rust], &$faults).await;
                }
            )?
        }
    };
}

backend!(redis, "redis", Broker::start(Redis::default()), faults: ["huge numbers"]);
backend!(redis_specific, "redis-specific", Broker::start(Redis::default()), faults: ["huge numbers"]);
backend!(redis_sharded_static, "redis-sharded-static", Broker::start(Redis::default()), faults: ["huge numbers with bytes"]);
backend!(redis_sharded_dynamic, "redis-sharded-dynamic", Broker::start(Redis::default()), faults: ["huge numbers with bytes"]);
backend!(redis_sharded_dynamic_private, "redis-sharded-dynamic-private", Broker::start(Redis::default()), faults: ["huge numbers with bytes"]);
backend!(redis_streams, "redis-streams", Broker::start(Redis::default()), faults: [], rust: streams);
backend!(redis_streams_recovery, "redis-streams-recovery", Broker::start(Redis::default()), faults: [], rust: streams);
backend!(redis_cluster, "redis-sharded-dynamic", RedisCluster::start(), faults: ["huge numbers with bytes"]);
backend!(postgres, "postgres", postgres(), faults: []);

async fn streams(url: &str) -> Result<RedisStreamsAdapter, ClusterError> {
    RedisStreamsAdapter::connect(RedisConfig::new(url)).await
}

/// Postgres with the table for attachments, which users create.
async fn postgres() -> Broker<Postgres> {
    let broker = Broker::start(Postgres::default()).await;
    let columns = "id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea";
    broker.execute(&format!("CREATE TABLE socket_io_attachments ({columns})")).await;
    broker
}

mod local {
    use super::*;

    #[tokio::test]
    async fn nodes_in_one_process() {
        let cluster = Local::new();
        let adapt = async |config: SocketIoConfig| config.adapter(cluster.node());
        run("local", "", nodes("local", "", [Kind::Rust; 3], &adapt).await, None, &[]).await;
    }

    #[tokio::test]
    async fn emitter_in_one_process() {
        let cluster = Local::new();
        let adapt = async |config: SocketIoConfig| config.adapter(cluster.node());
        let nodes = nodes("local", "", [Kind::Rust; 3], &adapt).await;
        run("local", "", nodes, Some(Box::new(RustEmitter::new(cluster.node()))), &[]).await;
    }
}

/// Tests emitters: those of Node.js with nodes of Node.js, and with `rust` each with nodes of the other.
macro_rules! emitter {
    ($(#[$attribute:meta])* $name:ident, $adapter:literal, $broker:expr, faults: $faults:expr $(, rust: $connect:expr)?) => {
        $(#[$attribute])*
        mod $name {
            use super::*;

            #[tokio::test]
            #[ignore = "requires brokers and Node.js: make backends"]
            async fn node_js() {
                let broker = $broker.await;
                let nodes = nodes($adapter, &broker.url(), [Kind::NodeJs; 3], &no_adapter).await;
                run($adapter, &broker.url(), nodes, Some(NodeJs::emitter($adapter, &broker.url()).await), &$faults).await;
            }

            $(
                #[tokio::test]
                #[ignore = "requires brokers and Node.js: make backends"]
                async fn node_js_to_rust() {
                    let broker = $broker.await;
                    let url = broker.url();
                    let adapt = async |config: SocketIoConfig| config.adapter($connect(url.as_str()).await.expect("it connects"));
                    let nodes = nodes($adapter, &url, [Kind::Rust; 3], &adapt).await;
                    run($adapter, &broker.url(), nodes, Some(NodeJs::emitter($adapter, &url).await), &$faults).await;
                }

                #[tokio::test]
                #[ignore = "requires brokers and Node.js: make backends"]
                async fn rust_to_both() {
                    let broker = $broker.await;
                    let url = broker.url();
                    let adapt = async |config: SocketIoConfig| config.adapter($connect(url.as_str()).await.expect("it connects"));
                    let nodes = nodes($adapter, &url, [Kind::NodeJs, Kind::NodeJs, Kind::Rust], &adapt).await;
                    let emitter = RustEmitter::new($connect(url.as_str()).await.expect("it connects"));
                    run($adapter, &broker.url(), nodes, Some(Box::new(emitter)), &[]).await;
                }
            )?
        }
    };
}

emitter!(redis_emitter, "redis", Broker::start(Redis::default()), faults: ["huge numbers"]);
emitter!(redis_streams_emitter, "redis-streams", Broker::start(Redis::default()), faults: [], rust: streams);
