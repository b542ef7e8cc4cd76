//! The only code that awaits IO: it carries packets between a session and the wire, and decides nothing.

mod driver;
mod error;
mod polling;
mod probe;
mod upgrade;
mod upgraded;
mod websocket;

use std::{sync::Arc, time::Duration};

use futures_core::Stream;
use futures_sink::Sink;

use crate::{connection::Connection, engine::Packet};

use self::driver::SendNow;
pub use self::error::TransportError;
pub(crate) use self::{
    driver::Driver,
    polling::{PollFuture, PostFuture, watch},
    upgrade::{BadUpgrade, WebSocketUpgrade, is_extended_connect, is_websocket_request},
};

/// How long the peer may take to read the end of its connection.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Carries a new session over a transport of packets, until its end.
pub(crate) fn carry<T>(connection: Arc<Connection>, transport: T, send_now: Option<SendNow<T>>) -> Driver<T>
where
    T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
{
    let mut driver = Driver::new(connection, transport, send_now);
    driver.begins = true;
    driver
}
