//! Closing a socket.

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use super::{
    reason::DisconnectReason,
    socket::{ACCEPTING, CLOSED, CONNECTED, LOST},
    state::{Change, Socket},
};

impl Socket {
    /// Closes the socket. Only the first call has an effect. Handlers of the disconnection run. Afterwards the socket is in no
    /// room and in no table, and holds no ack, regardless of the handlers.
    pub(crate) fn close(self: &Arc<Self>, reason: DisconnectReason) {
        self.end(reason, false);
    }

    /// Like [`close`](Self::close), and sends DISCONNECT to the client as soon as it may join again.
    pub(crate) fn disconnect(self: &Arc<Self>) {
        self.end(DisconnectReason::ServerNamespaceDisconnect, true);
    }

    fn end(self: &Arc<Self>, reason: DisconnectReason, tell: bool) {
        let last = if reason.is_recoverable() { LOST } else { CLOSED };
        let (before, buffer) = {
            let mut buffer = self.buffer();
            let buffer = buffer.take();
            let close = |phase| (phase < CLOSED).then_some(last);
            (self.phase.fetch_update(Ordering::AcqRel, Ordering::Acquire, close), buffer)
        };
        drop(buffer);
        if let Ok(before) = before {
            let accepted = before == CONNECTED;
            let tells_handlers = accepted || before == ACCEPTING && !self.declined.load(Ordering::Acquire);
            self.disconnect_due.store(accepted && tell, Ordering::Release);
            Leaving { socket: self.clone(), accepted, tells_handlers, reason }.run_or_enqueue();
        }
    }

    fn leave_everything(self: &Arc<Self>, accepted: bool, tells_handlers: bool, reason: DisconnectReason) {
        if tells_handlers {
            self.namespace.application().disconnecting(self, reason);
        }
        if accepted && self.client.server.is_observed() {
            self.client.server.tell(&Change::SocketDisconnected(self, reason));
        }
        match self.recovery() {
            Some((memory, session)) => {
                memory.leave(self, session, reason.is_recoverable());
                self.namespace.clean_later();
            }
            None if self.journaled().is_some() => self.leave_journaled(reason.is_recoverable()),
            None => self.leave_rooms(),
        }
        self.tell_room_changes();
        // A socket that was not accepted keeps its place until its admission has ended and the client has been rejected.
        if accepted {
            self.client.forget_socket(self, reason == DisconnectReason::ClientNamespaceDisconnect);
            self.send_disconnect();
            self.namespace.meters().left();
        }
        self.acks.close();
        let server = &self.client.server;
        server.namespaces.release(&self.namespace);
        // User values are dropped here. A panic must not skip the rest.
        server.catch_panic(|| drop(self.layer_data.take()));
        if tells_handlers {
            self.namespace.application().disconnected(self, reason);
        } else {
            self.forget_auth();
        }
        if self.application_data.get().is_some() {
            self.namespace.application().forget(self);
        }
        self.drop_extensions();
        // The reader may be waiting for an event of this socket.
        self.client.reader.wake();
    }
}

/// A closed socket that has not left its namespace.
struct Leaving {
    socket: Arc<Socket>,
    accepted: bool,
    /// Whether `on_connect` was reached and did not reject the client.
    tells_handlers: bool,
    reason: DisconnectReason,
}

thread_local! {
    /// The sockets closed by handlers of a disconnection. They are handled one after another, because recursion could overflow
    /// the stack.
    static LEAVING: RefCell<Option<VecDeque<Leaving>>> = const { RefCell::new(None) };
}

impl Leaving {
    fn run_or_enqueue(self) {
        let first = LEAVING.with_borrow_mut(|ends| match ends {
            Some(ends) => {
                ends.push_back(self);
                None
            }
            None => {
                *ends = Some(VecDeque::new());
                Some(self)
            }
        });
        let mut next = first;
        while let Some(Self { socket, accepted, tells_handlers, reason }) = next {
            // Panics of handlers are caught elsewhere. A panic in another drop of a user value must not stop the loop.
            socket.client.server.catch_panic(|| socket.leave_everything(accepted, tells_handlers, reason));
            next = LEAVING.with_borrow_mut(|ends| {
                let end = ends.as_mut().and_then(VecDeque::pop_front);
                if end.is_none() {
                    *ends = None;
                }
                end
            });
        }
    }
}
