use axum::extract::ConnectInfo;
use http::{Method, Request, request::Parts};
use hyper::body::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
};
use tower_socketio::{SocketIo, engine::AcceptError};

use super::{json, soon};

/// A client on a stream of WebTransport. Its codec is independent of the server's.
pub struct WebTransport<Io = DuplexStream> {
    io: Io,
}

/// The result of serving a stream.
pub type Served = JoinHandle<Result<(), AcceptError>>;

/// The request of a client in a browser.
pub fn connect_request() -> Parts {
    let peer = std::net::SocketAddr::from(([192, 0, 2, 1], 4433));
    let request = Request::builder().method(Method::CONNECT).uri("https://example.com/socket.io/");
    let request = request.header("origin", "https://example.com").extension(ConnectInfo(peer));
    request.body(()).expect("a request").into_parts().0
}

impl WebTransport {
    /// Connects. The caller sends and reads all packets.
    pub fn stream(io: &SocketIo) -> (Self, Served) {
        Self::stream_with(io, connect_request())
    }

    /// Connects with this request.
    pub fn stream_with(io: &SocketIo, request: Parts) -> (Self, Served) {
        let (io, (ours, theirs)) = (io.clone(), duplex(1 << 20));
        let served = tokio::spawn(async move { io.accept_webtransport(request, theirs).await });
        (Self::new(ours), served)
    }

    /// Opens a session and joins the default namespace.
    pub async fn join(io: &SocketIo) -> (Self, Served) {
        let (mut client, served) = Self::stream(io);
        client.open_session().await;
        (client, served)
    }

    /// Begins to upgrade a session.
    pub async fn upgrade(io: &SocketIo, sid: &str) -> (Self, Served) {
        let (mut client, served) = Self::stream(io);
        client.say(&format!(r#"0{{"sid":"{sid}"}}"#)).await;
        (client, served)
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> WebTransport<Io> {
    pub fn new(io: Io) -> Self {
        Self { io }
    }

    /// Opens a session and joins the default namespace.
    pub async fn open_session(&mut self) -> serde_json::Value {
        self.say("0").await;
        let open = self.text().await;
        assert!(open.starts_with("0{"), "{open}");
        self.say("40").await;
        let connect = self.text().await;
        assert!(connect.starts_with(r#"40{"sid":""#), "{connect}");
        json(&open)
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: &[u8]) {
        soon(self.io.write_all(bytes)).await.expect("the stream is open");
    }

    pub async fn say(&mut self, text: &str) {
        self.send(0, text.as_bytes()).await;
    }

    pub async fn binary(&mut self, data: &[u8]) {
        self.send(0x80, data).await;
    }

    async fn send(&mut self, flag: u8, payload: &[u8]) {
        let length = payload.len();
        let header = match length {
            0..126 => vec![flag | length as u8],
            126..65_536 => [&[flag | 126][..], &(length as u16).to_be_bytes()].concat(),
            _ => [&[flag | 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        self.raw(&[&header, payload].concat()).await;
    }

    /// Ends the client's side.
    pub async fn finish(&mut self) {
        self.io.shutdown().await.expect("the stream is open");
    }

    /// Returns the next frame: whether it is binary, and its payload. `None` is the end of the stream.
    #[track_caller]
    pub fn frame(&mut self) -> impl Future<Output = Option<(bool, Bytes)>> {
        soon(async {
            let first = self.io.read_u8().await.ok()?;
            let length = match first & 0x7f {
                126 => self.io.read_u16().await.expect("a length").into(),
                127 => self.io.read_u64().await.expect("a length"),
                length => length.into(),
            };
            let mut payload = vec![0; usize::try_from(length).expect("a length")];
            self.io.read_exact(&mut payload).await.expect("a payload");
            Some((first & 0x80 != 0, payload.into()))
        })
    }

    /// Returns the next frame, which must be text.
    pub async fn text(&mut self) -> String {
        match self.frame().await.expect("the stream is open") {
            (false, text) => String::from_utf8(text.to_vec()).expect("UTF-8"),
            (true, data) => panic!("expected text, got {data:?}"),
        }
    }

    #[track_caller]
    pub fn expect(&mut self, text: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.text().await, text, "at {caller}") }
    }

    /// Checks that the server has ended the stream.
    #[track_caller]
    pub fn expect_end(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.frame().await, None, "at {caller}") }
    }
}
