//! The only code that awaits IO: it carries packets between a session and the wire, and decides nothing.

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

use std::{sync::Arc, time::Duration};

use super::Connection;

pub use self::error::TransportError;
use self::packet_io::PacketIo;
pub(crate) use self::{
    driver::Driver,
    packet_io::Foreign,
    polling::{PollFuture, PostFuture, watch},
    served::{Activity, InUse, ServedIo},
    turnstile::Turnstile,
    upgrade::{BadUpgrade, WebSocketUpgrade, is_extended_connect, is_websocket_request},
};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    //! What the fuzz target of the WebSocket decoder needs.

    pub(crate) use super::websocket::fuzz::{Decoded, decode};
}

/// How long the peer may take to read the end of its connection.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Carries a new session over a transport of packets, until its end.
pub(crate) fn carry<T: PacketIo>(connection: Arc<Connection>, transport: T) -> Driver<T> {
    let mut driver = Driver::new(connection, transport);
    driver.begins = true;
    driver
}
