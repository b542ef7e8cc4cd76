//! Emitting where the namespace remembers events: under its lock they are stamped, queued for their recipients and recorded.

use std::{borrow::Cow, sync::Arc, task::Waker};

use crate::{
    engine::{SendError, Sent},
    packet::Encoded,
    recovery::{RecoverySession, Scope, Stamp},
    room::{Recipients, Selection, SocketId},
    util::now,
};

use super::{
    settings::SlowClientPolicy,
    state::{Memory, Remembered, Socket},
};

/// What became of a broadcast.
#[derive(Default)]
#[must_use]
pub(crate) struct Broadcast {
    wakers: Vec<Waker>,
    failed: Vec<(Arc<Socket>, SendError)>,
}

impl Broadcast {
    /// Wakes the drivers of the recipients, once nothing is locked. Returns the sockets that did not get the event.
    pub(crate) fn wake(self) -> Vec<(Arc<Socket>, SendError)> {
        self.wakers.into_iter().for_each(Waker::wake);
        self.failed
    }
}

impl Memory {
    /// Emits an event to the client of a socket, wakes its driver and deals with a client that is too slow.
    ///
    /// If the connection of the socket has been lost, and its client may come back, the event is kept; or, if the client has
    /// come back as another socket, given to that.
    pub(crate) fn emit(
        &self,
        socket: &Arc<Socket>,
        session: &RecoverySession,
        packet: &Encoded,
        volatile: bool,
    ) -> Result<(), SendError> {
        let mut state = self.lock();
        if let Some(held) = socket.hold_early(packet, volatile) {
            // It is stamped when the socket joins.
            drop(state);
            return held.map(drop).inspect_err(|error| socket.on_send_error(*error));
        }
        let heir = if socket.is_lost() { Some(state.heir(session)?) } else { None };
        let recipient = heir.as_ref().map_or(Some(socket), Option::as_ref);
        // What is said to a client that has come back is for it even if it is refused.
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
    /// Stamps and records an event that was emitted to a socket before it joined. It will be sent if the socket is accepted.
    pub(crate) fn stamp_early(&mut self, socket: &Socket, session: &RecoverySession, packet: &Encoded) -> Encoded {
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
        let mut broadcast = Broadcast::default();
        for socket in recipients.iter() {
            match self.give(socket, stamp, &stamped, packet, volatile) {
                Ok(sent) => broadcast.wakers.extend(sent.waker),
                Err(error) => broadcast.failed.push((socket.clone(), error)),
            }
        }
        if !volatile {
            self.history.record(now, Scope::Selection { selection: selection.clone(), sender }, stamped);
        }
        broadcast
    }

    /// The socket to which an event for one that was lost is given. `None` inside if the client is away: the event is kept.
    fn heir(&self, session: &RecoverySession) -> Result<Option<Arc<Socket>>, SendError> {
        match self.live.get(&session.private_id) {
            None if self.history.is_away(now(), &session.private_id) => Ok(None),
            // It will get the event when it joins.
            Some(None) => Ok(None),
            Some(Some(heir)) if !heir.was_reached() => Ok(None),
            Some(Some(heir)) if !heir.was_dismissed() => Ok(Some(heir.clone())),
            Some(Some(_)) | None => Err(SendError::Closed),
        }
    }

    /// Gives an event to one socket, and records it. Returns what came of that, and what the emitter is told: an event that
    /// could not be sent is kept if the client may come back.
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

    /// Queues an event for a socket, and notes what came of that.
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
        // Where slow clients are let go, nothing may follow what one of them has missed.
        if cursor.as_ref().is_some_and(|cursor| cursor.has_missed()) && lets_slow_clients_go(socket) {
            return Err(SendError::Closed);
        }
        let form = if cursor.is_some() { stamped } else { packet };
        let sent = socket.try_deliver(Cow::Borrowed(form), volatile);
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

/// Whether an event is kept for a socket to which it could not be sent.
fn is_kept(socket: &Socket, error: SendError) -> bool {
    let may_return = !socket.was_dismissed() && socket.session.as_ref().is_some_and(|session| session.is_kept());
    may_return && (error == SendError::Closed || lets_slow_clients_go(socket))
}

fn lets_slow_clients_go(socket: &Socket) -> bool {
    socket.client.server.settings.slow_client_policy == SlowClientPolicy::Disconnect
}
