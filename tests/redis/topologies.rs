use std::{path::Path, time::Duration};

use tokio::process::Command;

use super::*;
use crate::brokers::{Broker, Redis, RedisCluster, Server, redis::command};

/// A server that does not know a command.
struct Without(&'static str);

impl Server for Without {
    async fn prepare(&self, _: &Path) {}

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Redis::default().command(folder, port);
        command.args(["--rename-command", self.0, ""]);
        command
    }

    fn greeting(&self) -> (Vec<u8>, &'static [&'static [u8]]) {
        Redis::default().greeting()
    }

    fn url(&self, port: u16) -> String {
        Redis::default().url(port)
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn servers_before_redis_6_are_served() {
    // RESP3.
    let mut broker = Broker::start(Without("HELLO")).await;
    let (a, b) =
        Node::pair(Kind::Classic, &RedisConfig::new(broker.url()).health_check(Duration::from_millis(200))).await;
    let mut client = member(&b, &a, "room").await;
    a.io.to("room").emit("n", &1).unwrap();
    client.expect(r#"42["n",1]"#).await;
    broker.kill().await;
    until(|| a.has_reported(ClusterErrorKind::Disconnected) && b.has_reported(ClusterErrorKind::Disconnected)).await;
    broker.restart().await;
    a.sees(2).await;
    let again = member(&b, &a, "room").await;
    drop(again);
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn connect_fails_if_the_nodes_cannot_be_counted() {
    let broker = Broker::start(Without("PUBSUB")).await;
    for kind in KINDS {
        let error = Node::start(kind, RedisConfig::new(broker.url())).await.err().unwrap();
        assert_eq!(error.kind(), ClusterErrorKind::Rejected, "{error:?}");
    }
}

fn seeds(cluster: &RedisCluster) -> RedisConfig {
    let hosts: Vec<_> = cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    RedisConfig::new(format!("redis://{}", hosts.join(","))).health_check(Duration::from_millis(500))
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_redis_cluster_carries_messages_and_survives_a_restart_of_a_master() {
    for kind in [Kind::Classic, Kind::Sharded(SubscriptionMode::Dynamic)] {
        eprintln!("{kind:?}");
        let mut cluster = RedisCluster::start().await;
        let (a, b) = Node::pair(kind, &seeds(&cluster)).await;
        let rooms = ["a", "b", "c", "d", "e", "f"];
        let mut clients = Vec::new();
        for room in rooms {
            clients.push(member(&b, &a, room).await);
        }
        for (room, client) in rooms.into_iter().zip(&mut clients) {
            a.io.to(room).emit("n", room).unwrap();
            client.expect(&format!(r#"42["n","{room}"]"#)).await;
        }
        assert_eq!(soon(a.io.fetch_sockets()).await.unwrap().len(), rooms.len());
        drop(clients);

        cluster.nodes[1].kill().await;
        until(|| a.has_reported(ClusterErrorKind::Disconnected) && b.has_reported(ClusterErrorKind::Disconnected))
            .await;
        cluster.nodes[1].restart().await;
        cluster.is_complete().await;
        a.sees(2).await;
        b.sees(2).await;
        for room in rooms {
            member(&b, &a, room).await;
            member(&a, &b, room).await;
        }
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn nodes_start_while_a_master_of_a_redis_cluster_is_down() {
    let mut cluster = RedisCluster::start().await;
    let config = seeds(&cluster);
    cluster.nodes[1].kill().await;
    let (a, b) = Node::pair(Kind::Classic, &config).await;
    let mut client = Memory::join(&b.io).await;
    a.io.emit("n", &1).unwrap();
    client.expect(r#"42["n",1]"#).await;
    let sharded = Kind::Sharded(SubscriptionMode::Dynamic);
    let c = Node::start(sharded, config.clone().prefix("sharded")).await.unwrap();
    let d = Node::start(sharded, config.prefix("sharded")).await.unwrap();
    cluster.nodes[1].restart().await;
    cluster.is_complete().await;
    // They have a channel on each master.
    for room in ["a", "b", "c", "d", "e", "f"] {
        member(&d, &c, room).await;
    }
    a.io.emit("n", &2).unwrap();
    client.expect(r#"42["n",2]"#).await;
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn subscriptions_follow_slots_that_move_to_another_master() {
    let cluster = RedisCluster::start().await;
    let (a, b) = Node::pair(Kind::Sharded(SubscriptionMode::Dynamic), &seeds(&cluster)).await;
    let mut client = Memory::join(&b.io).await;
    let main = "socket.io#/#";
    let slot = command(cluster.nodes[0].port(), &["CLUSTER", "KEYSLOT", main]).await[1..].to_owned();
    let mut owner = None;
    let mut ids = Vec::new();
    for (index, node) in cluster.nodes.iter().enumerate() {
        ids.push(command(node.port(), &["CLUSTER", "MYID"]).await);
        if command(node.port(), &["SPUBLISH", main, "{}"]).await.starts_with(':') {
            owner = Some(index);
        }
    }
    let target = (owner.unwrap() + 1) % 3;
    for node in [target, owner.unwrap(), (target + 1) % 3] {
        let port = cluster.nodes[node].port();
        assert_eq!(command(port, &["CLUSTER", "SETSLOT", &slot, "NODE", &ids[target]]).await, "+OK");
    }
    // They arrive in order, and none is missing.
    for number in 0..100 {
        a.io.emit("n", &number).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for number in 0..100 {
        client.expect(&format!(r#"42["n",{number}]"#)).await;
    }
    a.sees(2).await;
    assert_eq!(a.lost(), 0);
}

/// A sentinel that watches one master.
struct Sentinel {
    master: u16,
}

impl Server for Sentinel {
    async fn prepare(&self, folder: &Path) {
        let name = "the-master";
        let config = format!(
            "sentinel monitor {name} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {name} 500\n\
             sentinel failover-timeout {name} 2000\n",
            self.master
        );
        std::fs::write(folder.join("sentinel.conf"), config).unwrap();
    }

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Command::new("redis-server");
        command.arg(folder.join("sentinel.conf")).arg("--sentinel").args(["--bind", "127.0.0.1"]);
        command.args(["--port", &port.to_string(), "--dir"]).arg(folder);
        command
    }

    fn greeting(&self) -> (Vec<u8>, &'static [&'static [u8]]) {
        Redis::default().greeting()
    }

    fn url(&self, port: u16) -> String {
        format!("redis+sentinel://127.0.0.1:{port}/the-master")
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn the_master_that_a_sentinel_promotes_is_found() {
    let mut master = Broker::start(Redis::default()).await;
    let replica = Broker::start(Redis::default()).await;
    let of = master.port().to_string();
    assert_eq!(command(replica.port(), &["REPLICAOF", "127.0.0.1", &of]).await, "+OK");
    let sentinel = Broker::start(Sentinel { master: master.port() }).await;
    // The sentinel learns of replicas from the master.
    retry(async || {
        let replicas = tokio::process::Command::new("redis-cli")
            .args(["-p", &sentinel.port().to_string(), "SENTINEL", "REPLICAS", "the-master"])
            .output()
            .await
            .unwrap();
        String::from_utf8_lossy(&replicas.stdout).contains(&replica.port().to_string()).then_some(())
    })
    .await;
    let config = RedisConfig::new(sentinel.url()).health_check(Duration::from_millis(300));
    let (a, b) = Node::pair(Kind::Classic, &config).await;
    let _client = member(&b, &a, "room").await;
    master.kill().await;
    until(|| a.has_reported(ClusterErrorKind::Disconnected) && b.has_reported(ClusterErrorKind::Disconnected)).await;
    a.sees(2).await;
    let _other = member(&b, &a, "other").await;
    assert_eq!(command(replica.port(), &["PUBSUB", "NUMPAT"]).await, ":1");
}

/// A server that speaks TLS on another port, with a certificate for its address.
#[cfg(feature = "redis-tls")]
struct Tls;

#[cfg(feature = "redis-tls")]
impl Tls {
    fn tls_port(port: u16) -> u16 {
        port + 16_384
    }

    async fn openssl(folder: &Path, arguments: &str) {
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split(' ')).current_dir(folder).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[cfg(feature = "redis-tls")]
impl Server for Tls {
    async fn prepare(&self, folder: &Path) {
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        Self::openssl(folder, &format!("{new} -subj /CN=ca -keyout ca.key -out ca.pem")).await;
        let constraints = "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1";
        let signed = format!("{new} -subj /CN=redis -CA ca.pem -CAkey ca.key {constraints}");
        Self::openssl(folder, &format!("{signed} -keyout key.pem -out cert.pem")).await;
    }

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Redis::default().command(folder, port);
        command.args(["--tls-port", &Self::tls_port(port).to_string(), "--tls-auth-clients", "no"]);
        for (option, file) in
            [("--tls-cert-file", "cert.pem"), ("--tls-key-file", "key.pem"), ("--tls-ca-cert-file", "ca.pem")]
        {
            command.arg(option).arg(folder.join(file));
        }
        command
    }

    fn greeting(&self) -> (Vec<u8>, &'static [&'static [u8]]) {
        Redis::default().greeting()
    }

    fn url(&self, port: u16) -> String {
        format!("rediss://127.0.0.1:{}", Self::tls_port(port))
    }
}

#[cfg(feature = "redis-tls")]
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn connections_are_encrypted_and_certificates_are_checked() {
    let broker = Broker::start(Tls).await;
    let config = || RedisConfig::new(broker.url());
    let error = Node::start(Kind::Classic, config()).await.err().unwrap();
    assert_eq!(error.kind(), ClusterErrorKind::Disconnected, "{error:?}");
    let roots = std::fs::read(broker.folder().join("ca.pem")).unwrap();
    let (a, b) = Node::pair(Kind::Classic, &config().root_certificates(roots)).await;
    member(&b, &a, "room").await;
}
