use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Extensions;

use crate::{
    cluster::Offset,
    engine::generate_id,
    recovery::{Restored, SessionKey},
    room::{Room, SocketId},
    util::{Mutex, MutexGuard, now},
};

use super::claimed::Claimed;

/// The part of a recoverable session that its socket stores. The rest is in the history.
pub(crate) struct RecoverySession {
    /// The private id. Only the client knows it.
    pub(crate) private_id: Arc<str>,
    pub(crate) recovered: bool,
    accepted: AtomicBool,
    /// The [`SessionKey`], or 0 until the session has joined. Changed only under the lock of the memory.
    key: AtomicU64,
    /// The claimed session, until the socket is accepted.
    restored: Mutex<Option<Arc<Restored>>>,
    /// Set in a namespace whose events are in the journal of the cluster.
    pub(super) journaled: Option<Box<Journaled>>,
}

/// The part of a session in a namespace with a journal.
#[derive(Default)]
pub(super) struct Journaled {
    /// The session that was taken from the journal, until the socket is accepted.
    claimed: Mutex<Option<Arc<Claimed>>>,
    /// Changed only under the lock of the namespace's journal.
    progress: Mutex<Progress>,
    /// Whether the end of the session has been decided: it is stored, or the next socket of the client continues it.
    ended: AtomicBool,
    /// The time at which the socket was lost.
    lost: Mutex<Option<Instant>>,
}

/// The events that a client has got from the journal.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// The last one.
    pub(super) last: Offset,
    /// A later one could not be sent.
    pub(super) has_missed: bool,
    /// For each room, the last event of the namespace when the socket joined it.
    pub(super) joined: HashMap<Room, Offset>,
}

impl RecoverySession {
    pub(crate) fn new(restored: Option<Arc<Restored>>) -> Self {
        let private_id = restored.as_ref().map_or_else(generate_id, |r| r.saved.private_id.clone());
        Self {
            private_id,
            recovered: restored.is_some(),
            accepted: AtomicBool::new(false),
            key: AtomicU64::new(0),
            restored: Mutex::new(restored),
            journaled: None,
        }
    }

    /// Creates the session of a socket in a namespace with a journal.
    pub(super) fn with_journal(claimed: Option<Arc<Claimed>>) -> Self {
        let private_id = claimed.as_ref().map_or_else(generate_id, |claimed| claimed.session().private_id.clone());
        let recovered = claimed.is_some();
        let journaled = Journaled { claimed: Mutex::new(claimed), ..Journaled::default() };
        Self { private_id, recovered, journaled: Some(Box::new(journaled)), ..Self::new(None) }
    }

    /// Returns the id and the data of a socket that is recovered.
    pub(super) fn identity(&self) -> Option<(SocketId, Option<Bytes>)> {
        if let Some(restored) = self.restored() {
            return Some((restored.saved.id.clone(), restored.saved.data.clone()));
        }
        let claimed = self.journaled.as_ref()?.claimed()?;
        Some((SocketId::of_other_node(claimed.session().id.clone()), claimed.data()))
    }

    /// Returns the extensions of the socket before it was lost, if they are known on this node.
    pub(crate) fn has_extensions(&self) -> bool {
        self.journaled.is_none()
    }

    /// Returns the extensions of the socket before it was lost.
    pub(crate) fn restored_extensions(&self) -> Extensions {
        let restored = self.restored();
        restored.map(|restored| restored.saved.extensions.clone()).unwrap_or_default()
    }

    /// Returns the claimed session. `None` if the session is new or has been accepted.
    pub(crate) fn restored(&self) -> Option<Arc<Restored>> {
        self.restored.lock().clone()
    }

    /// Records that the socket has been accepted. The caller must drop the result without a lock.
    pub(crate) fn settle(&self) -> Option<Arc<Restored>> {
        self.accepted.store(true, Ordering::Relaxed);
        if let Some(claimed) = self.journaled.as_ref().and_then(|journaled| journaled.take_claimed()) {
            claimed.settle();
        }
        self.take_restored()
    }

    /// Takes the claimed session. The caller must drop the result without a lock.
    pub(crate) fn take_restored(&self) -> Option<Arc<Restored>> {
        self.restored.lock().take()
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Returns `true` if the client can recover the session if it is disconnected now.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_accepted() || self.restored.lock().is_some()
    }

    /// Returns the key of the attempt to join that is under way.
    pub(crate) fn attempt(&self) -> Option<SessionKey> {
        if self.is_accepted() { None } else { self.key() }
    }

    pub(crate) fn key(&self) -> Option<SessionKey> {
        Some(self.key.load(Ordering::Relaxed)).filter(|key| *key != 0).map(SessionKey)
    }

    /// Sets the key when the session has joined its namespace.
    pub(crate) fn set_key(&self, key: SessionKey) {
        self.key.store(key.0, Ordering::Relaxed);
    }
}

impl Journaled {
    pub(super) fn claimed(&self) -> Option<Arc<Claimed>> {
        self.claimed.lock().clone()
    }

    /// The caller must drop the result without a lock: unless it has been settled, the session is stored again.
    pub(super) fn take_claimed(&self) -> Option<Arc<Claimed>> {
        self.claimed.lock().take()
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock()
    }

    /// Ends the session. Returns `false` if it has ended before.
    pub(super) fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::Relaxed)
    }

    /// Records the time at which the socket was lost.
    pub(super) fn lose(&self) {
        *self.lost.lock() = Some(now());
    }

    /// Returns `true` if the socket was lost at most this long ago.
    pub(super) fn was_lost_within(&self, duration: Duration) -> bool {
        self.lost.lock().is_some_and(|lost| now().duration_since(lost) <= duration)
    }
}
