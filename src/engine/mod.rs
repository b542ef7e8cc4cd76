//! Engine.IO: sessions over long-polling, WebSocket and other streams, without Socket.IO.
//!
//! An [`EngineIoLayer`] serves a protocol of one's own to clients of `engine.io-client`: text and binary messages over the transport
//! that works, with heartbeat, upgrade and limits. Socket.IO is such a protocol; [`SocketIoLayer`](crate::SocketIoLayer) serves it.

mod config;
mod connection;
mod handler;
mod http;
mod layer;
mod observe;
mod proto;
mod seam;
mod server;
mod settings;
mod shutdown;
mod socket;
mod transport;

pub(crate) use self::{
    config::ConnectionTimeouts,
    connection::{Connection, HeldInput, SendError, Sent},
    http::{Answer, Counts, HttpHooks, OwnBody},
    proto::{
        CloseCause, HandshakeQuery, MESSAGE_BYTE, OpenPacket, Outbox, PacketQueue, Payload, PayloadDecoder, ProbeStep,
        Receipt, Refusal, Session, Timing, WireFormat, encode_payload, error_body, generate_id,
    },
    seam::{Connect, Direct, Peer, Reader},
    server::Engine,
    settings::engine_settings,
    transport::{Activity, CLOSE_TIMEOUT, InUse, ServedIo},
};
pub use self::{
    config::EngineIoConfig,
    connection::ConnectionRequest,
    handler::{CloseReason, Handler, Message, SessionHandler},
    http::{ClientAddress, ConnectionError, NotFound, Origins, ResponseBody, SameSite, SessionCookie},
    layer::{EngineIo, EngineIoFuture, EngineIoLayer, EngineIoService},
    proto::{Packet, PacketError, PacketKind, PacketPayload, Protocol, Transport},
    socket::{EngineSendError, EngineSocket},
    transport::TransportError,
};

#[cfg(any(test, fuzzing))]
pub(crate) use self::transport::fuzz;
