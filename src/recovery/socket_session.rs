use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use http::Extensions;
use parking_lot::Mutex;

use crate::engine::generate_id;

use super::{scope::SessionKey, session::Restored};

/// What a socket keeps of its session, which is in the history.
pub(crate) struct RecoverySession {
    /// Only the client knows it.
    pub(crate) private_id: Arc<str>,
    pub(crate) recovered: bool,
    accepted: AtomicBool,
    /// Its [`SessionKey`], 0 until it has joined. Changed only under the lock of the memory.
    key: AtomicU64,
    /// Where the session left off, until it has been accepted again.
    restored: Mutex<Option<Arc<Restored>>>,
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
        }
    }

    /// What the layers and handlers had put on the socket, before it was lost.
    pub(crate) fn restored_extensions(&self) -> Extensions {
        let restored = self.restored();
        restored.map(|restored| restored.saved.extensions.clone()).unwrap_or_default()
    }

    /// Where the session left off. `None` if it is new, or has been accepted.
    pub(crate) fn restored(&self) -> Option<Arc<Restored>> {
        self.restored.lock().clone()
    }

    /// The client is told that it is accepted: nothing is left to restore. What is returned is to be dropped while no lock
    /// is held.
    pub(crate) fn settle(&self) -> Option<Arc<Restored>> {
        self.accepted.store(true, Ordering::Relaxed);
        self.take_restored()
    }

    /// The session cannot be given back any more, or has been. What is returned is to be dropped while no lock is held.
    pub(crate) fn take_restored(&self) -> Option<Arc<Restored>> {
        self.restored.lock().take()
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Whether the client may come back to the session if its connection is lost now.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_accepted() || self.restored.lock().is_some()
    }

    /// The attempt to join that is under way.
    pub(crate) fn attempt(&self) -> Option<SessionKey> {
        if self.is_accepted() { None } else { self.key() }
    }

    pub(crate) fn key(&self) -> Option<SessionKey> {
        Some(self.key.load(Ordering::Relaxed)).filter(|key| *key != 0).map(SessionKey)
    }

    /// The session has joined its namespace.
    pub(crate) fn set_key(&self, key: SessionKey) {
        self.key.store(key.0, Ordering::Relaxed);
    }
}
