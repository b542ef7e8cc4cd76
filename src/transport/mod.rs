//! The only code that awaits IO: it carries packets between a session and the wire, and decides nothing.

mod driver;
mod error;
mod polling;
mod probe;
mod upgrade;
mod websocket;

use std::time::Duration;

pub use self::error::TransportError;
pub(crate) use self::{
    polling::{PollFuture, PostFuture, watch},
    upgrade::{BadUpgrade, WebSocketUpgrade, is_websocket_request},
};

/// How long the peer may take to read the end of its connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
