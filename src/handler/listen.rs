//! Listening on one socket.

use crate::{
    event::{ListenerId, OutgoingEvent, Trigger, listeners_of, listeners_or_new},
    packet::is_reserved,
    socket::SocketRef,
};

use super::event_handler::EventHandler;

impl SocketRef {
    /// Handles an event of this socket's alone, beside what the namespace has for it; several may listen.
    ///
    /// What all sockets of a namespace have belongs to [`Namespace::on`](crate::Namespace::on), which costs a socket
    /// nothing. If the namespace has a handler for the event, that one answers the ack; if not, the first listener does.
    /// Listeners go with the socket. Best called in `on_connect`, before the first event can arrive.
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
    /// If the event's name is reserved by the protocol.
    #[track_caller]
    pub fn on<H, T>(&self, event: &str, handler: H) -> ListenerId
    where
        H: EventHandler<T, ()>,
        T: 'static,
    {
        self.listen(Trigger::Event(event), handler)
    }

    /// As [`on`](Self::on), for the next event of this name alone.
    ///
    /// # Panics
    ///
    /// If the event's name is reserved by the protocol.
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
            assert!(!is_reserved(event.as_bytes()), "`{event}` belongs to the protocol: no client can emit it");
        }
        listeners_or_new(self.inner()).add(self.inner(), trigger, handler.into_route(()))
    }

    /// Handles every event of this socket's, before the others do. It answers no ack.
    pub fn on_any<H, T>(&self, handler: H) -> ListenerId
    where
        H: EventHandler<T, ()>,
        T: 'static,
    {
        self.listen(Trigger::Any, handler)
    }

    /// Handles the end of this socket, after [`Namespace::on_disconnect`](crate::Namespace::on_disconnect); several may listen.
    ///
    /// The handler is called once. The reason is the extractor [`DisconnectReason`](crate::DisconnectReason). The handler is dropped
    /// without a call if `on_connect` refuses the socket, or if the socket has already been disconnected.
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

    /// Is shown every event that is emitted to this socket, by broadcasts too, whether it asks for an ack or not.
    ///
    /// It runs where the event is emitted, so it should not take long. What it emits itself is not shown to observers. A panic in it is
    /// caught and counted, and the event is delivered all the same.
    pub fn on_any_outgoing(&self, observer: impl Fn(&OutgoingEvent) + Send + Sync + 'static) -> ListenerId {
        listeners_or_new(self.inner()).add_observer(self.inner(), observer)
    }

    /// Removes a listener of any kind. One that has gone already is no error.
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

    /// Removes all listeners that [`on_any`](Self::on_any) has added.
    pub fn off_any(&self) {
        if let Some(listeners) = listeners_of(self.inner()) {
            listeners.remove_any();
        }
    }

    /// Removes all listeners that [`on_any_outgoing`](Self::on_any_outgoing) has added.
    pub fn off_any_outgoing(&self) {
        if let Some(listeners) = listeners_of(self.inner()) {
            listeners.remove_observers();
        }
    }
}
