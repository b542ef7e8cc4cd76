use std::sync::Arc;

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Forwards connections to a port, until it is told to forward nothing more on those that are open: they stay open.
pub(super) struct Proxy {
    port: u16,
    generation: Arc<watch::Sender<u32>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(super) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let generation = Arc::new(watch::Sender::new(0));
        let frozen = generation.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let mut frozen = frozen.subscribe();
                connections.spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    let forwarded = tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => true,
                        _ = frozen.changed() => false,
                    };
                    if forwarded {
                        let _ = client.shutdown().await;
                    } else {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { port, generation, _tasks: tasks }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Forwards nothing more on the connections that are open. New ones are forwarded.
    pub(super) fn freeze(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}
