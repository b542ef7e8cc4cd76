//! Transports: they move packets between a session and the network. The only code of the engine that awaits IO.

mod driver;
mod error;
#[cfg(test)]
mod interleavings;
mod packet_io;
mod polling;
mod probe;
mod served;
mod upgrade;
mod upgraded;
mod websocket;

pub use self::error::TransportError;
pub(crate) use self::{
    driver::Driver,
    packet_io::{CLOSE_TIMEOUT, Foreign},
    polling::{PollFuture, PostFuture, keep_time},
    served::{Activity, InUse, ServedIo},
    upgrade::{WebSocketUpgrade, is_extended_connect, is_websocket_request},
};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    //! Re-exports for the fuzz target of the WebSocket decoder.

    #[cfg(feature = "permessage-deflate")]
    pub(crate) use super::websocket::fuzz::compressed_frame;
    pub(crate) use super::websocket::fuzz::{Decoded, decode};
}
