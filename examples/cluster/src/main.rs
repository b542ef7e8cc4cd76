//! One node of a chat that runs on several: `cargo run -p example-cluster -- ADDRESS REDIS-URL`.
//!
//! `make cluster` starts a Redis server, two nodes, and a load balancer in front of them.

use std::{env, error::Error};

use axum::{Router, extract::State, response::Html, routing::get};
use serde::Serialize;
use tower_socketio::{
    Ack, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketRef,
    cluster::redis::{RedisAdapter, RedisConfig},
    extract::Data,
};

/// The address of the node, shown with each message.
#[derive(Clone)]
struct Node(String);

async fn page() -> Html<&'static str> {
    Html(include_str!("../index.html"))
}

async fn message(socket: SocketRef, State(Node(node)): State<Node>, Data(text): Data<String>) {
    // Reaches the clients of all nodes.
    socket.io().emit("message", &(node, text)).ok();
}

#[derive(Serialize)]
struct Status {
    node: String,
    nodes: usize,
    clients: usize,
}

/// Returns the node of the client, and the number of nodes and clients.
async fn status(io: SocketIo, State(Node(node)): State<Node>) -> Ack<Status> {
    let nodes = io.node_count().await.unwrap_or(1);
    let clients = io.fetch_sockets().await.unwrap_or_else(|error| error.into_sockets());
    Ack(Status { node, nodes, clients: clients.len() })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:3001".to_owned());
    let redis = args.next().unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());

    let listener = tokio::net::TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let adapter = RedisAdapter::connect(RedisConfig::new(redis)).await?;
    let chat = Namespace::new().on("message", message).on("status", status).with_state(Node(address.to_string()));
    let config = SocketIoConfig::new()
        .adapter(adapter)
        // The load balancer may send each request of a client to another node.
        .share_sessions(true)
        .on_cluster_error(|error| eprintln!("{error}"))
        .namespace("/", chat);
    let app: Router = Router::new().route("/", get(page)).layer(SocketIoLayer::new(config));
    println!("listening on http://{address}");
    axum::serve(listener, app).await?;
    Ok(())
}
