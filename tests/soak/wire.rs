//! Clients that use few resources: they send bytes, and implement only as much of the protocols as is needed.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpSocket, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CONTINUATION: u8 = 0;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
const BUFFER: u32 = 64 * 1024;
const CLOSE: u8 = 8;
const LAST: u8 = 0x80;

/// The header of a client's frame, with a masking key of zeros.
pub fn head(opcode: u8, is_last: bool, length: usize) -> Vec<u8> {
    let mut head = vec![opcode | if is_last { LAST } else { 0 }];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => head.push(0x80 | length),
        (_, Ok(length)) => {
            head.push(0x80 | 126);
            head.extend(length.to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend((length as u64).to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}

pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, true, payload.len());
    frame.extend(payload);
    frame
}

pub fn text(packet: &str) -> Vec<u8> {
    frame(TEXT, packet.as_bytes())
}

/// A connection, and the data that was read ahead.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

fn ended() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // The receive buffers of real clients are on other machines, and do not count as TCP memory of the server.
        socket.set_recv_buffer_size(BUFFER)?;
        socket.set_send_buffer_size(BUFFER)?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 { Err(ended()) } else { Ok(()) }
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Splits the connection into its two directions. Data that was read ahead is discarded.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        self.stream.split()
    }

    /// Reads an HTTP head.
    pub async fn http_head(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.take(end + 4).await?;
                return String::from_utf8(head).map_err(io::Error::other);
            }
            self.fill().await?;
        }
    }

    /// Reads a response: its status and its body.
    pub async fn answer(&mut self) -> io::Result<(u16, String)> {
        let head = self.http_head().await?.to_ascii_lowercase();
        let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(ended)?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let body = String::from_utf8(self.take(length).await?).map_err(io::Error::other)?;
        Ok((status, body))
    }

    pub async fn get(&mut self, target: &str) -> io::Result<(u16, String)> {
        self.send(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await?;
        self.answer().await
    }

    pub async fn post(&mut self, target: &str, body: &str) -> io::Result<(u16, String)> {
        let mut request = post_head(target, body.len());
        request.push_str(body);
        self.send(request.as_bytes()).await?;
        self.answer().await
    }

    /// Opens a WebSocket with an Engine.IO session.
    pub async fn websocket(address: SocketAddr, revision: u8) -> io::Result<Self> {
        Self::websocket_with(address, revision, "").await
    }

    pub async fn websocket_with(address: SocketAddr, revision: u8, headers: &str) -> io::Result<Self> {
        let mut wire = Self::connect(address).await?;
        let request = format!(
            "GET /socket.io/?EIO={revision}&transport=websocket HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        wire.send(request.as_bytes()).await?;
        if !wire.http_head().await?.starts_with("HTTP/1.1 101") {
            return Err(io::Error::other("no WebSocket"));
        }
        wire.message().await?;
        Ok(wire)
    }

    /// The same, and joins the namespace `/`.
    pub async fn joined(address: SocketAddr) -> io::Result<Self> {
        let mut wire = Self::websocket(address, 4).await?;
        wire.send(&text("40")).await?;
        wire.message().await?;
        Ok(wire)
    }

    /// Returns the next message. Answers pings of Engine.IO.
    pub async fn message(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let start = self.take(2).await?;
            let length = match start[1] {
                126 => u64::from(u16::from_be_bytes(self.take(2).await?.try_into().unwrap_or_default())),
                127 => u64::from_be_bytes(self.take(8).await?.try_into().unwrap_or_default()),
                length => u64::from(length),
            };
            let payload = self.take(usize::try_from(length).map_err(io::Error::other)?).await?;
            match start[0] & 0xf {
                CLOSE => return Err(ended()),
                TEXT if payload == b"2" => self.send(&text("3")).await?,
                TEXT | BINARY => return Ok(payload),
                _ => {}
            }
        }
    }
}

pub fn post_head(target: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n")
}

/// Opens a session over long-polling and joins `/`. Returns the target of its requests.
pub async fn open_polling(wire: &mut Wire) -> io::Result<String> {
    let (status, body) = wire.get("/socket.io/?EIO=4&transport=polling").await?;
    let sid = body.split('"').nth(3).filter(|_| status == 200).ok_or_else(ended)?;
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    wire.post(&target, "40").await?;
    wire.get(&target).await?;
    Ok(target)
}

/// Reads and discards data until the peer closes.
pub async fn swallow(from: &mut ReadHalf<'_>) -> io::Error {
    let mut buffer = [0; 16 * 1024];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) => return ended(),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}
