use std::{
    collections::HashMap,
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::oneshot,
};

use super::operation::Operation;
use crate::support::soon;

/// What executes operations: a node, or an emitter.
pub trait Actor: Send + Sync {
    fn run(&self, operation: Operation) -> BoxFuture<'_, Result<Value, String>>;
}

/// An actor that has clients.
pub struct Node {
    pub address: SocketAddr,
    pub actor: Box<dyn Actor>,
}

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// A process of Node.js that is controlled by JSON lines. It ends when this value is dropped.
pub struct NodeJs {
    stdin: tokio::sync::Mutex<ChildStdin>,
    pending: Pending,
    next: AtomicU64,
    _process: Child,
}

impl NodeJs {
    /// Starts a node.
    pub async fn node(adapter: &str, broker: &str, name: &str) -> Node {
        Self::server("node.mjs", &[adapter, broker, name]).await
    }

    /// Starts a node, or another script that listens on a port.
    pub async fn server(script: &str, arguments: &[&str]) -> Node {
        let (node, ready) = Self::start(script, arguments).await;
        let port = ready["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        Node { address: SocketAddr::from(([127, 0, 0, 1], port)), actor: Box::new(node) }
    }

    /// Starts an emitter.
    pub async fn emitter(adapter: &str, broker: &str) -> Box<dyn Actor> {
        Box::new(Self::start("emitter.mjs", &[adapter, broker]).await.0)
    }

    async fn start(script: &str, arguments: &[&str]) -> (Self, Value) {
        let mut command = Command::new("node");
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster")).arg(script).args(arguments);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = soon(lines.next_line()).await.unwrap();
        let ready = ready.unwrap_or_else(|| panic!("{script} does not start: `make backends` installs its packages"));
        let pending = Pending::default();
        let node = Self {
            stdin: tokio::sync::Mutex::new(process.stdin.take().unwrap()),
            pending: pending.clone(),
            next: AtomicU64::new(0),
            _process: process,
        };
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let reply: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
                let asker = reply["id"].as_u64().and_then(|id| pending.lock().unwrap().remove(&id));
                let _ = asker.expect("the reply has the id of a request").send(reply);
            }
            // Fails the requests that are waiting.
            pending.lock().unwrap().clear();
        });
        (node, serde_json::from_str(&ready).unwrap())
    }
}

impl Actor for NodeJs {
    fn run(&self, operation: Operation) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(async move {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let mut request = serde_json::to_value(operation).unwrap();
            request["id"] = json!(id);
            let (sender, reply) = oneshot::channel();
            self.pending.lock().unwrap().insert(id, sender);
            let written = self.stdin.lock().await.write_all(format!("{request}\n").as_bytes()).await;
            written.map_err(|error| error.to_string())?;
            let mut reply = soon(reply).await.map_err(|_| "the process has ended".to_owned())?;
            match reply["error"].take() {
                Value::Null => Ok(reply["result"].take()),
                error => Err(error.to_string()),
            }
        })
    }
}
