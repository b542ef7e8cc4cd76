use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::sleep;

use crate::engine::{Connection, Packet, ProbeAction};

use super::{TransportError, packet_io::PacketIo};

/// Probes a stream for a session on long-polling. Returns `true` if the session has been upgraded.
///
/// Engine.IO protocol 4, section "Upgrade". The session does not change before the client's `5`, whatever the stream does. Other
/// streams may be probed at the same time.
pub(crate) async fn probe<T: PacketIo + Unpin>(connection: &Arc<Connection>, transport: &mut T) -> bool {
    let mut timeout = pin!(sleep(connection.engine.config.upgrade_timeout));
    // The timeout has passed, or the session has ended or been upgraded to another stream.
    let mut is_over =
        |cx: &mut Context<'_>| connection.watch_probe(T::TRANSPORT, cx.waker()) || timeout.as_mut().poll(cx).is_ready();
    loop {
        let packet = poll_fn(|cx| match is_over(cx) {
            true => Poll::Ready(None),
            false => Pin::new(&mut *transport).poll_next(cx),
        });
        let Some(Ok(packet)) = packet.await else {
            return false;
        };
        match connection.probe_packet(T::TRANSPORT, &packet) {
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
                connection.engine.meters.upgraded(T::TRANSPORT, connection.wire_format.protocol);
                connection.change_driver();
                if let Some(peer) = connection.peer() {
                    peer.upgraded(T::TRANSPORT);
                }
                return true;
            }
            ProbeAction::Close => return false,
        }
    }
}

async fn send<T: PacketIo + Unpin>(transport: &mut T, packet: Packet) -> Result<(), TransportError> {
    poll_fn(|cx| Pin::new(&mut *transport).poll_ready(cx)).await?;
    Pin::new(&mut *transport).start_send(packet)?;
    poll_fn(|cx| Pin::new(&mut *transport).poll_flush(cx)).await
}
