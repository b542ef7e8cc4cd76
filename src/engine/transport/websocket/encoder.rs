//! Frames of the server's, on their way out. RFC 6455, section 5.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// What is gathered before it is written, unless it is flushed first.
const WRITE_BUFFER: usize = 32 * 1024;

/// How much is written before other tasks run.
const WRITE_TURN: usize = 128 * 1024;

/// A payload of this size is not copied behind the others.
pub(super) const LARGE_PAYLOAD: usize = 16 * 1024;

/// Frames that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    /// Borrowed from the thread while there is something in it.
    buffer: Vec<u8>,
    /// How much of it has been written.
    written: usize,
    /// A payload that follows the buffer; nothing can be added before it has been written.
    large: Option<Box<Bytes>>,
    blocked: bool,
    /// Something has been written since the driver asked last.
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
            self.buffer = SPARE.take();
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

    /// Whether another frame can be added before something is written.
    pub(super) fn has_room(&self) -> bool {
        self.buffer.len() < WRITE_BUFFER && self.large.is_none()
    }

    /// Returns whether something has been written since the last call.
    pub(super) fn take_written(&mut self) -> bool {
        std::mem::take(&mut self.has_written)
    }

    /// Whether the last attempt to write has left something.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Writes everything, in turns with other tasks if it is much.
    pub(super) fn poll_write<Io: AsyncWrite + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.blocked = true;
        while self.written < self.buffer.len() {
            let rest = &self.buffer[self.written..];
            self.written += some(ready!(Pin::new(&mut *io).poll_write(cx, rest))?)?;
            self.has_written = true;
        }
        let mut turn = 0;
        while let Some(large) = &mut self.large {
            if turn >= WRITE_TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let part = &large[..large.len().min(WRITE_TURN)];
            let written = some(ready!(Pin::new(&mut *io).poll_write(cx, part))?)?;
            turn += written;
            large.advance(written);
            self.has_written = true;
            if large.is_empty() {
                self.large = None;
            }
        }
        self.blocked = false;
        if self.written > 0 {
            self.give_back();
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the buffer back to the thread.
    fn give_back(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.written = 0;
        if buffer.capacity() <= 2 * WRITE_BUFFER {
            buffer.clear();
            SPARE.set(buffer);
        }
    }
}

/// What a writer that takes nothing means.
fn some(written: usize) -> io::Result<usize> {
    match written {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}

thread_local! {
    /// A buffer that nobody needs.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
