//! The only code that awaits IO: it carries packets between a session and the wire, and decides nothing.

mod driver;
mod error;
mod polling;
mod probe;
mod upgrade;
mod upgraded;
mod websocket;

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use futures_core::Stream;
use futures_sink::Sink;

use crate::{connection::Connection, engine::Packet, namespace};

pub use self::error::TransportError;
pub(crate) use self::{
    polling::{PollFuture, PostFuture, watch},
    upgrade::{BadUpgrade, WebSocketUpgrade, is_extended_connect, is_websocket_request},
};

/// How long the peer may take to read the end of its connection.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Carries a new session over a transport of packets, until its end.
pub(crate) async fn carry<T>(connection: Arc<Connection>, transport: T)
where
    T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
{
    let driver = driver::Driver::new(connection.clone(), transport);
    poll_fn(|cx| {
        namespace::admit_implicitly(&connection, cx);
        Poll::Ready(())
    })
    .await;
    driver.await;
}
