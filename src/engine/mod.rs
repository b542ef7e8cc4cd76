//! Engine.IO without Socket.IO: sessions over long-polling, WebSocket and other streams.
//!
//! An [`EngineIoLayer`] serves a custom protocol to clients of `engine.io-client`. Its [`Handler`] exchanges text and binary
//! messages with each client; the engine implements transports, heartbeat, upgrade and limits.
//! [`SocketIoLayer`](crate::SocketIoLayer) serves Socket.IO, which is such a protocol.
//!
//! It implements revision 4 of the [Engine.IO protocol], and revision 3 if
//! [`allow_eio3`](EngineIoConfig::allow_eio3) is set.
//!
//! [Engine.IO protocol]: https://github.com/socketio/engine.io-protocol

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
    http::{Counts, EngineBody, EngineFuture, HttpHooks},
    proto::{
        CloseCause, OpenPacket, Outbox, PacketOutcome, PacketQueue, Payload, PayloadDecoder, ProbeAction, RequestError,
        RequestQuery, Session, SessionConfig, V3_MESSAGE_TYPE, WireFormat, encode_payload, error_body, generate_id,
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
    http::{ClientAddress, ConnectionError, NotFound, Origins, ResponseBody},
    layer::{EngineIo, EngineIoFuture, EngineIoLayer, EngineIoService},
    proto::{Frame, Packet, PacketError, PacketType, ParseTransportError, ProtocolVersion, Transport},
    socket::{EngineSendError, EngineSocket},
    transport::TransportError,
};

#[cfg(any(test, fuzzing))]
pub(crate) use self::transport::fuzz;
