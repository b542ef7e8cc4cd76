//! Socket.IO packets: what stands in an Engine.IO message. Pure: bytes in, bytes out.
//!
//! Socket.IO protocol 5, section "Packet encoding".

mod args;
mod arity;
mod assemble;
mod bytes;
mod decode;
mod deep;
mod encode;
mod extractor;
mod json;
mod mend;
mod placeholders;
mod read;
mod resolver;
pub(crate) mod value;

pub use self::{
    args::{Args, Rest},
    decode::Limits,
    value::Value,
};
#[cfg(feature = "typed")]
pub(crate) use self::{
    arity::{Arity, arity},
    bytes::reclaim,
};
pub(crate) use self::{
    assemble::{Assembled, Assembler},
    decode::{DecodeError, EventPayload, Header, decode, read_header},
    deep::MAX_JSON_DEPTH,
    encode::{Encoded, EncodedArgs, Target, encode_ack, encode_args, encode_event, encode_simple},
    json::{Json, check_json, is_valid_json},
    mend::mend,
    read::{ArgsError, read_args, read_json, read_only_arg},
};
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
pub(crate) use self::{
    extractor::{ESCAPED, write_placeholder},
    json::string_length,
    placeholders::{PLACEHOLDER, Placeholders},
};

/// The type of a Socket.IO packet.
///
/// As wide as what stands beside it, like other enums that are moved with each event: seven bytes of padding would be
/// copied in pieces that overlap, and the processor waits for such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
    BinaryEvent,
    BinaryAck,
}

impl Kind {
    fn from_digit(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => Self::Connect,
            b'1' => Self::Disconnect,
            b'2' => Self::Event,
            b'3' => Self::Ack,
            b'4' => Self::ConnectError,
            b'5' => Self::BinaryEvent,
            b'6' => Self::BinaryAck,
            _ => return None,
        })
    }

    fn is_binary(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }
}

/// Names that the protocol uses itself; neither side may emit them.
///
/// The last two are Node's own, which its parser refuses.
pub(crate) const fn is_reserved(event: &[u8]) -> bool {
    matches!(
        event,
        b"connect" | b"connect_error" | b"disconnect" | b"disconnecting" | b"newListener" | b"removeListener"
    )
}
