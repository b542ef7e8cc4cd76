//! Engine.IO: packets, payloads, and the session state machine. Pure: bytes in, bytes out, time as an argument.

mod base64;
mod dialect;
mod heartbeat;
mod open;
mod outbox;
mod packet;
mod payload;
mod query;
mod refusal;
mod session;
mod sid;

pub(crate) use self::{
    dialect::Dialect,
    open::Open,
    outbox::{Outbox, PacketQueue},
    packet::MESSAGE_BYTE,
    payload::{Payload, PayloadDecoder, encode_payload},
    query::HandshakeQuery,
    refusal::{Refusal, error_body},
    session::{CloseCause, ProbeStep, Receipt, Session, Timing},
    sid::generate_id,
};
pub use self::{
    packet::{Packet, PacketError, PacketKind, PacketPayload},
    query::Protocol,
};
