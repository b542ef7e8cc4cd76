//! The server that `make bench-storm` measures: `bench-storm-server BACKLOG PORT`. It reads a number of seconds from its input, drains over
//! this time, and exits.

use std::{env, io, net::Ipv4Addr, time::Duration};

use axum::{Router, serve::ListenerExt};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    net::TcpSocket,
};
use tower_socketio::{Ack, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, extract::Data};

async fn echo(Data(argument): Data<Value>) -> Ack<Value> {
    Ack(argument)
}

async fn drained(io: SocketIo) {
    let mut line = String::new();
    BufReader::new(stdin()).read_line(&mut line).await.ok();
    io.drain(Duration::from_secs(line.trim().parse().unwrap_or(0))).await;
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let number = |place| env::args().nth(place).and_then(|number| number.parse().ok());
    let (backlog, port) = number(1).zip(number(2)).ok_or(io::ErrorKind::InvalidInput)?;
    let port = u16::try_from(port).map_err(io::Error::other)?;
    let layer = SocketIoLayer::new(SocketIoConfig::new().namespace("/", Namespace::new().on("echo", echo)));
    let io = layer.io();
    let app = Router::new().layer(layer);
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    let listener = socket.listen(backlog)?.tap_io(|tcp| {
        tcp.set_nodelay(true).ok();
    });
    tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(drained(io)).await }).await?
}
