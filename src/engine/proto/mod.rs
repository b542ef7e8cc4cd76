//! Packets, payloads and the session state machine. Sans-io: bytes in, bytes out, time as an argument.

mod base64;
mod heartbeat;
mod maybe_shared;
mod open_packet;
mod outbox;
mod packet;
mod packet_error;
mod payload;
mod query;
mod request_error;
mod session;
mod sid;
mod transport;
mod wire_format;

pub(crate) use self::{
    open_packet::OpenPacket,
    outbox::{Outbox, PacketQueue},
    packet::V3_MESSAGE_TYPE,
    payload::{Payload, PayloadDecoder, encode_payload},
    query::RequestQuery,
    request_error::{RequestError, error_body},
    session::{CloseCause, PacketOutcome, ProbeAction, Session, SessionConfig},
    sid::generate_id,
    wire_format::WireFormat,
};
pub use self::{
    packet::{Frame, Packet, PacketType},
    packet_error::PacketError,
    query::ProtocolVersion,
    transport::{ParseTransportError, Transport},
};
