//! Graceful shutdown.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::util::FOREVER;

use super::{CLOSE_TIMEOUT, CloseCause, Connection, Engine, Peer};

/// How long an engine that closes waits for handlers before it closes their connections.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(4);

type Client = (Arc<Connection>, Arc<dyn Peer>);

impl Engine {
    /// Returns all connections, and those that have ended but whose handlers still run, with their peers.
    fn all_clients(&self) -> Vec<Client> {
        let client = |connection: Arc<Connection>| Some((connection.clone(), connection.peer()?));
        let mut all: Vec<_> = self.sessions.all().into_iter().filter_map(client).collect();
        all.extend(self.sessions.lingering());
        all
    }

    /// Closes all connections once their handlers have finished. Clients are told not to reconnect.
    pub(crate) async fn close(&self) {
        let clients = self.all_clients();
        clients.iter().for_each(|(_, peer)| peer.leave(true));
        self.wait_or_abort(&clients, true).await;
        self.close_relay().await;
    }

    /// Rejects new sessions and closes all connections, spread evenly over the duration.
    pub(crate) async fn drain(&self, duration: Duration) {
        self.draining.store(true, Ordering::SeqCst);
        let clients = self.all_clients();
        let (begin, duration) = (Instant::now(), duration.min(FOREVER));
        // `closed` clients have been closed, and the first `ended` of them have ended.
        let (mut closed, mut ended) = (0, 0);
        while closed < clients.len() {
            // At least one, so that rounding cannot stall the loop.
            let due = due_by(begin.elapsed(), duration, clients.len()).max(closed + 1);
            clients[closed..due].iter().for_each(|(_, peer)| peer.leave(false));
            closed = due;
            let next = begin + duration.mul_f64(closed as f64 / clients.len() as f64);
            // Stop early if all connections have ended.
            if self.until(next, self.wait_closed(&clients, &mut ended)).await.is_some() {
                break;
            }
        }
        // Sessions may have opened while the flag was being set.
        let all: Vec<_> = clients.into_iter().chain(self.all_clients()).collect();
        all.iter().for_each(|(_, peer)| peer.leave(false));
        self.wait_or_abort(&all, false).await;
        if let Some(relay) = &self.relay {
            // Polls for sessions of other nodes may end by themselves.
            self.until(begin + duration, relay.finished()).await;
            self.close_relay().await;
        }
    }

    /// Ends the requests that other nodes respond to, and waits until the responses to other nodes have been sent.
    async fn close_relay(&self) {
        if let Some(relay) = &self.relay {
            relay.close();
            self.until(Instant::now() + CLOSE_TIMEOUT, relay.finished()).await;
        }
    }

    /// Waits until connections and their handlers have ended. `ended` counts those at the beginning of the list that are known to
    /// have; it persists between calls, so that each connection is checked once.
    async fn wait_closed(&self, clients: &[Client], ended: &mut usize) {
        while let Some((connection, peer)) = clients.get(*ended) {
            let mut notified = pin!(self.ended.notified());
            // Notifications from here on are received.
            notified.as_mut().enable();
            if connection.has_ended() && !peer.is_busy() {
                *ended += 1;
            } else {
                notified.await;
            }
        }
    }

    /// Waits until connections and their handlers have ended. Closes connections whose handlers take too long, and aborts those
    /// that then do not close in time.
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

/// Returns how many of `all` connections must have been closed after `elapsed`, if they are spread evenly over `duration`.
fn due_by(elapsed: Duration, duration: Duration, all: usize) -> usize {
    match elapsed < duration {
        true => ((elapsed.as_secs_f64() / duration.as_secs_f64() * all as f64) as usize + 1).min(all),
        false => all,
    }
}
