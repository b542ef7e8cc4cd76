//! Streams whose entries are gone before nodes have read them, or know that they were added.

use std::{path::Path, time::Duration};

use tokio::process::Command;

use super::{
    streams::{STREAM, add, event, impatient},
    *,
};
use crate::brokers::{Broker, Redis, Server, proxy::Proxy, redis::command};

/// A server that keeps what it has saved, as with snapshots at intervals.
struct Snapshots;

impl Server for Snapshots {
    async fn prepare(&self, _: &Path) {}

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Redis::default().command(folder, port);
        command.args(["--appendonly", "no"]);
        command
    }

    fn greeting(&self) -> (Vec<u8>, &'static [&'static [u8]]) {
        Redis::default().greeting()
    }

    fn url(&self, port: u16) -> String {
        Redis::default().url(port)
    }
}

async fn add_number(port: u16, number: u32) {
    add(port, "*", &event(&format!(r#"["n",{number}]"#)).each_ref().map(|field| &**field)).await;
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_stream_that_is_rolled_back_is_not_read_again() {
    let mut broker = Broker::start(Snapshots).await;
    let port = broker.port();
    let node = impatient(broker.url(), false, 10_000).await;
    let mut client = Memory::join(&node.io).await;
    for number in 1..=4 {
        add_number(port, number).await;
        client.expect(&format!(r#"42["n",{number}]"#)).await;
        if number == 2 {
            assert_eq!(command(port, &["SAVE"]).await, "+OK");
        }
    }
    broker.kill().await;
    broker.restart().await;
    assert_eq!(command(port, &["XLEN", STREAM]).await, ":2");
    until(|| node.has_reported(ClusterErrorKind::Missed)).await;
    add_number(port, 5).await;
    client.expect(r#"42["n",5]"#).await;
}

/// Entries were added, but their confirmation does not arrive, and others add so much that they are removed.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn entries_that_were_removed_before_their_confirmation_are_not_added_again() {
    const MAX_LEN: usize = 10;
    for keeps_last in [true, false] {
        let broker = Broker::start(Redis::default()).await;
        let port = broker.port();
        let proxy = Proxy::start(port).await;
        let a = impatient(proxy.url(), false, MAX_LEN).await;
        let b = impatient(broker.url(), false, MAX_LEN).await;
        let mut client = Memory::join(&b.io).await;
        a.io.emit("n", &0).unwrap();
        client.expect(r#"42["n",0]"#).await;
        proxy.mute();
        // They are sent at once.
        for number in 1..=2 {
            a.io.emit("n", &number).unwrap();
        }
        for number in 1..=2 {
            client.expect(&format!(r#"42["n",{number}]"#)).await;
        }
        for number in 101..=110 {
            add_number(port, number).await;
            client.expect(&format!(r#"42["n",{number}]"#)).await;
        }
        let kept = MAX_LEN + usize::from(keeps_last);
        assert_ne!(command(port, &["XTRIM", STREAM, "MAXLEN", &kept.to_string()]).await, ":0");
        proxy.resume();
        a.io.emit("n", &3).unwrap();
        client.expect(r#"42["n",3]"#).await;
        assert_eq!(a.lost(), if keeps_last { 0 } else { 2 });
    }
}

/// The node is waiting for entries, and is woken when those between were removed already.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn entries_that_are_removed_while_the_node_waits_are_reported() {
    let broker = Broker::start(Redis::default()).await;
    let port = broker.port();
    let config = RedisStreamsConfig::new(RedisConfig::new(broker.url())).read_count(10).block_time(PATIENCE);
    let node = Node::serve(SocketIoConfig::new().adapter(RedisStreamsAdapter::connect(config).await.unwrap()));
    let mut client = Memory::join(&node.io).await;
    add_number(port, 0).await;
    client.expect(r#"42["n",0]"#).await;
    let data = r#"{"packet":{"type":2,"data":["n",'..i..']},"opts":{"rooms":[],"except":[],"flags":{}}}"#;
    let script = format!(
        "for i=1,50 do redis.call('XADD','{STREAM}','*','uid','x','nsp','/','type','3','data','{data}') end \
         return redis.call('XTRIM','{STREAM}','MAXLEN','10')"
    );
    let mut cli = Command::new("redis-cli");
    let output = cli.args(["-p", &port.to_string(), "EVAL", &script, "0"]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "41");
    for number in 41..=50 {
        client.expect(&format!(r#"42["n",{number}]"#)).await;
    }
    assert!(node.has_reported(ClusterErrorKind::Missed));
}

/// What does not arrive in time is read in smaller parts.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn replies_to_a_node_that_is_far_behind_are_limited() {
    const SIZE: usize = 1 << 20;
    let broker = Broker::start(Redis::default()).await;
    let proxy = Proxy::start(broker.port()).await;
    let (a, b) = (impatient(broker.url(), false, 10_000).await, impatient(proxy.url(), false, 10_000).await);
    let mut client = Memory::join(&b.io).await;
    a.io.emit("n", &0).unwrap();
    client.expect(r#"42["n",0]"#).await;
    proxy.mute();
    for number in 1..=40 {
        a.io.emit("n", &(number, "x".repeat(SIZE))).unwrap();
        let length = format!(":{}", number + 1);
        retry(async || (command(broker.port(), &["XLEN", STREAM]).await == length).then_some(())).await;
    }
    proxy.resume();
    for number in 1..=40 {
        assert!(client.text().await.starts_with(&format!(r#"42["n",{number},"#)));
    }
    assert_eq!(a.lost(), 0);
    tokio::time::timeout(Duration::from_millis(100), client.text()).await.unwrap_err();
}
