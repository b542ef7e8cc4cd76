//! A server on hyper, without axum: `cargo run -p example-hyper [-- ADDRESS]`.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_socketio::{Ack, Args, Namespace, SocketIoConfig, SocketIoLayer, extract::Data};

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("everything else\n")))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let echo = Namespace::new().on("echo", async |Data(args): Data<Args>| Ack(args));
    let layer = SocketIoLayer::new(SocketIoConfig::new().namespace("/", echo));
    let service = ServiceBuilder::new().layer(layer).service(service_fn(hello));

    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            let connection = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.with_upgrades().await {
                eprintln!("connection failed: {error}");
            }
        });
    }
}
