//! Transports: they move packets between a session and the network. The only code of the engine that awaits IO.

mod driver;
mod error;
mod packet_io;
mod polling;
mod probe;
mod served;
mod turnstile;
mod upgrade;
mod upgraded;
mod websocket;

use std::time::Duration;

pub use self::error::TransportError;
use self::packet_io::PacketIo;
pub(crate) use self::{
    driver::Driver,
    packet_io::Foreign,
    polling::{PollFuture, PostFuture, keep_time},
    served::{Activity, InUse, ServedIo},
    turnstile::Turnstile,
    upgrade::{UpgradeError, WebSocketUpgrade, is_extended_connect, is_websocket_request},
};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    //! Re-exports for the fuzz target of the WebSocket decoder.

    pub(crate) use super::websocket::fuzz::{Decoded, decode};
}

/// How long the peer may take to close its side of a connection.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
