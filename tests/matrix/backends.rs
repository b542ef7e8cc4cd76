//! The tests of each adapter. A backend adds one line here for its nodes, and one for its emitter.

#[cfg(feature = "nats")]
use tower_socketio::cluster::nats::{NatsAdapter, NatsConfig, NatsJetStreamAdapter};
#[cfg(feature = "postgres")]
use tower_socketio::cluster::postgres::{PostgresAdapter, PostgresConfig};
#[cfg(feature = "redis")]
use tower_socketio::cluster::redis::{RedisConfig, RedisStreamsAdapter};
use tower_socketio::{SocketIoConfig, cluster::Local};

use super::{
    cluster::Cluster,
    emits,
    emitter::RustEmitter,
    node::{Actor, Node, NodeJs},
    requests,
    rust::RustNode,
};
#[cfg(feature = "postgres")]
use crate::brokers::Postgres;
use crate::brokers::{Broker, Redis, RedisCluster};

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
backend!(
    #[cfg(feature = "redis")]
    redis_streams, "redis-streams", Broker::start(Redis::default()), faults: [],
    rust: |url| RedisStreamsAdapter::connect(RedisConfig::new(url))
);
backend!(
    #[cfg(feature = "redis")]
    redis_streams_recovery, "redis-streams-recovery", Broker::start(Redis::default()), faults: [],
    rust: |url| RedisStreamsAdapter::connect(RedisConfig::new(url))
);
backend!(redis_cluster, "redis-sharded-dynamic", RedisCluster::start(), faults: ["huge numbers with bytes"]);
backend!(
    #[cfg(feature = "postgres")]
    postgres, "postgres", postgres(), faults: [],
    rust: |url| PostgresAdapter::connect(PostgresConfig::new(url))
);

/// Postgres with the table for attachments, which users create.
#[cfg(feature = "postgres")]
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

/// Node.js has no adapter for NATS.
#[cfg(feature = "nats")]
mod nats {
    use super::*;
    use crate::brokers::Nats;

    #[tokio::test]
    #[ignore = "requires brokers: make backends"]
    async fn rust() {
        let broker = Broker::start(Nats::default()).await;
        let adapt = async |config: SocketIoConfig| config.adapter(connect(&broker).await);
        run("nats", "", nodes("nats", "", [Kind::Rust; 3], &adapt).await, None, &[]).await;
    }

    #[tokio::test]
    #[ignore = "requires brokers: make backends"]
    async fn emitter() {
        let broker = Broker::start(Nats::default()).await;
        let adapt = async |config: SocketIoConfig| config.adapter(connect(&broker).await);
        let nodes = nodes("nats", "", [Kind::Rust; 3], &adapt).await;
        run("nats", "", nodes, Some(Box::new(RustEmitter::new(connect(&broker).await))), &[]).await;
    }

    async fn connect(broker: &Broker<Nats>) -> NatsAdapter {
        NatsAdapter::connect(NatsConfig::new(broker.url())).await.expect("it connects")
    }

    #[tokio::test]
    #[ignore = "requires brokers: make backends"]
    async fn jetstream() {
        for adapter in ["jetstream", "jetstream-recovery"] {
            let broker = Broker::start(Nats::default()).await;
            let adapt = async |config: SocketIoConfig| config.adapter(with_stream(&broker).await);
            run(adapter, "", nodes(adapter, "", [Kind::Rust; 3], &adapt).await, None, &[]).await;
        }
    }

    #[tokio::test]
    #[ignore = "requires brokers: make backends"]
    async fn jetstream_emitter() {
        let broker = Broker::start(Nats::default()).await;
        let adapt = async |config: SocketIoConfig| config.adapter(with_stream(&broker).await);
        let nodes = nodes("jetstream", "", [Kind::Rust; 3], &adapt).await;
        run("jetstream", "", nodes, Some(Box::new(RustEmitter::new(with_stream(&broker).await))), &[]).await;
    }

    async fn with_stream(broker: &Broker<Nats>) -> NatsJetStreamAdapter {
        NatsJetStreamAdapter::connect(NatsConfig::new(broker.url())).await.expect("it connects")
    }
}

/// Tests emitters where nodes or the emitter are in Rust.
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
macro_rules! rust_emitter {
    ($adapter:literal, $broker:expr, faults: $faults:expr, rust: $connect:expr) => {
        #[tokio::test]
        #[ignore = "requires brokers and Node.js: make backends"]
        async fn node_js_to_rust() {
            let broker = $broker.await;
            let url = broker.url();
            let adapt =
                async |config: SocketIoConfig| config.adapter($connect(url.as_str()).await.expect("it connects"));
            let nodes = nodes($adapter, &url, [Kind::Rust; 3], &adapt).await;
            run($adapter, &broker.url(), nodes, Some(NodeJs::emitter($adapter, &url).await), &$faults).await;
        }

        #[tokio::test]
        #[ignore = "requires brokers and Node.js: make backends"]
        async fn rust_to_both() {
            let broker = $broker.await;
            let url = broker.url();
            let adapt =
                async |config: SocketIoConfig| config.adapter($connect(url.as_str()).await.expect("it connects"));
            let nodes = nodes($adapter, &url, [Kind::NodeJs, Kind::NodeJs, Kind::Rust], &adapt).await;
            let emitter = RustEmitter::new($connect(url.as_str()).await.expect("it connects"));
            run($adapter, &broker.url(), nodes, Some(Box::new(emitter)), &[]).await;
        }
    };
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

            $(rust_emitter!($adapter, $broker, faults: $faults, rust: $connect);)?
        }
    };
}

emitter!(redis_emitter, "redis", Broker::start(Redis::default()), faults: ["huge numbers"]);
emitter!(
    #[cfg(feature = "redis")]
    redis_streams_emitter, "redis-streams", Broker::start(Redis::default()), faults: [],
    rust: |url| RedisStreamsAdapter::connect(RedisConfig::new(url))
);

/// Nodes of Node.js ignore the emitter of Node.js, because its messages do not name their namespace.
#[cfg(feature = "postgres")]
mod postgres_emitter {
    use super::*;

    /// It has several connections, and stores an attachment before it sends the notification.
    const OUT_OF_ORDER: [&str; 9] = [
        "order of",
        "bytes",
        "several bytes",
        "nested bytes",
        "numbers with bytes",
        "huge numbers with bytes",
        "a text of 100 kB",
        "more than 8000 bytes",
        "many objects",
    ];

    rust_emitter!("postgres", postgres(), faults: OUT_OF_ORDER, rust: |url| PostgresAdapter::connect(PostgresConfig::new(url)));
}
