use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bytes::Bytes;
use http::Extensions;
use parking_lot::Mutex;

use crate::{
    cluster::Offset,
    engine::generate_id,
    recovery::{Restored, SessionKey},
    room::SocketId,
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
    pub(super) journaled: Option<Journaled>,
}

/// The part of a session in a namespace with a journal.
pub(super) struct Journaled {
    /// The session that was taken from the journal, until the socket is accepted.
    claimed: Mutex<Option<Arc<Claimed>>>,
    /// Changed only under the lock of the namespace's journal.
    progress: Mutex<Progress>,
    /// Whether another socket of the client continues the session, which is then not saved.
    superseded: AtomicBool,
}

/// The events that a client has got from the journal.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// The last one.
    pub(super) last: Offset,
    /// A later one could not be sent.
    pub(super) has_missed: bool,
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
        let journaled =
            Journaled { claimed: Mutex::new(claimed), progress: Mutex::default(), superseded: AtomicBool::new(false) };
        Self { private_id, recovered, journaled: Some(journaled), ..Self::new(None) }
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
        if let Some(claimed) = self.journaled.as_ref().and_then(|journaled| journaled.claimed.lock().take()) {
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

    pub(super) fn progress(&self) -> Progress {
        *self.progress.lock()
    }

    pub(super) fn set_progress(&self, progress: Progress) {
        *self.progress.lock() = progress;
    }

    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Relaxed)
    }
}
