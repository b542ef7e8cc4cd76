//! Listeners of a single socket.

use crate::{
    event::{ListenerId, OutgoingEvent, Trigger, listeners_of, listeners_or_new},
    packet::assert_can_be_handled,
    socket::SocketRef,
};

use super::event_handler::{EventHandler, assert_reads_arguments_once};

impl SocketRef {
    /// Adds a listener for an event of this socket. An event may have several listeners, which run in addition to the handlers of
    /// the namespace.
    ///
    /// Use [`Namespace::on`](crate::Namespace::on) for what all sockets of a namespace have in common: it costs nothing per
    /// socket. If the namespace has a handler for the event, that handler sends the ack, otherwise the first listener does.
    /// Listeners are removed when the socket is disconnected. Add them in `on_connect`, before the first event can arrive.
    ///
    /// ```
    /// use tower_socketio::{Ack, SocketRef, extract::Data};
    ///
    /// async fn joined(socket: SocketRef) {
    ///     let greeting = "hello";
    ///     socket.on("greet", async move |Data(name): Data<String>| Ack(format!("{greeting} {name}")));
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the name of the event is reserved by the protocol, or `connection`.
    #[track_caller]
    pub fn on<H, T>(&self, event: &str, handler: H) -> ListenerId
    where
        H: EventHandler<T, ()>,
        T: 'static,
    {
        self.listen(Trigger::Event(event), handler)
    }

    /// Like [`on`](Self::on), but only for the next event of this name.
    ///
    /// # Panics
    ///
    /// Panics if the name of the event is reserved by the protocol, or `connection`.
    #[track_caller]
    pub fn once<H, T>(&self, event: &str, handler: H) -> ListenerId
    where
        H: EventHandler<T, ()>,
        T: 'static,
    {
        self.listen(Trigger::Once(event), handler)
    }

    #[track_caller]
    fn listen<H, T>(&self, trigger: Trigger<'_>, handler: H) -> ListenerId
    where
        H: EventHandler<T, ()>,
        T: 'static,
    {
        if let Trigger::Event(event) | Trigger::Once(event) = trigger {
            assert_can_be_handled(event);
        }
        const { assert_reads_arguments_once::<H, T, ()>() };
        listeners_or_new(self.inner()).add(self.inner(), trigger, handler.into_route(()))
    }

    /// Adds a listener for all events of this socket. It runs before the other handlers and does not send the ack.
    pub fn on_any<H, T>(&self, handler: H) -> ListenerId
    where
        H: EventHandler<T, ()>,
        T: 'static,
    {
        self.listen(Trigger::Any, handler)
    }

    /// Adds a listener for the disconnection of this socket. It runs after
    /// [`Namespace::on_disconnect`](crate::Namespace::on_disconnect).
    ///
    /// [`DisconnectReason`](crate::DisconnectReason) extracts the reason. The handler is dropped without being called if
    /// `on_connect` rejects the client, or if the socket has already been disconnected.
    ///
    /// ```
    /// use std::time::Instant;
    /// use tower_socketio::{DisconnectReason, SocketRef};
    ///
    /// async fn joined(socket: SocketRef) {
    ///     let since = Instant::now();
    ///     socket.on_disconnect(async move |reason: DisconnectReason| {
    ///         println!("{reason} after {:?}", since.elapsed());
    ///     });
    /// }
    /// ```
    pub fn on_disconnect<H, T>(&self, handler: H) -> ListenerId
    where
        H: EventHandler<T, ()>,
        T: 'static,
    {
        self.listen(Trigger::Disconnect, handler)
    }

    /// Sets an observer of all events that are emitted to this socket, including broadcasts and events with acks.
    ///
    /// It runs in the call that emits the event and must not block. Events that it emits are not observed. If it panics, the
    /// panic is caught and counted, and the event is still sent.
    pub fn on_any_outgoing(&self, observer: impl Fn(&OutgoingEvent) + Send + Sync + 'static) -> ListenerId {
        listeners_or_new(self.inner()).add_observer(self.inner(), observer)
    }

    /// Removes a listener of any kind. Has no effect if it has been removed before.
    pub fn off(&self, listener: ListenerId) {
        if let Some(listeners) = listeners_of(self.inner()) {
            listeners.remove(listener);
        }
    }

    /// Removes all listeners for an event.
    pub fn off_event(&self, event: &str) {
        if let Some(listeners) = listeners_of(self.inner()) {
            listeners.remove_event(event);
        }
    }

    /// Removes all listeners added by [`on_any`](Self::on_any).
    pub fn off_any(&self) {
        if let Some(listeners) = listeners_of(self.inner()) {
            listeners.remove_any();
        }
    }

    /// Removes all observers added by [`on_any_outgoing`](Self::on_any_outgoing).
    pub fn off_any_outgoing(&self) {
        if let Some(listeners) = listeners_of(self.inner()) {
            listeners.remove_observers();
        }
    }
}
