//! A network whose connections may break at any time, in several ways.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::JoinHandle,
    time::sleep,
};

/// How a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Break {
    /// Both sides receive a FIN.
    Fin,
    /// Both sides receive a RST.
    Reset,
    /// The data of both sides is discarded.
    Silence,
    /// The data of the server is discarded, and that of the client is still forwarded.
    SilenceOfServer,
    /// The server receives a FIN, and its data is still forwarded.
    HalfCloseToServer,
    /// The client receives a FIN, and its data is still forwarded.
    HalfCloseToClient,
}

const BREAKS: [Break; 6] = [
    Break::Fin,
    Break::Reset,
    Break::Silence,
    Break::SilenceOfServer,
    Break::HalfCloseToServer,
    Break::HalfCloseToClient,
];

/// How long a silent connection stays open.
const SILENCE: Duration = Duration::from_secs(10);

pub struct Proxy {
    pub address: SocketAddr,
    network: Arc<Network>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Network {
    random: AtomicU64,
    is_whole: AtomicBool,
    broken: Mutex<BTreeMap<Break, usize>>,
}

impl Proxy {
    pub async fn start(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = Arc::new(Network { random: AtomicU64::new(seed), ..Network::default() });
        let carrier = network.clone();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carrier.clone().carry(client, server));
            }
        });
        Self { address, network, task }
    }

    /// No connection breaks any more.
    pub fn heal(&self) {
        self.network.is_whole.store(true, Ordering::Relaxed);
    }

    /// The number of broken connections of each kind.
    pub fn broken(&self) -> BTreeMap<Break, usize> {
        self.network.broken.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Network {
    fn below(&self, limit: u64) -> u64 {
        let random = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// When and how a connection breaks.
    fn fate(&self) -> (Duration, Break) {
        let milliseconds = match self.below(4) {
            0 => self.below(500),
            1 => self.below(30_000),
            _ => 500 + self.below(6_000),
        };
        (Duration::from_millis(milliseconds), BREAKS[self.below(BREAKS.len() as u64) as usize])
    }

    async fn carry(self: Arc<Self>, mut client: TcpStream, server: SocketAddr) {
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (after, how) = self.fate();
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        {
            // Dropping a copy loses the data that it has read. The connection is broken then, so this has no effect.
            let up = copy(&mut from_client, &mut to_server);
            let down = copy(&mut from_server, &mut to_client);
            tokio::select! {
                _ = async { tokio::join!(up, down) } => return,
                () = self.breaks(after) => {}
            }
        }
        *self.broken.lock().unwrap().entry(how).or_default() += 1;
        match how {
            Break::Fin => {}
            Break::Reset => {
                client.set_zero_linger().unwrap();
                server.set_zero_linger().unwrap();
            }
            Break::Silence => silence(&mut from_client, &mut from_server).await,
            Break::SilenceOfServer => {
                let up = copy(&mut from_client, &mut to_server);
                let _ = tokio::time::timeout(SILENCE, async { tokio::join!(up, swallow(&mut from_server)) }).await;
            }
            Break::HalfCloseToServer => {
                to_server.shutdown().await.ok();
                let down = copy(&mut from_server, &mut to_client);
                let _ = tokio::time::timeout(SILENCE, async { tokio::join!(down, swallow(&mut from_client)) }).await;
            }
            Break::HalfCloseToClient => {
                to_client.shutdown().await.ok();
                let up = copy(&mut from_client, &mut to_server);
                let _ = tokio::time::timeout(SILENCE, async { tokio::join!(up, swallow(&mut from_server)) }).await;
            }
        }
    }

    async fn breaks(&self, after: Duration) {
        sleep(after).await;
        if self.is_whole.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }
}

/// Forwards one direction to its end, and then sends a FIN.
async fn copy(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) {
    tokio::io::copy(from, to).await.ok();
    to.shutdown().await.ok();
}

async fn swallow(from: &mut ReadHalf<'_>) {
    let mut buffer = [0; 4096];
    while from.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Discards the data of both sides until both have closed, or the timeout expires.
async fn silence(client: &mut ReadHalf<'_>, server: &mut ReadHalf<'_>) {
    let _ = tokio::time::timeout(SILENCE, async { tokio::join!(swallow(client), swallow(server)) }).await;
}
