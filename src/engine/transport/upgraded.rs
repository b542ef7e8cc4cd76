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

use super::served::{InUse, ServedIo};
/// The most that is written at once to what is not TCP. On a stream of HTTP/2, hyper copies two writes before it waits for the peer's
/// window, and keeps them until the window opens or the HTTP/2 connection ends, even if the stream has been dropped.
const OTHER_WRITE: usize = 16 * 1024;

/// A connection after its upgrade.
#[derive(Debug)]
pub(super) enum UpgradedIo {
    /// Without the layers that HTTP needed.
    Tcp(TcpStream),
    Other(Box<Other>),
}

/// A stream of HTTP/2, or a connection of another server than hyper's.
#[derive(Debug)]
pub(super) struct Other {
    io: TokioIo<Upgraded>,
    /// The connection that the stream is a part of is needed.
    _in_use: Option<Arc<InUse>>,
}

impl UpgradedIo {
    /// Takes the connection over from HTTP, with what has been read of it already.
    pub(super) fn new(upgraded: Upgraded, in_use: Option<Arc<InUse>>) -> (Self, Bytes) {
        // As our own server has it, as axum's has it, and as hyper's has it.
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
                let other = Other { io: TokioIo::new(upgraded), _in_use: in_use };
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
            Self::Other(other) => {
                let $io = Pin::new(&mut other.io);
                $result
            }
        }
    };
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
            Self::Other(other) => Pin::new(&mut other.io).poll_write(cx, &bytes[..bytes.len().min(OTHER_WRITE)]),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_shutdown(cx))
    }
}
