//! Engine.IO: sessions over long-polling, WebSocket and other streams. It knows no namespace, no room and no event.

mod proto;

pub(crate) use self::proto::{
    CloseCause, HandshakeQuery, MESSAGE_BYTE, OpenPacket, Outbox, PacketQueue, Payload, PayloadDecoder, ProbeStep,
    Receipt, Refusal, Session, Timing, WireFormat, encode_payload, error_body, generate_id,
};
pub use self::proto::{Packet, PacketError, PacketKind, PacketPayload, Protocol, Transport};
