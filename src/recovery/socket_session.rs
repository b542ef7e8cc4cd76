use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use http::Extensions;
use parking_lot::Mutex;

use crate::engine::generate_id;

use super::{scope::SessionKey, session::Restored};

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
