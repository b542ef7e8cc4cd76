//! The only code that awaits IO: it carries packets between a session and the wire, and decides nothing.

mod driver;
mod error;
mod packet_io;
mod polling;
mod probe;
mod served;
mod upgrade;
mod upgraded;
mod websocket;

pub use self::error::TransportError;
pub(crate) use self::{
    driver::carry,
    packet_io::{CLOSE_TIMEOUT, Foreign},
    polling::{PollFuture, PostFuture, watch},
    served::{Activity, InUse, ServedIo},
    upgrade::{WebSocketUpgrade, is_extended_connect, is_websocket_request},
};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    //! What the fuzz target of the WebSocket decoder needs.

    pub(crate) use super::websocket::fuzz::{Decoded, decode};
}
