//! Packets, payloads, and the state machine of a session. Pure: bytes in, bytes out, time as an argument.

mod base64;
mod heartbeat;
mod open_packet;
mod outbox;
mod packet;
mod packet_error;
mod payload;
mod query;
mod refusal;
mod session;
mod sid;
mod transport;
mod wire_format;

pub(crate) use self::{
    open_packet::OpenPacket,
    outbox::{Outbox, PacketQueue},
    packet::MESSAGE_BYTE,
    payload::{Payload, PayloadDecoder, encode_payload},
    query::HandshakeQuery,
    refusal::{Refusal, error_body},
    session::{CloseCause, ProbeStep, Receipt, Session, Timing},
    sid::generate_id,
    wire_format::WireFormat,
};
pub use self::{
    packet::{Packet, PacketKind, PacketPayload},
    packet_error::PacketError,
    query::Protocol,
    transport::Transport,
};
