use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::upgrade::{Parts, Upgraded};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The most that is written at once to what is not TCP. On a stream of HTTP/2, hyper copies two writes before it waits for the peer's
/// window, and keeps them until the window opens or the HTTP/2 connection ends, even if the stream has been dropped.
const OTHER_WRITE: usize = 16 * 1024;

/// A connection after its upgrade.
#[derive(Debug)]
pub(super) enum UpgradedIo {
    /// Without the layers that HTTP needed.
    Tcp(TcpStream),
    Other(Box<TokioIo<Upgraded>>),
}

impl UpgradedIo {
    /// Takes the connection over from HTTP, with what has been read of it already.
    pub(super) fn new(upgraded: Upgraded) -> (Self, Bytes) {
        // As axum's server has it, and as hyper's own has it.
        let upgraded = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(auto::upgrade::Parts { io, read_buf, .. }) => return (Self::Tcp(io.into_inner()), read_buf),
            Err(upgraded) => upgraded,
        };
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(Parts { io, read_buf, .. }) => (Self::Tcp(io.into_inner()), read_buf),
            Err(upgraded) => (Self::Other(Box::new(TokioIo::new(upgraded))), Bytes::new()),
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
                let $io = Pin::new(other);
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
            Self::Other(other) => Pin::new(other).poll_write(cx, &bytes[..bytes.len().min(OTHER_WRITE)]),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_shutdown(cx))
    }
}
