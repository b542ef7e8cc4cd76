//! A server for tests, which replies to commands as it is told.

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::JoinSet,
};

/// Accepts connections until it is dropped.
pub(super) struct Scripted {
    pub(super) port: u16,
    _tasks: JoinSet<()>,
}

impl Scripted {
    /// Starts a server. `reply` gets a command, its words separated by spaces, and returns what is sent, if anything.
    pub(super) async fn start(reply: impl Fn(&str) -> Option<String> + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let reply = reply.clone();
                connections.spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Ok(words) = number(&mut stream).await {
                        let mut command = Vec::new();
                        for _ in 0..words {
                            let Ok(length) = number(&mut stream).await else { return };
                            let mut word = vec![0; length + 2];
                            if stream.read_exact(&mut word).await.is_err() {
                                return;
                            }
                            word.truncate(length);
                            command.push(String::from_utf8_lossy(&word).into_owned());
                        }
                        if let Some(reply) = reply(&command.join(" ")) {
                            let _ = stream.write_all(reply.as_bytes()).await;
                        }
                    }
                });
            }
        });
        Self { port, _tasks: tasks }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// Reads the number of a line that begins with a type.
async fn number(stream: &mut BufReader<tokio::net::TcpStream>) -> Result<usize, ()> {
    let mut line = String::new();
    stream.read_line(&mut line).await.map_err(drop)?;
    line.get(1..).and_then(|number| number.trim_end().parse().ok()).ok_or(())
}
