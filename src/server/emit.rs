//! Emitting with recovery: events are stamped, queued and recorded under the lock of the namespace's memory.

use std::{sync::Arc, task::Waker};

use crate::{
    engine::{SendError, Sent, Wakeups},
    packet::Encoded,
    recovery::{Scope, Stamp},
    room::{Recipients, Selection, SocketId},
    util::now,
};

use super::{
    recovery_session::RecoverySession,
    settings::SlowClientPolicy,
    state::{Memory, Remembered, Socket},
};

/// The result of a broadcast.
#[must_use]
pub(crate) struct Broadcast {
    wakeups: Wakeups,
    failed: Vec<(Arc<Socket>, SendError)>,
}

impl Broadcast {
    /// Wakes the drivers of the recipients. Must be called without a lock. Returns the sockets that did not get the event.
    pub(crate) fn wake(self) -> Vec<(Arc<Socket>, SendError)> {
        self.wakeups.wake();
        self.failed
    }
}

impl Memory {
    /// Emits an event to the client of a socket, wakes its driver and handles a slow client.
    ///
    /// If the socket has lost its connection and its client may return, the event is recorded. If the client has returned as
    /// another socket, that socket gets the event.
    pub(crate) fn emit(
        &self,
        socket: &Arc<Socket>,
        session: &RecoverySession,
        packet: &Encoded,
        volatile: bool,
    ) -> Result<(), SendError> {
        let mut state = self.lock();
        if let Some(buffered) = socket.buffer_unstamped(packet, volatile) {
            // Stamped when the socket joins.
            drop(state);
            return buffered.map(drop).inspect_err(|error| socket.on_send_error(*error));
        }
        let heir = if socket.is_lost() { Some(state.heir(session)?) } else { None };
        let recipient = heir.as_ref().map_or(Some(socket), Option::as_ref);
        // The client has returned: the event is for it, even if the new socket is rejected.
        let attempt = if heir.is_some() { None } else { session.attempt() };
        let scope = Scope::One { id: socket.id.clone(), attempt };
        let (sent, kept) = state.emit_to(recipient, scope, packet, volatile);
        drop(state);
        match sent {
            Ok(sent) => sent.waker.into_iter().for_each(Waker::wake),
            Err(error) => recipient.into_iter().for_each(|socket| socket.on_send_error(error)),
        }
        if let Some(heir) = heir.flatten() {
            heir.observe(packet);
        }
        kept
    }
}

impl Remembered {
    /// Stamps and records an event that was emitted to a socket before it joined. It is sent if the socket is accepted.
    pub(crate) fn stamp_buffered(&mut self, socket: &Socket, session: &RecoverySession, packet: &Encoded) -> Encoded {
        let now = now();
        let stamp = self.history.stamp(now, false);
        let stamped = self.history.stamped(stamp, packet);
        let attempt = session.key();
        if let Some(cursor) = attempt.and_then(|key| self.history.cursor(key)) {
            cursor.sent(stamp);
        }
        self.history.record(now, Scope::One { id: socket.id.clone(), attempt }, stamped.clone());
        stamped
    }

    /// Stamps an event, queues it for the recipients, and records it unless it is volatile.
    pub(crate) fn broadcast(
        &mut self,
        recipients: &Recipients<Arc<Socket>>,
        selection: &Selection,
        sender: Option<SocketId>,
        packet: &Encoded,
        volatile: bool,
    ) -> Broadcast {
        let now = now();
        let stamp = self.history.stamp(now, volatile);
        let stamped = self.history.stamped(stamp, packet);
        let mut broadcast = Broadcast { wakeups: Wakeups::collect(recipients.len()), failed: Vec::new() };
        for socket in recipients.iter() {
            match self.give(socket, stamp, &stamped, packet, volatile) {
                Ok(sent) => broadcast.wakeups.add(&socket.client.connection, sent),
                Err(error) => broadcast.failed.push((socket.clone(), error)),
            }
        }
        if !volatile {
            self.history.record(now, Scope::Selection { selection: selection.clone(), sender }, stamped);
        }
        broadcast
    }

    /// Returns the successor of a lost socket. `Ok(None)` means that the client is away and the event is recorded.
    fn heir(&self, session: &RecoverySession) -> Result<Option<Arc<Socket>>, SendError> {
        match self.live.get(&session.private_id) {
            None if self.history.is_away(now(), &session.private_id) => Ok(None),
            // It gets the event when it joins.
            Some(None) => Ok(None),
            Some(Some(heir)) if !heir.has_entered() => Ok(None),
            Some(Some(heir)) if !heir.was_dismissed() => Ok(Some(heir.clone())),
            Some(Some(_)) | None => Err(SendError::Closed),
        }
    }

    /// Sends an event to one socket and records it. Returns the result of sending, and the result for the caller of `emit`: an
    /// event that could not be sent is recorded if the client may return.
    fn emit_to(
        &mut self,
        recipient: Option<&Arc<Socket>>,
        scope: Scope,
        packet: &Encoded,
        volatile: bool,
    ) -> (Result<Sent, SendError>, Result<(), SendError>) {
        let now = now();
        let stamp = self.history.stamp(now, volatile);
        let stamped = self.history.stamped(stamp, packet);
        let sent = match recipient {
            Some(socket) => self.give(socket, stamp, &stamped, packet, volatile),
            None => Ok(Sent::default()),
        };
        let told = match (&sent, recipient) {
            (Err(error), Some(socket)) if !is_kept(socket, *error) => Err(*error),
            _ => Ok(()),
        };
        if told.is_ok() && !volatile {
            self.history.record(now, scope, stamped);
        }
        (sent, told)
    }

    /// Queues an event for a socket and notes the result in its session.
    fn give(
        &mut self,
        socket: &Arc<Socket>,
        stamp: Stamp,
        stamped: &Encoded,
        packet: &Encoded,
        volatile: bool,
    ) -> Result<Sent, SendError> {
        let key = socket.session.as_ref().and_then(|session| session.key());
        let mut cursor = key.and_then(|key| self.history.cursor(key));
        // If slow clients are disconnected, a client that missed an event gets no later one.
        if cursor.as_ref().is_some_and(|cursor| cursor.has_missed()) && lets_slow_clients_go(socket) {
            return Err(SendError::Closed);
        }
        let form = if cursor.is_some() { stamped } else { packet };
        let sent = socket.try_deliver(form, volatile);
        if let Some(cursor) = &mut cursor {
            match &sent {
                Ok(sent) if sent.queued => cursor.sent(stamp),
                Err(_) if !volatile => cursor.missed(stamp),
                Ok(_) | Err(_) => {}
            }
        }
        sent
    }
}

/// Returns `true` if an event that could not be sent to the socket is recorded.
fn is_kept(socket: &Socket, error: SendError) -> bool {
    let may_return = !socket.was_dismissed() && socket.session.as_ref().is_some_and(|session| session.is_kept());
    may_return && (error == SendError::Closed || lets_slow_clients_go(socket))
}

fn lets_slow_clients_go(socket: &Socket) -> bool {
    socket.client.server.settings.slow_client_policy == SlowClientPolicy::Disconnect
}
