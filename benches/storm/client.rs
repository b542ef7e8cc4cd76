//! Clients that cost little. They send the bytes of the JavaScript client, and look for fragments of what they receive.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::mpsc::UnboundedSender,
    time::{sleep, timeout},
};

const REQUEST: &[u8] =
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
// Frames with a mask of zeros.
const JOIN: &[u8] = b"\x81\x82\0\0\0\x0040";
const PONG: &[u8] = b"\x81\x81\0\0\0\x003";
const ECHO: &[u8] = b"\x81\x8e\0\0\0\x00420[\"echo\",17]";
const CLOSED: &[u8] = b"\x88\x80\0\0\0\0";
// The beginnings of frames.
const PING: &[u8] = b"\x81\x012";
const CLOSE: &[u8] = b"\x88";
/// The default of the JavaScript client for an attempt.
const ATTEMPT: Duration = Duration::from_secs(20);
/// The time between attempts of clients that connect at once.
const RETRY: Duration = Duration::from_millis(100);
const ECHO_INTERVAL: Duration = Duration::from_millis(50);

/// What all clients share.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// Where they connect.
    pub(crate) port: AtomicU16,
    /// Whether they wait before an attempt, as the JavaScript client does.
    pub(crate) wait: AtomicBool,
    /// The number of attempts that have failed.
    pub(crate) failures: AtomicUsize,
}

impl Clients {
    /// Connects, again whenever the connection is lost, and tells each time how long the client was without one.
    pub(crate) async fn run(self: Arc<Self>, index: usize, connected: UnboundedSender<Duration>) {
        // With one address, the kernel would search long for ports that are free.
        let source = Ipv4Addr::new(127, 0, 0, 2 + (index % 16) as u8);
        let mut lost = Instant::now();
        loop {
            let tcp = self.connect(source).await;
            if connected.send(lost.elapsed()).is_err() {
                return;
            }
            hold(tcp).await;
            lost = Instant::now();
        }
    }

    async fn connect(&self, source: Ipv4Addr) -> TcpStream {
        let mut failures = 0;
        loop {
            sleep(self.delay(failures)).await;
            if let Ok(Ok(tcp)) = timeout(ATTEMPT, join(source, self.port.load(Relaxed))).await {
                return tcp;
            }
            failures += 1;
            self.failures.fetch_add(1, Relaxed);
        }
    }

    /// Returns the delay before an attempt. That of the JavaScript client is a second, twice as much after each failure, up to five
    /// seconds, and random by a half.
    fn delay(&self, failures: i32) -> Duration {
        match failures {
            _ if self.wait.load(Relaxed) => {
                Duration::from_secs_f64((2f64.powi(failures) * (0.5 + fastrand::f64())).min(5.0))
            }
            0 => Duration::ZERO,
            _ => RETRY,
        }
    }
}

/// Opens a connection that has joined the default namespace.
async fn join(source: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let mut tcp = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
    tcp.set_nodelay(true)?;
    tcp.write_all(REQUEST).await?;
    receive(&mut tcp, b"pingTimeout").await?;
    tcp.write_all(JOIN).await?;
    receive(&mut tcp, b"40{").await?;
    Ok(tcp)
}

/// Reads until a text has arrived. Fails if the server rejects the request, or closes the connection.
async fn receive(tcp: &mut TcpStream, text: &[u8]) -> io::Result<()> {
    let (mut received, mut length) = ([0; 1024], 0);
    while !received[..length].windows(text.len()).any(|part| part == text) {
        let read = tcp.read(&mut received[length..]).await?;
        length += read;
        if read == 0 || received.starts_with(CLOSE) || received.starts_with(b"HTTP/1.1 5") {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
    Ok(())
}

/// Answers pings until the server closes the connection.
async fn hold(mut tcp: TcpStream) {
    let mut received = [0; 64];
    while let Ok(1..) = tcp.read(&mut received).await {
        if received.starts_with(CLOSE) {
            tcp.write_all(CLOSED).await.ok();
            return;
        }
        if received.starts_with(PING) {
            tcp.write_all(PONG).await.ok();
        }
    }
}

/// Connects as soon as a server listens, and sends echoes until it closes the connection. Keeps the time of the slowest, in microseconds.
pub(crate) async fn probe(port: u16, slowest: Arc<AtomicU64>) -> io::Result<()> {
    let mut tcp = loop {
        match join(Ipv4Addr::LOCALHOST, port).await {
            Ok(tcp) => break tcp,
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    };
    loop {
        let begin = Instant::now();
        tcp.write_all(ECHO).await?;
        receive(&mut tcp, b"430[").await?;
        slowest.fetch_max(begin.elapsed().as_micros() as u64, Relaxed);
        sleep(ECHO_INTERVAL).await;
    }
}
