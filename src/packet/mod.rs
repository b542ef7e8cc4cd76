//! Socket.IO packets, which are sent as Engine.IO messages. Sans-io: bytes in, bytes out.
//!
//! Socket.IO protocol 5, section "Packet encoding".

use std::borrow::Cow;

mod args;
mod arity;
mod assemble;
mod attachment_resolver;
mod attachment_writer;
mod bytes;
mod decode;
mod deep;
mod encode;
mod forms;
mod json;
mod mend;
mod placeholders;
mod read;
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
    forms::Form,
    json::{Json, is_valid_json, is_within_depth, string_length},
    mend::mend,
    placeholders::Placeholders,
    read::{ArgsError, read_args, read_json, read_only_arg},
};
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
pub(crate) use self::{
    attachment_writer::{ESCAPED, write_placeholder},
    placeholders::PLACEHOLDER,
};

/// The type of a Socket.IO packet.
///
/// `repr(usize)` avoids seven padding bytes. The compiler copies those with overlapping stores, which stall store forwarding on
/// the hot path. Other enums that are moved with each event do the same.
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

/// Returns `true` if an event name is reserved, so that neither side may emit it.
///
/// The last two are events of Node's emitter, which Node's parser rejects.
pub(crate) const fn is_reserved(event: &[u8]) -> bool {
    matches!(
        event,
        b"connect" | b"connect_error" | b"disconnect" | b"disconnecting" | b"newListener" | b"removeListener"
    )
}

/// Checks the name of an event that a handler is added for. `connection` is not reserved, but a handler for it never runs.
#[track_caller]
pub(crate) fn assert_can_be_handled(event: &str) {
    let instead = match event {
        "connect" | "connection" => "`on_connect` is called when a client joins",
        "disconnect" => "`on_disconnect` is called when a socket is disconnected",
        "disconnecting" => "`Namespace::on_disconnecting` is called before a disconnected socket leaves its rooms",
        _ if is_reserved(event.as_bytes()) => "no client can emit it",
        _ => return,
    };
    panic!("`{event}` is reserved by the protocol: {instead}");
}

/// Returns the name with a leading slash.
pub(crate) fn normalize_name(name: &str) -> Cow<'_, str> {
    if name.starts_with('/') { name.into() } else { format!("/{name}").into() }
}
