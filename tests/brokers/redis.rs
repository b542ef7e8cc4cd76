use std::path::Path;

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
};

use super::{Broker, Server};
use crate::support::{retry, soon};

/// `redis-server`, which writes each change to its data.
#[derive(Clone, Copy, Default)]
pub struct Redis {
    pub password: Option<&'static str>,
}

impl Server for Redis {
    async fn prepare(&self, _: &Path) {}

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(folder);
        // A process that is killed loses nothing that it has written to a file, even if the disk has not stored it.
        command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "no"]);
        command.args(self.password.iter().flat_map(|password| ["--requirepass", *password]));
        command
    }

    fn greeting(&self) -> (Vec<u8>, &'static [&'static [u8]]) {
        (b"PING\r\n".to_vec(), &[b"+PONG", b"-NOAUTH"])
    }

    fn url(&self, port: u16) -> String {
        let credentials = self.password.map_or(String::new(), |password| format!(":{password}@"));
        format!("redis://{credentials}127.0.0.1:{port}")
    }
}

/// A node of a Redis Cluster.
pub struct ClusterMember;

impl Server for ClusterMember {
    async fn prepare(&self, _: &Path) {}

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Redis::default().command(folder, port);
        command.args(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
        command
    }

    fn greeting(&self) -> (Vec<u8>, &'static [&'static [u8]]) {
        Redis::default().greeting()
    }

    fn url(&self, port: u16) -> String {
        Redis::default().url(port)
    }
}

/// Three masters that share the keys and shard channels.
pub struct RedisCluster {
    pub nodes: Vec<Broker<ClusterMember>>,
}

impl RedisCluster {
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Broker::start(ClusterMember).await);
        }
        let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port()));
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(addresses).arg("--cluster-yes");
        let output = soon(create.output()).await.expect("redis-cli runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let cluster = Self { nodes };
        cluster.is_complete().await;
        cluster
    }

    /// The URLs of all masters, separated by commas.
    pub fn url(&self) -> String {
        self.nodes.iter().map(Broker::url).collect::<Vec<_>>().join(",")
    }

    /// Waits until each master reaches all slots.
    pub async fn is_complete(&self) {
        for node in &self.nodes {
            retry(async || command(node.port(), &["CLUSTER", "INFO"]).await.contains("cluster_state:ok").then_some(()))
                .await;
        }
    }
}

/// Returns the reply to a command: its line, or the first line of its text.
pub async fn command(port: u16, words: &[&str]) -> String {
    let exchange = async {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
        stream.write_all(format!("{}\r\n", words.join(" ")).as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if line.starts_with('$') {
            line.clear();
            stream.read_line(&mut line).await?;
        }
        Ok::<_, std::io::Error>(line.trim_end().to_owned())
    };
    soon(exchange).await.expect("Redis replies")
}
