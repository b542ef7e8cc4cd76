//! Real brokers, each a process on a free port with a folder for its data. `make brokers` installs them.
//!
//! ```ignore
//! let mut redis = Broker::start(Redis::default()).await;
//! redis.kill().await;
//! redis.restart().await;
//! ```

mod nats;
mod postgres;
pub mod proxy;
pub mod redis;

use std::{
    collections::hash_map::RandomState,
    fs::{File, Permissions},
    hash::{BuildHasher, Hasher},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

pub use self::{
    nats::Nats,
    postgres::Postgres,
    redis::{Redis, RedisCluster},
};

use crate::support::{PATIENCE, soon};

/// A kind of broker.
pub trait Server {
    /// Prepares an empty folder.
    fn prepare(&self, folder: &Path) -> impl Future<Output = ()>;

    /// The command that runs the broker in the foreground.
    fn command(&self, folder: &Path, port: u16) -> Command;

    /// What a client says first, and how the reply begins once the broker is ready.
    fn greeting(&self) -> (Vec<u8>, &'static [&'static [u8]]);

    fn url(&self, port: u16) -> String;

    /// The signal that ends the process at once, with its children.
    fn end_signal(&self) -> &'static str {
        "-KILL"
    }
}

/// A running broker. Dropping it ends the process and deletes its data.
pub struct Broker<S: Server> {
    server: S,
    port: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl<S: Server> Broker<S> {
    /// Starts a broker on a free port.
    pub async fn start(server: S) -> Self {
        let mut broker = Self { folder: new_folder(), server, port: 0, child: None };
        broker.server.prepare(broker.folder.path()).await;
        // Another process can take the port before the broker does.
        for _ in 0..20 {
            broker.port = free_port();
            if broker.try_start().await {
                return broker;
            }
        }
        panic!("the broker does not start: {}", broker.log());
    }

    pub fn url(&self) -> String {
        self.server.url(self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its data.
    #[cfg_attr(
        not(any(feature = "nats", feature = "redis-tls")),
        expect(dead_code, reason = "for certificates and backups")
    )]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the process with SIGKILL.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("the broker is running");
        soon(child.kill()).await.expect("the broker has not exited by itself");
    }

    /// Starts a broker that was killed, on the same port and with its data.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "the broker is running");
        let end = Instant::now() + PATIENCE;
        // What is left of the killed process may hold the data for a moment.
        while !self.try_start().await {
            assert!(Instant::now() < end, "the broker does not start again: {}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts a broker that was killed, on the same port and without data.
    pub async fn restart_empty(&mut self) {
        self.folder = new_folder();
        self.server.prepare(self.folder.path()).await;
        self.restart().await;
    }

    /// Starts the process and waits until it is ready. `false` if it exits.
    async fn try_start(&mut self) -> bool {
        let log = File::create(self.folder.path().join("log")).expect("the folder exists");
        let mut child = self
            .server
            .command(self.folder.path(), self.port)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{error}: `make brokers` installs the brokers"));
        let end = Instant::now() + PATIENCE;
        while child.try_wait().expect("a child").is_none() {
            if self.is_ready().await && child.try_wait().expect("a child").is_none() {
                self.child = Some(child);
                return true;
            }
            assert!(Instant::now() < end, "the broker does not become ready: {}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
        false
    }

    async fn is_ready(&self) -> bool {
        let (greeting, replies) = self.server.greeting();
        let greet = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.write_all(&greeting).await?;
            let mut reply = [0; 512];
            let length = stream.read(&mut reply).await?;
            Ok::<_, std::io::Error>(replies.iter().any(|prefix| reply[..length].starts_with(prefix)))
        };
        matches!(tokio::time::timeout(Duration::from_secs(1), greet).await, Ok(Ok(true)))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl<S: Server> Drop for Broker<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let exit = self.child.as_mut().map(Child::try_wait);
            eprintln!("the broker has exited with {exit:?}, and its log is:\n{}", self.log());
        }
        let Some(child) = &mut self.child else { return };
        let Some(id) = child.id() else { return };
        let _ = std::process::Command::new("kill").args([self.server.end_signal(), &id.to_string()]).status();
        // Its folder can be deleted only after it.
        for _ in 0..1000 {
            if !matches!(child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A folder that other users can enter.
fn new_folder() -> TempDir {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().expect("a temporary folder")
}

/// A port that is free, and below those of outgoing connections: one of a client that tries to reconnect to a broker that is down could
/// otherwise take it.
fn free_port() -> u16 {
    for _ in 0..1000 {
        let random = RandomState::new().build_hasher().finish();
        let port = 16_384 + u16::try_from(random % 16_384).expect("a small number");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn brokers_survive_a_restart_with_and_without_their_data() {
    use redis::command;
    let mut redis = Broker::start(Redis::default()).await;
    let port = redis.port();
    assert_eq!(command(port, &["SET", "key", "value"]).await, "+OK");
    redis.kill().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    redis.restart().await;
    assert_eq!(command(port, &["EXISTS", "key"]).await, ":1");
    redis.kill().await;
    redis.restart_empty().await;
    assert_eq!((redis.port(), command(port, &["EXISTS", "key"]).await), (port, ":0".to_owned()));
    let id = redis.child.as_ref().and_then(Child::id).expect("it is running");
    drop(redis);
    assert!(!Path::new(&format!("/proc/{id}")).exists());
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn each_kind_of_broker_starts_and_restarts() {
    let mut redis = Broker::start(Redis { password: Some("secret") }).await;
    assert!(redis::command(redis.port(), &["GET", "key"]).await.starts_with("-NOAUTH"));
    redis.kill().await;
    redis.restart().await;
    for password in [None, Some("secret")] {
        let mut postgres = Broker::start(Postgres { password }).await;
        postgres.kill().await;
        postgres.restart().await;
        let mut nats = Broker::start(Nats { password }).await;
        nats.kill().await;
        nats.restart().await;
    }
    let mut cluster = RedisCluster::start().await;
    cluster.nodes[1].kill().await;
    cluster.nodes[1].restart().await;
    cluster.is_complete().await;
}
