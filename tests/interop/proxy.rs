//! A TCP proxy whose connections are cut at any byte.

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

/// How a connection ends.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// Both sides see a FIN.
    Fin,
    /// Both sides see a RST.
    Reset,
    /// The client sees a RST, the server nothing.
    HalfOpen,
}

/// A proxy in front of a server. Everything that it carries is one network: it is cut as a whole.
pub struct Proxy {
    pub address: SocketAddr,
    network: Arc<Network>,
    task: JoinHandle<()>,
}

struct Network {
    state: Mutex<State>,
    /// How often the network has been cut, and how it was the last time.
    cuts: watch::Sender<(usize, Cut)>,
    /// Connections whose server has not noticed the cut.
    half_open: Mutex<Vec<TcpStream>>,
}

#[derive(Default)]
struct State {
    /// New connections are refused.
    is_down: bool,
    /// The cuts to come, each after so many more bytes to the client. The last is the next.
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

    /// Cuts the network, which stays down until it is up again.
    pub fn down(&self, cut: Cut) {
        self.network.state.lock().unwrap().is_down = true;
        self.cut(cut);
    }

    /// The network is up again. It is cut later, each time after so many more bytes to the client.
    pub fn up(&self, mut cuts: Vec<(usize, Cut)>) {
        cuts.reverse();
        let mut state = self.network.state.lock().unwrap();
        state.is_down = false;
        state.scheduled = cuts;
    }

    /// Whether all cuts that were scheduled have happened.
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
            // One of them has closed its side, so do we.
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

    /// Carries what the server sends, up to the byte at which the network is to be cut.
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
                // This connection is cut too.
                std::future::pending::<()>().await;
            }
        }
    }

    /// How many of these bytes may pass, and whether the network is cut after them.
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
