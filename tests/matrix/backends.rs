//! A module of tests for each adapter.

use super::{cluster::Cluster, emits, node::NodeJs, requests};
use crate::brokers::{Broker, Postgres, Redis, RedisCluster};

/// Node.js nodes with this adapter.
async fn node_js(adapter: &str, url: &str, faults: &[&'static str]) {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(NodeJs::node(adapter, url, name).await);
    }
    let cluster = Cluster { nodes, emitter: None, faults: faults.to_vec(), recovers: adapter.ends_with("-recovery") };
    cluster.run(emits::cases().into_iter().chain(requests::cases()).collect()).await;
}

macro_rules! backend {
    ($name:ident, $adapter:literal, $broker:expr, faults: $faults:expr) => {
        mod $name {
            use super::*;

            #[tokio::test]
            #[ignore = "requires brokers and Node.js: make backends"]
            async fn node_js() {
                let broker = $broker.await;
                super::node_js($adapter, &broker.url(), &$faults).await;
            }
        }
    };
}

backend!(redis, "redis", Broker::start(Redis::default()), faults: []);
backend!(redis_specific, "redis-specific", Broker::start(Redis::default()), faults: []);
backend!(redis_sharded_static, "redis-sharded-static", Broker::start(Redis::default()), faults: []);
backend!(redis_sharded_dynamic, "redis-sharded-dynamic", Broker::start(Redis::default()), faults: []);
backend!(redis_sharded_dynamic_private, "redis-sharded-dynamic-private", Broker::start(Redis::default()), faults: []);
backend!(redis_streams, "redis-streams", Broker::start(Redis::default()), faults: []);
backend!(redis_streams_recovery, "redis-streams-recovery", Broker::start(Redis::default()), faults: []);
backend!(postgres, "postgres", Broker::start(Postgres::default()), faults: []);
backend!(redis_cluster, "redis-sharded-dynamic", RedisCluster::start(), faults: []);
