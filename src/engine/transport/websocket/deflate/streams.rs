//! The compressor and the decompressor of a thread.

use std::cell::RefCell;

use bytes::Bytes;
use zlib_rs::{DeflateFlush, InflateFlush, Status};

/// The end of a flushed stream, which a message omits. RFC 7692, section 7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// How many bytes are decompressed at a time.
const CHUNK: usize = 16 * 1024;

/// The maximum size of a buffer that a thread keeps.
const KEPT: usize = 64 * 1024;

/// The largest window. What a client compresses with a smaller one can be decompressed with it.
const MAX_WINDOW_BITS: u8 = 15;

struct Compressor {
    stream: zlib_rs::Deflate,
    level: u8,
    window_bits: u8,
    output: Vec<u8>,
}

struct Decompressor {
    stream: zlib_rs::Inflate,
    output: Box<[u8]>,
}

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
}

/// Compresses a message. Returns `None` if that does not make it smaller.
pub(super) fn deflate(level: u8, window_bits: u8, plain: &[u8]) -> Option<Bytes> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        // Servers of a process may have different levels, and few clients ask for a smaller window.
        let is_fit = |known: &Compressor| known.level == level && known.window_bits == window_bits;
        if !compressor.as_ref().is_some_and(is_fit) {
            let stream = zlib_rs::Deflate::new(level.into(), false, window_bits);
            *compressor = Some(Compressor { stream, level, window_bits, output: Vec::new() });
        }
        compressor.as_mut()?.run(plain)
    })
}

impl Compressor {
    fn run(&mut self, plain: &[u8]) -> Option<Bytes> {
        // With a full buffer, the message would not be smaller.
        let limit = plain.len() + TAIL.len();
        if self.output.len() < limit {
            self.output.resize(limit, 0);
        }
        self.stream.reset();
        let result = self.stream.compress(plain, &mut self.output[..limit], DeflateFlush::SyncFlush);
        let length = usize::try_from(self.stream.total_out()).ok().filter(|length| *length < limit);
        let compressed = match (result, length) {
            (Ok(_), Some(length)) => self.output[..length].strip_suffix(&TAIL).map(Bytes::copy_from_slice),
            _ => None,
        };
        if self.output.len() > KEPT {
            self.output = Vec::new();
        }
        compressed
    }
}

/// Why a message cannot be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum InflateError {
    Corrupt,
    TooLarge,
}

/// Decompresses a message of at most `limit` bytes. Takes memory only for what has been decompressed.
pub(in super::super) fn inflate(compressed: &[u8], limit: usize) -> Result<Bytes, InflateError> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| {
        let decompressor = decompressor.get_or_insert_with(|| Decompressor {
            stream: zlib_rs::Inflate::new(false, MAX_WINDOW_BITS),
            output: vec![0; CHUNK].into(),
        });
        decompressor.run(compressed, limit)
    })
}

impl Decompressor {
    fn run(&mut self, compressed: &[u8], limit: usize) -> Result<Bytes, InflateError> {
        self.stream.reset(false);
        let mut plain = Vec::new();
        // A stream may end before its tail. The rest of the input is ignored then.
        if !self.feed(compressed, &mut plain, limit)? {
            self.feed(&TAIL, &mut plain, limit)?;
        }
        plain.shrink_to_fit();
        Ok(plain.into())
    }

    /// Decompresses some input. Returns `true` at the end of the stream.
    fn feed(&mut self, mut input: &[u8], plain: &mut Vec<u8>, limit: usize) -> Result<bool, InflateError> {
        loop {
            let (read, written) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.decompress(input, &mut self.output, InflateFlush::SyncFlush);
            let status = status.map_err(|_| InflateError::Corrupt)?;
            input = &input[(self.stream.total_in() - read) as usize..];
            let written = (self.stream.total_out() - written) as usize;
            if written > limit - plain.len() {
                return Err(InflateError::TooLarge);
            }
            if written > plain.capacity() - plain.len() {
                let capacity = (plain.len() + written).max(2 * plain.capacity()).min(limit);
                plain.reserve_exact(capacity - plain.len());
            }
            plain.extend_from_slice(&self.output[..written]);
            match status {
                Status::StreamEnd => return Ok(true),
                // There may be more output.
                Status::Ok | Status::BufError if written == self.output.len() => {}
                Status::Ok | Status::BufError => return Ok(false),
            }
        }
    }
}
