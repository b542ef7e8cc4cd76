//! Redis, whose other tests are in `tests/redis`.

use tower_socketio::cluster::redis::{RedisAdapter, RedisConfig, ShardedRedisAdapter};

use super::{Duration, cases::only_events_of_the_gap_are_missing};
use crate::brokers::Redis;

async fn without_the_broker(away: Duration) {
    let classic = async |url| RedisAdapter::connect(RedisConfig::new(url)).await;
    only_events_of_the_gap_are_missing::<Redis, _>(classic, away).await;
    let sharded = async |url| ShardedRedisAdapter::connect(RedisConfig::new(url)).await;
    only_events_of_the_gap_are_missing::<Redis, _>(sharded, away).await;
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn events_of_the_gap_are_missing() {
    without_the_broker(Duration::from_secs(1)).await;
}

#[tokio::test]
#[ignore = "a drill: ten seconds"]
async fn drill_ten_seconds_without_the_broker() {
    without_the_broker(Duration::from_secs(10)).await;
}
