//! Encodes and writes frames of the server. RFC 6455, section 5.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// The size at which the buffer must be written before another frame is added.
const WRITE_BUFFER: usize = 32 * 1024;

/// How many bytes of a large payload are written before other tasks run.
const WRITE_TURN: usize = 128 * 1024;

/// Payloads of this size are not copied to the buffer.
pub(in crate::engine::transport) const LARGE_PAYLOAD: usize = 16 * 1024;

/// Frames that have not been written.
#[derive(Debug, Default)]
pub(in crate::engine::transport) struct Encoder {
    /// Taken from the thread while it is not empty.
    buffer: Vec<u8>,
    /// The number of bytes of `buffer` that have been written.
    written: usize,
    /// A large payload that follows the buffer. No frame can be added before it has been written.
    large: Option<Box<Bytes>>,
    blocked: bool,
    /// Bytes have been written since the last call of `take_written`.
    has_written: bool,
}

impl Encoder {
    /// Adds the frame of a message.
    pub(super) fn message(&mut self, opcode: u8, payload: &Bytes) {
        if payload.len() < LARGE_PAYLOAD {
            self.frame(opcode, payload);
        } else {
            self.header(opcode, payload.len());
            self.large = Some(Box::new(payload.clone()));
        }
    }

    /// Adds a frame.
    pub(super) fn frame(&mut self, opcode: u8, payload: &[u8]) {
        self.header(opcode, payload.len());
        self.buffer.extend_from_slice(payload);
    }

    fn header(&mut self, opcode: u8, length: usize) {
        debug_assert!(self.large.is_none(), "a frame was added without room");
        if self.buffer.capacity() == 0 {
            self.buffer = SPARE_BUFFER.take();
        }
        let first = 0x80 | opcode;
        match length {
            length @ ..126 => self.buffer.extend_from_slice(&[first, length as u8]),
            length @ 126..=0xffff => {
                let [high, low] = (length as u16).to_be_bytes();
                self.buffer.extend_from_slice(&[first, 126, high, low]);
            }
            length => {
                self.buffer.extend_from_slice(&[first, 127]);
                self.buffer.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
    }

    /// Adds bytes of a frame that another transport has encoded.
    pub(in crate::engine::transport) fn encoded(&mut self, bytes: &[u8]) {
        if self.buffer.capacity() == 0 {
            self.buffer = SPARE_BUFFER.take();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Adds a large payload after its header.
    pub(in crate::engine::transport) fn large(&mut self, payload: Bytes) {
        self.large = Some(Box::new(payload));
    }

    /// Returns `true` if another frame can be added.
    pub(in crate::engine::transport) fn has_room(&self) -> bool {
        self.buffer.len() < WRITE_BUFFER && self.large.is_none()
    }

    /// Returns `true` if bytes have been written since the last call.
    pub(in crate::engine::transport) fn take_written(&mut self) -> bool {
        std::mem::take(&mut self.has_written)
    }

    /// Returns `true` if the last write was incomplete.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Writes all frames. Lets other tasks run in between if they are large.
    pub(in crate::engine::transport) fn poll_write<Io: AsyncWrite + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.blocked = true;
        while self.written < self.buffer.len() {
            let rest = &self.buffer[self.written..];
            self.written += nonzero_write(ready!(Pin::new(&mut *io).poll_write(cx, rest))?)?;
            self.has_written = true;
        }
        let mut turn = 0;
        while let Some(large) = &mut self.large {
            if turn >= WRITE_TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let part = &large[..large.len().min(WRITE_TURN)];
            let written = nonzero_write(ready!(Pin::new(&mut *io).poll_write(cx, part))?)?;
            turn += written;
            large.advance(written);
            self.has_written = true;
            if large.is_empty() {
                self.large = None;
            }
        }
        self.blocked = false;
        if self.written > 0 {
            self.recycle();
        }
        Poll::Ready(Ok(()))
    }

    /// Returns the buffer to the thread.
    fn recycle(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.written = 0;
        if buffer.capacity() <= 2 * WRITE_BUFFER {
            buffer.clear();
            SPARE_BUFFER.set(buffer);
        }
    }
}

/// Turns a write of 0 bytes into an error.
fn nonzero_write(written: usize) -> io::Result<usize> {
    match written {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}

thread_local! {
    /// A buffer for reuse.
    static SPARE_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
