//! The twin of `spans` without the feature `tracing`.

use crate::engine::{CloseCause, ConnectionRequest, Protocol, Transport};

#[derive(Debug)]
pub(crate) struct ConnectionSpan;

impl ConnectionSpan {
    pub(crate) fn open(_: &ConnectionRequest, _: Transport, _: Protocol) -> Self {
        Self
    }

    pub(crate) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }

    pub(crate) fn end(&self, _: CloseCause) {}
}
