use std::{
    fmt,
    sync::{Arc, Weak},
};

use tokio::{sync::Notify, time::timeout_at};

use crate::{
    SocketRef,
    server::Socket,
    util::{Mutex, MutexGuard, log},
};

use super::Expires;

/// A handle to the deadline at which a socket is disconnected. Cloning is cheap. It does not keep the socket alive.
///
/// [`DeadlineLayer`](super::DeadlineLayer) adds it to each socket. Use the extractor `Extension<DeadlineHandle>` in `on_connect`
/// and event handlers, or `socket.extensions().get::<DeadlineHandle>()`.
///
/// While a socket has a deadline, it has a timer task, which ends with the socket.
#[derive(Clone)]
pub struct DeadlineHandle(Arc<DeadlineTask>);

struct DeadlineTask {
    socket: Weak<Socket>,
    event: Option<Arc<str>>,
    state: Mutex<DeadlineState>,
    /// Wakes the timer task after a change of the state.
    changed: Notify,
}

#[derive(Debug, Default)]
struct DeadlineState {
    expires: Option<Expires>,
    /// The timer task runs.
    timed: bool,
    /// The deadline has passed, or the socket has been closed.
    over: bool,
}

impl DeadlineHandle {
    pub(super) fn new(socket: &SocketRef, event: Option<Arc<str>>) -> Self {
        let socket = Arc::downgrade(socket.inner());
        Self(Arc::new(DeadlineTask { socket, event, state: Mutex::default(), changed: Notify::new() }))
    }

    /// Returns a guard that ends the timer when it is dropped. Attached to the socket.
    pub(super) fn guard(&self) -> Guard {
        Guard(self.0.clone())
    }

    /// Sets the deadline, replacing any previous one.
    ///
    /// Returns `false` if the socket has already been disconnected.
    pub fn set(&self, expires: impl Into<Expires>) -> bool {
        let expires = expires.into();
        self.change(|_| Some(expires))
    }

    /// Sets the deadline if it is later than the current one, or if there is none.
    ///
    /// Returns `false` if the socket has already been disconnected.
    pub fn extend_to(&self, expires: impl Into<Expires>) -> bool {
        let expires = expires.into();
        self.change(|before| match before {
            Some(before) if !expires.is_after(before) => Some(before),
            _ => Some(expires),
        })
    }

    /// Removes the deadline.
    pub fn clear(&self) {
        self.change(|_| None);
    }

    /// Returns the deadline, if there is one.
    #[must_use]
    pub fn expires(&self) -> Option<Expires> {
        self.0.state().expires
    }

    fn change(&self, change: impl FnOnce(Option<Expires>) -> Option<Expires>) -> bool {
        let Some(socket) = self.0.socket.upgrade() else {
            return false;
        };
        let start = {
            let mut state = self.0.state();
            if state.over {
                return false;
            }
            state.expires = change(state.expires);
            let start = state.expires.is_some_and(|expires| expires.instant().is_some()) && !state.timed;
            state.timed |= start;
            start
        };
        if start {
            socket.client.connection.runtime.spawn(self.0.clone().time());
        } else {
            self.0.changed.notify_one();
        }
        true
    }
}

impl DeadlineTask {
    fn state(&self) -> MutexGuard<'_, DeadlineState> {
        self.state.lock()
    }

    /// The timer task: waits until the deadline has passed or has been removed.
    async fn time(self: Arc<Self>) {
        loop {
            let at = {
                let mut state = self.state();
                let at = state.expires.and_then(Expires::instant);
                state.timed = at.is_some();
                at
            };
            let Some(at) = at else {
                return;
            };
            if timeout_at(at.into(), self.changed.notified()).await.is_err() && self.is_due() {
                return self.expire();
            }
        }
    }

    /// Returns `true` if the deadline has passed. It can then no longer be changed.
    fn is_due(&self) -> bool {
        let mut state = self.state();
        state.over |= state.expires.is_some_and(Expires::is_past);
        state.over
    }

    fn expire(&self) {
        let Some(socket) = self.socket.upgrade() else {
            return;
        };
        log!(debug, namespace = %socket.namespace.name(), "socket deadline has passed");
        let socket = SocketRef::from(socket);
        if let Some(event) = &self.event {
            // Errors of disconnected or slow clients have already been handled.
            let emit = || drop(socket.emit(event, &()));
            // The socket must be disconnected even if an observer panics.
            socket.inner().client.server.catch_panic(emit);
        }
        socket.disconnect();
    }
}

/// Ends the timer when the socket is closed.
pub(super) struct Guard(Arc<DeadlineTask>);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.over = true;
        state.expires = None;
        drop(state);
        self.0.changed.notify_one();
    }
}

impl fmt::Debug for DeadlineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeadlineHandle").field(&self.expires()).finish()
    }
}
