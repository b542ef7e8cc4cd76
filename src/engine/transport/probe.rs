use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::time::sleep;

use crate::engine::{Connection, Packet, ProbeAction, Transport};

use super::TransportError;

/// Probes a WebSocket for a session on long-polling. Returns `true` if the session has been upgraded.
///
/// Engine.IO protocol 4, section "Upgrade". The session does not change before the client's `5`, whatever the WebSocket does.
pub(super) async fn probe<T>(connection: &Arc<Connection>, transport: &mut T) -> bool
where
    T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError> + Unpin,
{
    let mut timeout = pin!(sleep(connection.engine.config.upgrade_timeout));
    // The timeout has passed, or the session has ended.
    let mut is_over = |cx: &mut Context<'_>| connection.watch_probe(cx.waker()) || timeout.as_mut().poll(cx).is_ready();
    loop {
        let packet = poll_fn(|cx| match is_over(cx) {
            true => Poll::Ready(None),
            false => Pin::new(&mut *transport).poll_next(cx),
        });
        let Some(Ok(packet)) = packet.await else {
            return false;
        };
        match connection.update(|session| session.probe_packet(&packet)) {
            ProbeAction::Send(reply) => {
                let mut sending = pin!(send(transport, reply));
                let sent = poll_fn(|cx| match is_over(cx) {
                    true => Poll::Ready(false),
                    false => sending.as_mut().poll(cx).map(|sent| sent.is_ok()),
                });
                if !sent.await {
                    return false;
                }
            }
            ProbeAction::Upgrade => {
                connection.engine.meters.upgraded(connection.wire_format.protocol);
                connection.change_driver();
                if let Some(peer) = connection.peer() {
                    peer.upgraded(Transport::WebSocket);
                }
                return true;
            }
            ProbeAction::Close => return false,
        }
    }
}

async fn send<T>(transport: &mut T, packet: Packet) -> Result<(), TransportError>
where
    T: Sink<Packet, Error = TransportError> + Unpin,
{
    poll_fn(|cx| Pin::new(&mut *transport).poll_ready(cx)).await?;
    Pin::new(&mut *transport).start_send(packet)?;
    poll_fn(|cx| Pin::new(&mut *transport).poll_flush(cx)).await
}
