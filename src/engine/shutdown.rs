//! Opening sessions over other transports, and the end of all sessions.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use http::request::Parts;
use tokio::time::Instant;

use crate::util::{FOREVER, log};

use super::{
    CLOSE_TIMEOUT, CloseCause, Connection, ConnectionRequest, Engine, HandshakeQuery, Packet, Peer, Protocol,
    Transport, TransportError, WireFormat, generate_id,
    transport::{Foreign, carry},
};

/// How long an engine that closes waits for handlers, before it closes their connections.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(4);

type Client = (Arc<Connection>, Arc<dyn Peer>);

impl Engine {
    /// Opens a connection over a transport of packets. The future carries it until its end. Returns `None` if the connection is refused.
    pub(crate) fn accept<T>(self: &Arc<Self>, request: Parts, transport: T) -> Option<impl Future<Output = ()>>
    where
        T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
    {
        let protocol = HandshakeQuery::parse(request.uri.query().unwrap_or_default()).protocol();
        let protocol = protocol.filter(|_| self.config.allow_eio3).unwrap_or(Protocol::V4);
        let id = match &self.config.generate_id {
            None => Some(generate_id()),
            Some(generate) => self.contained(|| generate(&request).into()),
        };
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            log!(warn, "a connection is not accepted: `generate_id` panicked, or its id is empty");
            return None;
        };
        let wire_format = WireFormat::plain(protocol);
        let Ok(request) = ConnectionRequest::new(request, usize::MAX) else {
            log!(warn, "a connection is not accepted: the target of its request cannot be kept");
            return None;
        };
        match Connection::open(self.clone(), id, request, Transport::Custom, wire_format, None) {
            Ok(connection) => Some(carry(connection, Foreign::new(transport))),
            Err(_) => {
                log!(warn, "a connection is not accepted: its id is taken, or the server is being drained");
                None
            }
        }
    }

    /// All connections that exist now, and those that have ended, but whose handlers run; each with its client.
    fn all_clients(&self) -> Vec<Client> {
        let client = |connection: Arc<Connection>| Some((connection.clone(), connection.peer()?));
        let mut all: Vec<_> = self.sessions.all().into_iter().filter_map(client).collect();
        all.extend(self.sessions.lingering());
        all
    }

    /// Closes all connections, once the handlers that run have ended. Clients are told not to come back.
    pub(crate) async fn close(&self) {
        let clients = self.all_clients();
        clients.iter().for_each(|(_, peer)| peer.leave(true));
        self.wait_or_abort(&clients, true).await;
    }

    /// Opens no session any more, and closes all connections, spread evenly over the duration.
    pub(crate) async fn drain(&self, duration: Duration) {
        self.draining.store(true, Ordering::SeqCst);
        let clients = self.all_clients();
        let (begin, duration) = (Instant::now(), duration.min(FOREVER));
        // Each connection has its moment; all before these have been closed, or are known to have ended.
        let (mut closed, mut ended) = (0, 0);
        while closed < clients.len() {
            // One at least, however the clock is rounded.
            let due = due_by(begin.elapsed(), duration, clients.len()).max(closed + 1);
            clients[closed..due].iter().for_each(|(_, peer)| peer.leave(false));
            closed = due;
            let next = begin + duration.mul_f64(closed as f64 / clients.len() as f64);
            // If all have left by themselves, there is nothing to wait for.
            if self.until(next, self.wait_closed(&clients, &mut ended)).await.is_some() {
                break;
            }
        }
        // Some may have opened while the flag was set.
        let all: Vec<_> = clients.into_iter().chain(self.all_clients()).collect();
        all.iter().for_each(|(_, peer)| peer.leave(false));
        self.wait_or_abort(&all, false).await;
    }

    /// Waits until connections and their handlers have ended. `ended` is how many of the first ones are known to have; as it is kept
    /// from one call to the next, each connection is looked at once.
    async fn wait_closed(&self, clients: &[Client], ended: &mut usize) {
        while let Some((connection, peer)) = clients.get(*ended) {
            let mut notified = pin!(self.ended.notified());
            // From here on no notification is missed.
            notified.as_mut().enable();
            if connection.has_ended() && !peer.is_busy() {
                *ended += 1;
            } else {
                notified.await;
            }
        }
    }

    /// Waits until connections and their handlers have ended. Closes those whose handlers take too long, and aborts those that take
    /// too long to close.
    async fn wait_or_abort(&self, clients: &[Client], for_good: bool) {
        let (begin, mut ended) = (Instant::now(), 0);
        if self.until(begin + HANDLER_TIMEOUT, self.wait_closed(clients, &mut ended)).await.is_some() {
            return;
        }
        clients.iter().for_each(|(_, peer)| peer.shut_down(for_good));
        if self.until(begin + CLOSE_TIMEOUT, self.wait_closed(clients, &mut ended)).await.is_none() {
            clients.iter().for_each(|(connection, _)| connection.abort(CloseCause::ShuttingDown));
        }
    }
}

/// How many of `all` connections, whose moments are spread evenly over a duration, are to be closed after this time.
fn due_by(elapsed: Duration, duration: Duration, all: usize) -> usize {
    match elapsed < duration {
        true => ((elapsed.as_secs_f64() / duration.as_secs_f64() * all as f64) as usize + 1).min(all),
        false => all,
    }
}
