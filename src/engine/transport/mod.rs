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
mod webtransport;

pub use self::error::TransportError;
pub(crate) use self::{
    driver::Driver,
    packet_io::{CLOSE_TIMEOUT, Foreign},
    polling::{PollFuture, PostFuture, keep_time},
    probe::probe,
    served::{Activity, InUse, ServedIo},
    upgrade::{WebSocketUpgrade, is_extended_connect, is_websocket_request},
    webtransport::WebTransport,
};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    //! Re-exports for the fuzz targets of the codecs.

    #[cfg(feature = "permessage-deflate")]
    pub(crate) use super::websocket::fuzz::compressed_frame;
    pub(crate) use super::{
        websocket::fuzz::{Decoded, decode},
        webtransport::fuzz::{decode as decode_webtransport, encode as encode_webtransport},
    };
}
