use std::sync::Arc;

use tokio::{
    io::{AsyncWriteExt, copy, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Forwards connections to a port, until it is told to forward nothing more on those that are open: they stay open.
pub struct Proxy {
    port: u16,
    generation: Arc<watch::Sender<u32>>,
    mute: Arc<watch::Sender<bool>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let generation = Arc::new(watch::Sender::new(0));
        let mute = Arc::new(watch::Sender::new(false));
        let (frozen, muted) = (generation.clone(), mute.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let mut frozen = frozen.subscribe();
                let mut muted = muted.subscribe();
                connections.spawn(async move {
                    if muted.wait_for(|muted| !muted).await.is_err() {
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {
                            let _ = client.shutdown().await;
                            return;
                        }
                        _ = frozen.changed() => {}
                        _ = muted.changed() => {
                            let _ = copy(&mut client, &mut server).await;
                        }
                    }
                    std::future::pending::<()>().await;
                });
            }
        });
        Self { port, generation, mute, _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Forwards nothing more on the connections that are open. New ones are forwarded.
    pub fn freeze(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Forwards no more replies on the connections that are open. New ones wait for [`resume`](Self::resume).
    pub fn mute(&self) {
        self.mute.send_replace(true);
    }

    /// Forwards new connections again.
    pub fn resume(&self) {
        self.mute.send_replace(false);
    }
}
