//! Telling observers what happens.

use std::{cell::Cell, sync::Arc};

use crate::packet::Encoded;

use super::state::{Change, Server, Socket};

thread_local! {
    /// Set while observers run on this thread. Events that they emit are not told, which prevents endless recursion.
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

impl Server {
    #[inline]
    pub(crate) fn is_observed(&self) -> bool {
        self.settings.is_observed
    }

    /// Tells the observers. Runs user code, so no lock may be held. Panics are caught.
    #[cold]
    pub(crate) fn tell(&self, change: &Change<'_>) {
        let outer = TELLING.replace(true);
        for observer in &self.hooks.observers {
            self.catch_panic(|| observer(change));
        }
        TELLING.set(outer);
    }
}

impl Socket {
    /// Tells the observers of an outgoing event, unless an observer emits it.
    pub(super) fn tell_sent(self: &Arc<Self>, packet: &Encoded) {
        let server = &self.client.server;
        if server.is_observed() && !TELLING.get() {
            server.tell(&Change::EventSent(self, packet));
        }
    }
}
