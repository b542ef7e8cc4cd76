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

mod accept;
mod accept_error;
mod config;
mod connection;
mod handler;
mod http;
mod layer;
mod message;
mod observe;
mod proto;
mod relay;
mod relayed;
mod seam;
mod server;
mod shutdown;
mod socket;
mod transport;
mod webtransport;

#[cfg(feature = "permessage-deflate")]
pub use self::config::PerMessageDeflate;
#[cfg(feature = "metrics")]
pub(crate) use self::observe::has_recorder;
pub use self::{
    accept_error::AcceptError,
    config::{ClientAddress, ConnectionError, EngineIoConfig, Origins, SameSite, SessionCookie},
    connection::ConnectionRequest,
    handler::{CloseReason, Handler, SessionHandler},
    http::{NotFound, ResponseBody},
    layer::{EngineIo, EngineIoFuture, EngineIoLayer, EngineIoService},
    message::Message,
    proto::{Frame, Packet, PacketError, PacketType, ParseTransportError, ProtocolVersion, Transport},
    socket::{EngineSendError, EngineSocket},
    transport::TransportError,
};
pub(crate) use self::{
    config::{ConnectionTimeouts, UpgradeError, engine_settings},
    connection::{Connect, Connection, Engine, Outlet, SendError, Sent, Wakeups},
    http::{EngineBody, EngineFuture},
    observe::ConnectionSpan,
    proto::{
        CloseCause, OpenPacket, Outbox, PacketOutcome, PacketQueue, Payload, PayloadDecoder, ProbeAction, RequestError,
        RequestQuery, Session, SessionConfig, V3_MESSAGE_TYPE, WireFormat, encode_payload, error_body, generate_id,
    },
    relay::{NodeId, Relay},
    seam::{Direct, HeldInput, Peer, Reader},
    transport::{Activity, CLOSE_TIMEOUT, InUse, ServedIo},
};

#[cfg(any(test, fuzzing))]
pub(crate) use self::{relay::fuzz as relay_fuzz, transport::fuzz};
