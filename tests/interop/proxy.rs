//! A TCP proxy whose connections can be cut at any byte.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// How a connection is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// Both sides receive a FIN.
    Fin,
    /// Both sides receive a RST.
    Reset,
    /// The client receives a RST, and the server receives nothing.
    HalfOpen,
}

/// A proxy in front of a server. All of its connections form one network, which is cut as a whole.
pub struct Proxy {
    pub address: SocketAddr,
    network: Arc<Network>,
    task: JoinHandle<()>,
}

struct Network {
    state: Mutex<State>,
    /// The number of cuts, and the kind of the last one.
    cuts: watch::Sender<(usize, Cut)>,
    /// Connections whose cut the server has not noticed yet.
    half_open: Mutex<Vec<TcpStream>>,
}

#[derive(Default)]
struct State {
    /// Whether new connections are refused.
    is_down: bool,
    /// The scheduled cuts, each as a number of further bytes to the client. The last element is the next cut.
    scheduled: Vec<(usize, Cut)>,
}

impl Proxy {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = Arc::new(Network {
            state: Mutex::default(),
            cuts: watch::Sender::new((0, Cut::Fin)),
            half_open: Mutex::default(),
        });
        let carrier = network.clone();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if carrier.state.lock().unwrap().is_down {
                    client.set_zero_linger().unwrap();
                } else {
                    tokio::spawn(carrier.clone().carry(client, server));
                }
            }
        });
        Self { address, network, task }
    }

    /// Cuts the network until `up` is called.
    pub fn down(&self, cut: Cut) {
        self.network.state.lock().unwrap().is_down = true;
        self.cut(cut);
    }

    /// Restores the network. It is cut again after each of these numbers of further bytes to the client.
    pub fn up(&self, mut cuts: Vec<(usize, Cut)>) {
        cuts.reverse();
        let mut state = self.network.state.lock().unwrap();
        state.is_down = false;
        state.scheduled = cuts;
    }

    /// Whether all scheduled cuts have happened.
    pub fn is_done(&self) -> bool {
        self.network.state.lock().unwrap().scheduled.is_empty()
    }

    pub fn cut(&self, cut: Cut) {
        self.network.cuts.send_modify(|(count, how)| (*count, *how) = (*count + 1, cut));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Network {
    async fn carry(self: Arc<Self>, mut client: TcpStream, server: SocketAddr) {
        let mut cuts = self.cuts.subscribe();
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let ended = tokio::select! {
            biased;
            _ = cuts.changed() => None,
            ended = self.copy_down(&mut from_server, &mut to_client) => Some(ended),
            ended = tokio::io::copy(&mut from_client, &mut to_server) => Some(ended.map(drop)),
        };
        let how = cuts.borrow_and_update().1;
        match (ended, how) {
            // One side has closed the connection. Close the other one.
            (Some(_), _) | (None, Cut::Fin) => {}
            (None, Cut::Reset) => {
                client.set_zero_linger().unwrap();
                server.set_zero_linger().unwrap();
            }
            (None, Cut::HalfOpen) => {
                client.set_zero_linger().unwrap();
                self.half_open.lock().unwrap().push(server);
            }
        }
    }

    /// Forwards what the server sends, up to the byte of the next cut.
    async fn copy_down(
        &self,
        from: &mut (impl AsyncReadExt + Unpin),
        to: &mut (impl AsyncWriteExt + Unpin),
    ) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            let (allowed, cut) = self.allow(read);
            to.write_all(&buffer[..allowed]).await?;
            if let Some(cut) = cut {
                self.cuts.send_modify(|(count, how)| (*count, *how) = (*count + 1, cut));
                // The cut applies to this connection too.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns how many of these bytes may pass, and how the network is cut after them, if it is.
    fn allow(&self, bytes: usize) -> (usize, Option<Cut>) {
        let mut state = self.state.lock().unwrap();
        match state.scheduled.last_mut() {
            Some((left, cut)) if *left <= bytes => {
                let allowed = (*left, Some(*cut));
                state.scheduled.pop();
                allowed
            }
            Some((left, _)) => {
                *left -= bytes;
                (bytes, None)
            }
            None => (bytes, None),
        }
    }
}
