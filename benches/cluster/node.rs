//! A node of a cluster that is measured: `bench-cluster-node ADAPTER BROKER`. `node.mjs` does the same in Node.js.

use std::{
    env,
    error::Error,
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{Router, serve::ListenerExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    net::TcpListener,
};
use tower_socketio::{
    Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketRef,
    cluster::{
        nats::{NatsAdapter, NatsConfig},
        postgres::{PostgresAdapter, PostgresConfig},
        redis::{RedisAdapter, RedisConfig, RedisStreamsAdapter, ShardedRedisAdapter},
    },
    server_side::ServerSideEvent,
};

type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Serialize)]
struct Message {
    from: &'static str,
    text: &'static str,
}

const MESSAGE: Message = Message { from: "alice", text: "Hello, cluster!" };

#[derive(Deserialize)]
struct Request {
    id: Value,
    #[serde(flatten)]
    action: Action,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", tag = "action")]
enum Action {
    /// Broadcasts `count` messages, `rate` each second.
    Broadcast { count: u32, rate: f64, local: bool },
    /// Fetches the sockets of all nodes, `count` times one after the other.
    Fetch { count: u32, sockets: usize },
    /// Asks the clients of all nodes.
    Ask { count: u32 },
    /// Asks the other nodes.
    ServerSideAsk { count: u32 },
}

async fn connect(socket: SocketRef) {
    socket.join("room");
}

async fn answer(_: ServerSideEvent) -> &'static str {
    "answer"
}

async fn broadcast(io: &SocketIo, count: u32, rate: f64, local: bool) -> Result<(), BoxError> {
    let target = if local { io.local().to("room") } else { io.to("room") };
    let start = Instant::now();
    let mut sent = 0;
    while sent < count {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let due = start.elapsed().as_secs_f64() * rate;
        while sent < count && f64::from(sent) < due {
            target.emit("message", &MESSAGE)?;
            sent += 1;
        }
    }
    Ok(())
}

async fn run(io: &SocketIo, action: Action) -> Result<(), BoxError> {
    match action {
        Action::Broadcast { count, rate, local } => broadcast(io, count, rate, local).await?,
        Action::Fetch { count, sockets } => {
            for _ in 0..count {
                let fetched = io.fetch_sockets().await?.len();
                if fetched != sockets {
                    return Err(format!("{fetched} sockets").into());
                }
            }
        }
        Action::Ask { count } => {
            for _ in 0..count {
                let acks = io.to("room").emit_with_ack::<Value>("ask", &MESSAGE)?.await;
                if acks.answers.len() != 1 || !acks.missing.is_empty() {
                    return Err("acks are missing".into());
                }
            }
        }
        Action::ServerSideAsk { count } => {
            let namespace = io.of("/").ok_or("there is no namespace")?;
            for _ in 0..count {
                let timeout = Duration::from_secs(5);
                let acks = namespace.server_side_emit_with_ack::<String>("ask", &MESSAGE, timeout)?.responses().await;
                if acks.answers.len() != 1 || acks.error.is_some() {
                    return Err("acks are missing".into());
                }
            }
        }
    }
    Ok(())
}

async fn node(adapter: String, broker: String) -> Result<(), BoxError> {
    let namespace = Namespace::new().on_connect(connect).on_server_side("ask", answer);
    let config = SocketIoConfig::new().on_cluster_error(|error| eprintln!("{error}")).namespace("/", namespace);
    let config = match adapter.as_str() {
        "redis" => config.adapter(RedisAdapter::connect(RedisConfig::new(broker)).await?),
        "redis-sharded" => config.adapter(ShardedRedisAdapter::connect(RedisConfig::new(broker)).await?),
        "redis-streams" => config.adapter(RedisStreamsAdapter::connect(RedisConfig::new(broker)).await?),
        "postgres" => config.adapter(PostgresAdapter::connect(PostgresConfig::new(broker)).await?),
        "nats" => config.adapter(NatsAdapter::connect(NatsConfig::new(broker)).await?),
        _ => return Err("there is no such adapter".into()),
    };
    let layer = SocketIoLayer::new(config);
    let io = layer.io();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let listener = listener.tap_io(|tcp| {
        tcp.set_nodelay(true).ok();
    });
    let app = Router::new().layer(layer).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });

    println!("{}", json!({ "port": port }));
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let Request { id, action } = serde_json::from_str(&line)?;
        let error = run(&io, action).await.err().map(|error| error.to_string());
        println!("{}", json!({ "id": id, "result": null, "error": error }));
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut args = env::args().skip(1);
    let (Some(adapter), Some(broker)) = (args.next(), args.next()) else {
        return Err("usage: bench-cluster-node ADAPTER BROKER".into());
    };
    // On a worker, as docs/performance.md advises.
    tokio::spawn(node(adapter, broker)).await?
}
