//! Compression of messages. RFC 7692.
//!
//! No context is kept from one message to the next, in either direction. So one compressor and one decompressor serve all connections of
//! a thread, and all recipients of a broadcast can get the same bytes.

mod offer;
mod streams;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::engine::{EngineIoConfig, Frame, Packet, ProtocolVersion, WireFormat};

pub(super) use self::streams::{InflateError, inflate};

/// The window of messages that are compressed, in bits. A smaller one is valid for every client that has not asked for less, and
/// without a context a larger one hardly saves anything.
const WINDOW_BITS: u8 = 12;

/// How many bytes are compressed before other tasks run, which takes about a millisecond.
const TURN: usize = 128 * 1024;

/// What client and server have agreed on about compression.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine::transport) struct Deflate {
    agreement: Option<Agreement>,
    /// The bytes that have been compressed since other tasks could run.
    compressed: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Agreement {
    threshold: u32,
    level: u8,
    /// The window that the client accepts, at most [`WINDOW_BITS`].
    window_bits: u8,
}

impl Deflate {
    /// Accepts the first acceptable offer of a client. Returns the header of the response, unless there is none.
    pub(in crate::engine::transport) fn negotiate(
        config: &EngineIoConfig,
        headers: &HeaderMap,
    ) -> (Self, Option<HeaderValue>) {
        let accepted = config.per_message_deflate.and_then(|config| Some((config, offer::accept(headers)?)));
        let Some((config, accepted)) = accepted else { return (Self::default(), None) };
        let agreement = Agreement {
            threshold: u32::try_from(config.threshold).unwrap_or(u32::MAX),
            level: config.level,
            window_bits: accepted.server_bits.map_or(WINDOW_BITS, |bits| bits.min(WINDOW_BITS)),
        };
        (Self { agreement: Some(agreement), compressed: 0 }, Some(accepted.response()))
    }

    /// Returns `true` if the client may compress messages.
    pub(super) fn is_agreed(&self) -> bool {
        self.agreement.is_some()
    }

    /// Returns `true` if a message of this size may be compressed.
    #[inline]
    pub(super) fn applies_to(&self, size: usize) -> bool {
        self.agreement.is_some_and(|agreement| size >= agreement.threshold as usize)
    }

    /// Returns the frame of a packet with its payload compressed. Returns `None` if it is sent as it is.
    #[inline]
    pub(super) fn compress(&mut self, packet: &Packet, wire_format: &WireFormat) -> Option<Frame> {
        let agreement = self.agreement.filter(|_| packet.may_be_compressed() && self.applies_to(packet.len()))?;
        self.compressed = self.compressed.saturating_add(u32::try_from(packet.len()).unwrap_or(u32::MAX));
        agreement.compress(packet, wire_format)
    }

    /// Returns `true` if so much has been compressed that other tasks should run, and begins another turn.
    #[inline]
    pub(super) fn ends_turn(&mut self) -> bool {
        let ends = self.compressed as usize >= TURN;
        if ends {
            self.compressed = 0;
        }
        ends
    }
}

impl Agreement {
    #[cold]
    fn compress(self, packet: &Packet, wire_format: &WireFormat) -> Option<Frame> {
        let is_common = !packet.is_binary() || wire_format.protocol == ProtocolVersion::V4 && !wire_format.base64;
        let deflate = |plain: &Bytes| match packet.deflated() {
            Some(shared) if is_common && self.window_bits == WINDOW_BITS => {
                shared.get_or_init(|| self.deflate(plain)).clone()
            }
            _ => self.deflate(plain),
        };
        let frame = match packet.text() {
            Some(text) => Frame::Text(text.clone()),
            None => wire_format.write_binary(packet.clone()),
        };
        match frame {
            Frame::Text(text) => deflate(&text).map(Frame::Text),
            Frame::Binary(data) => deflate(&data).map(Frame::Binary),
        }
    }

    fn deflate(self, plain: &[u8]) -> Option<Bytes> {
        streams::deflate(self.level, self.window_bits, plain)
    }
}
