use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use hyper::{body::Bytes, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        handshake::client::Response,
        protocol::{Role, WebSocketConfig},
    },
};

use tower_socketio::SocketIoService;

use super::{json, soon};

/// What a client receives over a WebSocket.
#[derive(Debug, PartialEq)]
pub enum Frame {
    Text(String),
    Binary(Bytes),
    /// A close frame, with its code if it has one. The end of the connection without a close frame is 1006.
    Close(Option<u16>),
}

/// A client over WebSocket.
pub struct WebSocket<Io = TcpStream> {
    pub stream: WebSocketStream<Io>,
    pub sid: String,
    pub response: Response,
}

impl WebSocket {
    /// Opens a WebSocket to a target. Reads nothing.
    pub async fn raw(address: SocketAddr, target: &str, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("the socket is open");
        let mut request = format!("ws://{address}{target}").into_client_request().expect("the target is well formed");
        for (name, value) in headers {
            let value = value.parse().expect("a header value");
            // There is one key. Other headers may be repeated.
            match *name {
                "sec-websocket-key" => drop(request.headers_mut().insert(*name, value)),
                name => drop(request.headers_mut().append(name, value)),
            }
        }
        let (stream, response) = soon(client_async_with_config(request, stream, Some(config()))).await?;
        let (parts, _) = response.into_parts();
        Ok(Self { stream, sid: String::new(), response: Response::from_parts(parts, None) })
    }

    /// Opens a session.
    pub async fn open(address: SocketAddr) -> Self {
        Self::open_with(address, "", &[]).await
    }

    /// Opens a session with further query parameters, which begin with `&`, and with headers.
    pub async fn open_with(address: SocketAddr, query: &str, headers: &[(&'static str, &str)]) -> Self {
        let target = format!("/socket.io/?EIO=4&transport=websocket{query}");
        let mut client = Self::raw(address, &target, headers).await.expect("the WebSocket opens");
        let open = client.text().await;
        client.sid = json(open.strip_prefix('0').expect("a handshake"))["sid"].as_str().expect("a sid").to_owned();
        client
    }

    /// Opens a session and joins a namespace: `40`, or `40/name,{auth}`. Returns the id of the socket.
    pub async fn join(address: SocketAddr, connect: &str) -> (Self, String) {
        let mut client = Self::open(address).await;
        let id = client.connect(connect).await;
        (client, id)
    }
}

impl WebSocket<DuplexStream> {
    /// Opens a session over a pipe in memory, for tests with a paused clock.
    pub async fn open_in_memory(service: SocketIoService) -> Self {
        let (client, server) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            let service = TowerToHyperService::new(service);
            let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
            let _ = connection.with_upgrades().await;
        });
        let target = "ws://localhost/socket.io/?EIO=4&transport=websocket";
        let opened = client_async_with_config(target, client, Some(config())).await;
        let (stream, response) = opened.expect("the WebSocket opens");
        let (parts, _) = response.into_parts();
        let mut client = Self { stream, sid: String::new(), response: Response::from_parts(parts, None) };
        assert!(client.text().await.starts_with("0{"));
        client
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(None).max_frame_size(None).write_buffer_size(0)
}

impl<Io: AsyncRead + AsyncWrite + Unpin> WebSocket<Io> {
    /// A WebSocket on a stream that was opened by other means, with this response.
    #[cfg_attr(not(feature = "http2"), expect(dead_code))]
    pub async fn over(stream: Io, response: Response) -> Self {
        let stream = WebSocketStream::from_raw_socket(stream, Role::Client, Some(config())).await;
        Self { stream, sid: String::new(), response }
    }

    /// Joins a namespace, and returns the id of the socket.
    pub async fn connect(&mut self, connect: &str) -> String {
        self.say(connect).await;
        let reply = self.text().await;
        let prefix = connect.split_once(',').map_or(connect, |(prefix, _)| prefix).split('{').next().unwrap_or("40");
        assert!(reply.starts_with(prefix), "{reply}");
        json(&reply)["sid"].as_str().unwrap_or_else(|| panic!("refused: {reply}")).to_owned()
    }

    pub async fn say(&mut self, text: &str) {
        soon(self.stream.send(Message::text(text))).await.expect("the connection is open");
    }

    pub async fn say_binary(&mut self, data: &[u8]) {
        soon(self.stream.send(Message::binary(data.to_vec()))).await.expect("the connection is open");
    }

    /// Sends a message, and ignores errors.
    pub async fn try_send(&mut self, message: Message) {
        let _ = soon(self.stream.send(message)).await;
    }

    pub async fn frame(&mut self) -> Frame {
        loop {
            return match soon(self.stream.next()).await {
                Some(Ok(Message::Text(text))) => Frame::Text(text.as_str().to_owned()),
                Some(Ok(Message::Binary(data))) => Frame::Binary(data),
                Some(Ok(Message::Close(frame))) => Frame::Close(frame.map(|frame| frame.code.into())),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Err(_)) | None => Frame::Close(Some(1006)),
            };
        }
    }

    pub async fn text(&mut self) -> String {
        match self.frame().await {
            Frame::Text(text) => text,
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// Returns the next text that is not a ping.
    pub async fn text_but_pings(&mut self) -> String {
        loop {
            let text = self.text().await;
            if text != "2" {
                return text;
            }
        }
    }

    /// Expects this text among the next few.
    pub async fn expect_within(&mut self, texts: usize, text: &str) {
        for _ in 0..texts {
            if self.text().await == text {
                return;
            }
        }
        panic!("no {text} among {texts} texts");
    }

    /// Expects this text next.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.frame().await, Frame::Text(text.to_owned()), "at {caller}") }
    }

    /// Expects this binary message next.
    #[track_caller]
    pub fn expect_binary(&mut self, data: &[u8]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.frame().await, Frame::Binary(Bytes::copy_from_slice(data)), "at {caller}") }
    }

    /// Expects that the server closes as it does after a protocol violation: without a code.
    #[track_caller]
    pub fn expect_close(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.frame().await, Frame::Close(None), "at {caller}") }
    }

    /// Checks that no packet is in flight, by a CONNECT to a namespace that does not exist, which is answered at once.
    #[track_caller]
    pub fn is_quiet(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            self.say("40/is-it-quiet").await;
            let expected = r#"44/is-it-quiet,{"message":"Invalid namespace"}"#;
            assert_eq!(self.frame().await, Frame::Text(expected.to_owned()), "at {caller}");
        }
    }
}
