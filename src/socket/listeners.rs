//! Listeners of one socket. A socket that has none pays for none.

use std::{
    cell::Cell,
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use serde::de::DeserializeOwned;

use crate::{
    handler::{EventHandler, EventRoute},
    packet::{ArgsError, Encoded, EventPayload, read_header},
    server::Server,
};

use super::{Socket, SocketRef};

/// Names a listener, so that [`SocketRef::off`] can remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

/// The listeners of one socket.
#[derive(Default)]
pub(crate) struct Listeners {
    next: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    events: HashMap<Box<str>, Vec<Listener>>,
    any: Vec<Listener>,
    outgoing: Vec<(ListenerId, Observer)>,
}

struct Listener {
    id: ListenerId,
    /// Shared: what the layers of a handler do when they are cloned or dropped is not done under the lock.
    route: Arc<EventRoute>,
    once: bool,
}

type Observer = Arc<dyn Fn(&OutgoingEvent) + Send + Sync>;

thread_local! {
    /// Observers run on this thread: what they emit is not observed, or they might go on without end.
    static OBSERVING: Cell<bool> = const { Cell::new(false) };
}

/// What a socket has for an event.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) any: Vec<Arc<EventRoute>>,
    pub(crate) own: Vec<Arc<EventRoute>>,
}

impl Listeners {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }

    fn next_id(&self) -> ListenerId {
        ListenerId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A socket that has left listens no more.
    fn add(&self, socket: &Socket, event: Option<&str>, route: EventRoute, once: bool) -> ListenerId {
        let id = self.next_id();
        let listener = Listener { id, route: Arc::new(route), once };
        let mut table = self.table();
        if socket.is_closed() {
            drop(table);
            drop(listener);
            return id;
        }
        match event {
            Some(event) => table.events.entry(event.into()).or_default().push(listener),
            None => table.any.push(listener),
        }
        id
    }

    fn remove(&self, id: ListenerId) {
        let mut table = self.table();
        let mut removed: Vec<_> = table.any.extract_if(.., |listener| listener.id == id).collect();
        for listeners in table.events.values_mut() {
            removed.extend(listeners.extract_if(.., |listener| listener.id == id));
        }
        table.events.retain(|_, listeners| !listeners.is_empty());
        let outgoing: Vec<_> = table.outgoing.extract_if(.., |(outgoing, _)| *outgoing == id).collect();
        // What is the user's is dropped when no lock is held.
        drop(table);
        drop((removed, outgoing));
    }

    /// The listeners for an event; those that want only one are taken out.
    pub(crate) fn find(&self, event: &str) -> Found {
        let mut table = self.table();
        let routes = |listeners: &[Listener]| listeners.iter().map(|listener| listener.route.clone()).collect();
        let any = routes(&table.any);
        let mut own = Vec::new();
        if let Some(listeners) = table.events.get_mut(event) {
            own = routes(listeners);
            // The last handle to these is in `own`.
            listeners.retain(|listener| !listener.once);
            if listeners.is_empty() {
                table.events.remove(event);
            }
        }
        Found { any, own }
    }

    /// Shows an event that is on its way to the client, unless an observer emits it. Panics go no further.
    pub(super) fn observe(&self, server: &Server, packet: &Encoded) {
        let observers: Vec<Observer> = self.table().outgoing.iter().map(|(_, observer)| observer.clone()).collect();
        if observers.is_empty() || OBSERVING.replace(true) {
            return;
        }
        if let Some(event) = OutgoingEvent::new(packet) {
            for observer in observers {
                server.contain(|| observer(&event));
            }
        }
        OBSERVING.set(false);
    }

    pub(super) fn clear(&self) {
        let table = std::mem::take(&mut *self.table());
        drop(table);
    }
}

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
        self.listen(event, handler, false)
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
        self.listen(event, handler, true)
    }

    #[track_caller]
    fn listen<H, T>(&self, event: &str, handler: H, once: bool) -> ListenerId
    where
        H: EventHandler<T, ()>,
        T: 'static,
    {
        assert!(
            !crate::packet::is_reserved(event.as_bytes()),
            "`{event}` belongs to the protocol: no client can emit it"
        );
        self.inner().listeners_or_new().add(self.inner(), Some(event), handler.into_route(()), once)
    }

    /// Handles every event of this socket's, before the others do. It answers no ack.
    pub fn on_any<H, T>(&self, handler: H) -> ListenerId
    where
        H: EventHandler<T, ()>,
        T: 'static,
    {
        self.inner().listeners_or_new().add(self.inner(), None, handler.into_route(()), false)
    }

    /// Is shown every event that is emitted to this socket, by broadcasts too, whether it asks for an ack or not.
    ///
    /// It runs where the event is emitted, so it should not take long. What it emits itself is not shown to observers. A panic in it is
    /// caught and counted, and the event is delivered all the same.
    pub fn on_any_outgoing(&self, observer: impl Fn(&OutgoingEvent) + Send + Sync + 'static) -> ListenerId {
        let listeners = self.inner().listeners_or_new();
        let id = listeners.next_id();
        let observer: Observer = Arc::new(observer);
        let mut table = listeners.table();
        if !self.inner().is_closed() {
            table.outgoing.push((id, observer.clone()));
        }
        drop(table);
        id
    }

    /// Removes a listener of any kind. One that has gone already is no error.
    pub fn off(&self, listener: ListenerId) {
        if let Some(listeners) = self.inner().listeners() {
            listeners.remove(listener);
        }
    }

    /// Removes all listeners for an event.
    pub fn off_event(&self, event: &str) {
        if let Some(listeners) = self.inner().listeners() {
            let removed = listeners.table().events.remove(event);
            drop(removed);
        }
    }

    /// Removes all listeners that [`on_any`](Self::on_any) has added.
    pub fn off_any(&self) {
        if let Some(listeners) = self.inner().listeners() {
            let removed = std::mem::take(&mut listeners.table().any);
            drop(removed);
        }
    }

    /// Removes all listeners that [`on_any_outgoing`](Self::on_any_outgoing) has added.
    pub fn off_any_outgoing(&self) {
        if let Some(listeners) = self.inner().listeners() {
            let removed = std::mem::take(&mut listeners.table().outgoing);
            drop(removed);
        }
    }
}

/// An event on its way to a client, as [`SocketRef::on_any_outgoing`] shows it.
pub struct OutgoingEvent {
    event: EventPayload,
}

impl OutgoingEvent {
    fn new(packet: &Encoded) -> Option<Self> {
        let (text, attachments) = packet.packets().split_first()?;
        let header = read_header(text.clone(), usize::MAX).ok()?;
        let attachments = attachments.iter().map(crate::engine::Packet::data_bytes).collect();
        let event = EventPayload::new(header.payload, attachments).ok()?;
        Some(Self { event })
    }

    /// The name of the event.
    #[must_use]
    pub fn name(&self) -> &str {
        self.event.name()
    }

    /// Reads the arguments: a tuple takes several, anything else one.
    ///
    /// # Errors
    ///
    /// If they do not fit the type.
    pub fn args<T: DeserializeOwned + Send + 'static>(&self) -> Result<T, serde_json::Error> {
        self.event.args().map_err(ArgsError::into_error)
    }
}

impl fmt::Debug for OutgoingEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingEvent").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}
