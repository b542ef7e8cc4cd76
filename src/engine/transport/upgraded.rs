use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::upgrade::{Parts, Upgraded};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::engine::relay::Line;

use super::{
    served::{InUse, ServedIo},
    websocket::Duplex,
};

/// The maximum size of a write to a stream that is not TCP. On an HTTP/2 stream, hyper copies two writes before it waits for the
/// peer's window, and keeps them until the window opens or the connection ends, even if the stream has been dropped.
const OTHER_WRITE: usize = 16 * 1024;

/// A connection that the HTTP server has handed over.
#[derive(Debug)]
pub(super) enum UpgradedIo {
    /// Unwrapped from the types of the HTTP server.
    Tcp(TcpStream),
    Other(Box<Other>),
}

/// An HTTP/2 stream, or a connection of an unknown type.
#[derive(Debug)]
pub(super) struct Other {
    io: OtherIo,
    /// Keeps the HTTP/2 connection of the stream open.
    _in_use: Option<Arc<InUse>>,
}

#[derive(Debug)]
enum OtherIo {
    Http(TokioIo<Upgraded>),
    /// The connection is that of another node of the cluster.
    Relayed(Line),
}

impl UpgradedIo {
    /// Takes over a connection of another node.
    pub(super) fn relayed(line: Line) -> Self {
        Self::Other(Box::new(Other { io: OtherIo::Relayed(line), _in_use: None }))
    }

    /// Takes over a connection from the HTTP server. Also returns the bytes that have been read already.
    pub(super) fn new(upgraded: Upgraded, in_use: Option<Arc<InUse>>) -> (Self, Bytes) {
        // In turn: `SocketIoService::serve`, axum's server, and hyper's.
        let upgraded = match auto::upgrade::downcast::<ServedIo>(upgraded) {
            Ok(auto::upgrade::Parts { io, read_buf, .. }) => return (Self::Tcp(io.into_tcp()), read_buf),
            Err(upgraded) => upgraded,
        };
        let upgraded = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(auto::upgrade::Parts { io, read_buf, .. }) => return (Self::Tcp(io.into_inner()), read_buf),
            Err(upgraded) => upgraded,
        };
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(Parts { io, read_buf, .. }) => (Self::Tcp(io.into_inner()), read_buf),
            Err(upgraded) => {
                let other = Other { io: OtherIo::Http(TokioIo::new(upgraded)), _in_use: in_use };
                (Self::Other(Box::new(other)), Bytes::new())
            }
        }
    }
}

macro_rules! forward {
    ($self:ident, $io:ident => $result:expr) => {
        match $self.get_mut() {
            Self::Tcp(tcp) => {
                let $io = Pin::new(tcp);
                $result
            }
            Self::Other(other) => match &mut other.io {
                OtherIo::Http(io) => {
                    let $io = Pin::new(io);
                    $result
                }
                OtherIo::Relayed(line) => {
                    let $io = Pin::new(line);
                    $result
                }
            },
        }
    };
}

impl Duplex for UpgradedIo {
    fn is_shut_down_by_drop(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

impl AsyncRead for UpgradedIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_read(cx, buffer))
    }
}

impl AsyncWrite for UpgradedIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Other(other) => {
                let bytes = &bytes[..bytes.len().min(OTHER_WRITE)];
                match &mut other.io {
                    OtherIo::Http(io) => Pin::new(io).poll_write(cx, bytes),
                    OtherIo::Relayed(line) => Pin::new(line).poll_write(cx, bytes),
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_shutdown(cx))
    }
}
