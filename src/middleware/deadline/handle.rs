use std::{
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Notify, time::timeout_at};

use crate::{SocketRef, server::Socket, util::log};

use super::Expires;

/// When a socket is disconnected. Cloning is cheap; it does not keep the socket.
///
/// [`DeadlineLayer`](super::DeadlineLayer) puts it on each socket: `Extension<Deadline>` extracts it in `on_connect` and in
/// event handlers, and `socket.extensions().get::<Deadline>()` gives it elsewhere.
///
/// While there is a deadline the socket has a task with a timer, which ends with the socket; one that has none costs nothing.
#[derive(Clone)]
pub struct Deadline(Arc<Shared>);

struct Shared {
    socket: Weak<Socket>,
    event: Option<Arc<str>>,
    state: Mutex<State>,
    /// The timer has to look at the state again.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    expires: Option<Expires>,
    /// The timer's task runs.
    timed: bool,
    /// The deadline has passed, or the socket is gone.
    over: bool,
}

impl Deadline {
    pub(super) fn new(socket: &SocketRef, event: Option<Arc<str>>) -> Self {
        let socket = Arc::downgrade(socket.inner());
        Self(Arc::new(Shared { socket, event, state: Mutex::default(), changed: Notify::new() }))
    }

    /// What ends the timer when it is dropped, to be kept on the socket.
    pub(super) fn guard(&self) -> Guard {
        Guard(self.0.clone())
    }

    /// Sets the deadline, whatever it was before: earlier, later, or none.
    ///
    /// Answers whether that has an effect: not if the socket has been disconnected, by its deadline or otherwise.
    pub fn set(&self, expires: impl Into<Expires>) -> bool {
        let expires = expires.into();
        self.change(|_| Some(expires))
    }

    /// Moves the deadline to a later moment. An earlier one leaves it as it is; where there is none, it is set.
    ///
    /// Answers whether the socket still has time: not if it has been disconnected, by its deadline or otherwise.
    pub fn extend_to(&self, expires: impl Into<Expires>) -> bool {
        let expires = expires.into();
        self.change(|before| match before {
            Some(before) if !expires.is_after(before) => Some(before),
            _ => Some(expires),
        })
    }

    /// Takes the deadline away.
    pub fn clear(&self) {
        self.change(|_| None);
    }

    /// The deadline, if there is one.
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

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The timer: waits for the deadline, wherever it is moved to, until it comes or there is none any more.
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

    /// Whether the deadline has come. If so, nobody can move it any more.
    fn is_due(&self) -> bool {
        let mut state = self.state();
        state.over |= state.expires.is_some_and(Expires::is_past);
        state.over
    }

    fn expire(&self) {
        let Some(socket) = self.socket.upgrade() else {
            return;
        };
        log!(debug, namespace = %socket.namespace.name(), "the deadline of a socket has passed");
        let socket = SocketRef::from(socket);
        if let Some(event) = &self.event {
            // If the client is gone or too slow, that has been dealt with.
            let emit = || drop(socket.emit(event, &()));
            // Whatever the user's observers do, the socket goes.
            socket.inner().client.server.contain(emit);
        }
        socket.disconnect();
    }
}

/// Ends the timer when the socket is closed.
pub(super) struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.over = true;
        state.expires = None;
        drop(state);
        self.0.changed.notify_one();
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deadline").field(&self.expires()).finish()
    }
}
