use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper::{
    Request, Response, StatusCode, body::Incoming, client::conn::http1::handshake, header, server::conn::http1,
    service::service_fn, upgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A load balancer without sticky sessions: each request goes to the next server.
pub struct Balancer {
    pub address: SocketAddr,
    servers: Arc<Servers>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Servers {
    addresses: Mutex<Vec<SocketAddr>>,
    next: AtomicUsize,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Balancer {
    pub async fn start(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let addresses = Mutex::new(servers.into_iter().collect());
        let servers = Arc::new(Servers { addresses, ..Servers::default() });
        let next = servers.clone();
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).expect("the connection is open");
                let servers = next.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| pass_on(request, servers.next()));
                    // It ends with an error when a client goes away.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(tcp), service).with_upgrades().await;
                });
            }
        });
        Self { address, servers, task }
    }

    /// Sends further requests to these servers.
    pub fn use_only(&self, servers: impl IntoIterator<Item = SocketAddr>) {
        *self.servers.addresses.lock().unwrap() = servers.into_iter().collect();
    }
}

impl Servers {
    fn next(&self) -> SocketAddr {
        let addresses = self.addresses.lock().unwrap();
        addresses[self.next.fetch_add(1, Ordering::Relaxed) % addresses.len()]
    }
}

async fn pass_on(mut request: Request<Incoming>, server: SocketAddr) -> hyper::Result<Response<Incoming>> {
    let tcp = TcpStream::connect(server).await.expect("the server listens");
    tcp.set_nodelay(true).expect("the connection is open");
    let (mut sender, connection) = handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(connection.with_upgrades());
    let is_upgrade = request.headers().contains_key(header::UPGRADE);
    let client = is_upgrade.then(|| upgrade::on(&mut request));
    let mut response = sender.send_request(request).await?;
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(client)) = (response.status(), client) {
        let server = upgrade::on(&mut response);
        tokio::spawn(async move {
            let (Ok(client), Ok(server)) = tokio::join!(client, server) else { return };
            let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(server)).await;
        });
    }
    Ok(response)
}
