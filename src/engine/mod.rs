//! Engine.IO: sessions over long-polling, WebSocket and other streams, without Socket.IO.
//!
//! An [`EngineIoLayer`] serves a protocol of one's own to clients of `engine.io-client`: text and binary messages over the transport
//! that works, with heartbeat, upgrade and limits. Socket.IO is such a protocol; [`SocketIoLayer`](crate::SocketIoLayer) serves it.

mod config;
mod connection;
mod handler;
mod http;
mod layer;
mod message;
mod observe;
mod proto;
mod seam;
mod server;
mod shutdown;
mod socket;
mod transport;

pub(crate) use self::{
    config::{BadUpgrade, ConnectionTimeouts, engine_settings},
    connection::{Connect, Connection, Engine, SendError, Sent},
    http::{Answer, OwnBody},
    observe::ConnectionSpan,
    proto::{
        CloseCause, HandshakeQuery, MESSAGE_BYTE, OpenPacket, Outbox, PacketQueue, Payload, PayloadDecoder, ProbeStep,
        Receipt, Refusal, Session, Timing, WireFormat, encode_payload, error_body, generate_id,
    },
    seam::{Direct, HeldInput, Peer, Reader},
    transport::{Activity, CLOSE_TIMEOUT, InUse, ServedIo},
};
pub use self::{
    config::{ClientAddress, ConnectionError, EngineIoConfig, Origins},
    connection::ConnectionRequest,
    handler::{CloseReason, Handler, SessionHandler},
    http::{NotFound, ResponseBody},
    layer::{EngineIo, EngineIoFuture, EngineIoLayer, EngineIoService},
    message::Message,
    proto::{Packet, PacketError, PacketKind, PacketPayload, Protocol, Transport},
    socket::{EngineSendError, EngineSocket},
    transport::TransportError,
};

#[cfg(any(test, fuzzing))]
pub(crate) use self::transport::fuzz;
