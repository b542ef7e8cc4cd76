use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    connection::Connection,
    engine::{Packet, ProbeStep, Session},
};

use super::TransportError;

/// How often a poll that has nothing to deliver is released, so that the client can leave long-polling.
const RELEASE_INTERVAL: Duration = Duration::from_millis(100);

/// Tries a WebSocket for a session that is on long-polling. Answers whether it carries the session from now on.
///
/// Engine.IO protocol 4, section "Upgrade". Until the client's `5` nothing changes for the session, whatever happens
/// here: the WebSocket may fail, fall silent or talk nonsense.
pub(super) async fn probe<T>(connection: &Arc<Connection>, transport: &mut T) -> bool
where
    T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError> + Unpin,
{
    let mut timeout = pin!(sleep(connection.server.settings.upgrade_timeout));
    let mut release = pin!(sleep(RELEASE_INTERVAL));
    loop {
        let packet = poll_fn(|cx| poll_packet(connection, transport, timeout.as_mut(), release.as_mut(), cx)).await;
        let Some(packet) = packet else {
            return false;
        };
        match connection.update(|session| session.probe_packet(&packet)) {
            ProbeStep::Reply(reply) => {
                connection.update(Session::probe_release_poll);
                if send(transport, reply).await.is_err() {
                    return false;
                }
            }
            ProbeStep::Upgraded => {
                connection.change_driver();
                return true;
            }
            ProbeStep::Fail => return false,
        }
    }
}

/// The next packet; `None` if there will be none, or the time is up, or the session has ended.
fn poll_packet<T>(
    connection: &Connection,
    transport: &mut T,
    timeout: Pin<&mut Sleep>,
    mut release: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<Option<Packet>>
where
    T: Stream<Item = Result<Packet, TransportError>> + Unpin,
{
    if connection.watch_probe(cx.waker()) || timeout.poll(cx).is_ready() {
        return Poll::Ready(None);
    }
    while release.as_mut().poll(cx).is_ready() {
        connection.update(Session::probe_release_poll);
        release.as_mut().reset(Instant::now() + RELEASE_INTERVAL);
    }
    let packet = ready!(Pin::new(transport).poll_next(cx));
    Poll::Ready(packet.and_then(Result::ok))
}

async fn send<T>(transport: &mut T, packet: Packet) -> Result<(), TransportError>
where
    T: Sink<Packet, Error = TransportError> + Unpin,
{
    poll_fn(|cx| Pin::new(&mut *transport).poll_ready(cx)).await?;
    Pin::new(&mut *transport).start_send(packet)?;
    poll_fn(|cx| Pin::new(&mut *transport).poll_flush(cx)).await
}
