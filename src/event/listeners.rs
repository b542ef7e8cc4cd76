//! Listeners of a single socket. They are allocated with the first listener.

use std::{
    cell::Cell,
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::de::DeserializeOwned;

use crate::{
    packet::{ArgsError, Encoded, EventPayload, read_header},
    server::{Server, Socket},
    util::{Mutex, MutexGuard},
};

use super::route::EventRoute;

/// Identifies a listener. [`SocketRef::off`](crate::SocketRef::off) removes it.
///
/// ```
/// use tower_socketio::SocketRef;
///
/// async fn joined(socket: SocketRef) {
///     let listener = socket.on("typing", async || {});
///     socket.off(listener);
/// }
/// # let _: tower_socketio::Namespace = tower_socketio::Namespace::new().on_connect(joined);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

/// The listeners of one socket, stored as its `application_data`.
#[derive(Default)]
pub(crate) struct Listeners {
    next: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    events: HashMap<Box<str>, Vec<Listener>>,
    any: Vec<Listener>,
    /// For the end of the socket.
    disconnect: Vec<Listener>,
    outgoing: Vec<(ListenerId, Observer)>,
}

/// The events for which a listener is called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trigger<'a> {
    /// Each event with this name.
    Event(&'a str),
    /// The next event with this name.
    Once(&'a str),
    /// Each event.
    Any,
    /// The end of the socket.
    Disconnect,
}

struct Listener {
    id: ListenerId,
    /// Shared, because cloning or dropping layers runs user code, which must not happen under the lock.
    route: Arc<EventRoute>,
    once: bool,
}

type Observer = Arc<dyn Fn(&OutgoingEvent) + Send + Sync>;

thread_local! {
    /// Set while observers run on this thread. Events that they emit are not observed, which prevents endless recursion.
    static OBSERVING: Cell<bool> = const { Cell::new(false) };
}

/// The listeners for an event.
#[derive(Default)]
pub(super) struct Matched {
    pub(super) any: Vec<Arc<EventRoute>>,
    pub(super) named: Vec<Arc<EventRoute>>,
}

/// Returns the listeners of a socket, or `None` if it never had one.
#[inline]
pub(crate) fn listeners_of(socket: &Socket) -> Option<&Listeners> {
    socket.application_data.get()?.downcast_ref()
}

/// Returns the listeners of a socket. They are created if missing.
pub(crate) fn listeners_or_new(socket: &Socket) -> &Listeners {
    let data = socket.application_data.get_or_init(|| Box::new(Listeners::default()));
    socket.watch();
    data.downcast_ref().expect("only listeners are kept as application data")
}

impl Listeners {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }

    fn next_id(&self) -> ListenerId {
        ListenerId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds a listener. Has no effect if the socket has left.
    pub(crate) fn add(&self, socket: &Socket, trigger: Trigger<'_>, route: EventRoute) -> ListenerId {
        let id = self.next_id();
        let listener = Listener { id, route: Arc::new(route), once: matches!(trigger, Trigger::Once(_)) };
        let mut table = self.table();
        if socket.is_closed() {
            drop(table);
            drop(listener);
            return id;
        }
        match trigger {
            Trigger::Event(event) | Trigger::Once(event) => {
                table.events.entry(event.into()).or_default().push(listener);
            }
            Trigger::Any => table.any.push(listener),
            Trigger::Disconnect => table.disconnect.push(listener),
        }
        id
    }

    pub(crate) fn remove(&self, id: ListenerId) {
        let mut table = self.table();
        let mut removed: Vec<_> = table.any.extract_if(.., |listener| listener.id == id).collect();
        removed.extend(table.disconnect.extract_if(.., |listener| listener.id == id));
        for listeners in table.events.values_mut() {
            removed.extend(listeners.extract_if(.., |listener| listener.id == id));
        }
        table.events.retain(|_, listeners| !listeners.is_empty());
        let outgoing: Vec<_> = table.outgoing.extract_if(.., |(outgoing, _)| *outgoing == id).collect();
        // User values are dropped without the lock.
        drop(table);
        drop((removed, outgoing));
    }

    /// Returns the listeners for an event. Removes those that are called once.
    pub(super) fn find(&self, event: &str) -> Matched {
        let mut table = self.table();
        let routes = |listeners: &[Listener]| listeners.iter().map(|listener| listener.route.clone()).collect();
        let any = routes(&table.any);
        let mut named = Vec::new();
        if let Some(listeners) = table.events.get_mut(event) {
            named = routes(listeners);
            // `named` holds another reference, so nothing of the user's is dropped here.
            listeners.retain(|listener| !listener.once);
            if listeners.is_empty() {
                table.events.remove(event);
            }
        }
        Matched { any, named }
    }

    /// Takes out the listeners for the end of the socket.
    pub(crate) fn take_disconnect(&self) -> Vec<Arc<EventRoute>> {
        let listeners = std::mem::take(&mut self.table().disconnect);
        listeners.into_iter().map(|listener| listener.route).collect()
    }

    /// Calls the observers with an outgoing event, unless an observer emitted it. Catches panics.
    pub(crate) fn observe(&self, server: &Server, packet: &Encoded) {
        let observers: Vec<Observer> = self.table().outgoing.iter().map(|(_, observer)| observer.clone()).collect();
        if observers.is_empty() || OBSERVING.replace(true) {
            return;
        }
        if let Some(event) = OutgoingEvent::new(packet) {
            for observer in observers {
                server.catch_panic(|| observer(&event));
            }
        }
        OBSERVING.set(false);
    }

    /// Like [`add`](Self::add), for outgoing events.
    pub(crate) fn add_observer(
        &self,
        socket: &Socket,
        observer: impl Fn(&OutgoingEvent) + Send + Sync + 'static,
    ) -> ListenerId {
        let id = self.next_id();
        let observer: Observer = Arc::new(observer);
        let mut table = self.table();
        if !socket.is_closed() {
            table.outgoing.push((id, observer.clone()));
        }
        drop(table);
        id
    }

    pub(crate) fn remove_event(&self, event: &str) {
        let removed = self.table().events.remove(event);
        drop(removed);
    }

    pub(crate) fn remove_any(&self) {
        let removed = std::mem::take(&mut self.table().any);
        drop(removed);
    }

    pub(crate) fn remove_observers(&self) {
        let removed = std::mem::take(&mut self.table().outgoing);
        drop(removed);
    }

    pub(crate) fn clear(&self) {
        let table = std::mem::take(&mut *self.table());
        drop(table);
    }
}

/// An outgoing event, as [`SocketRef::on_any_outgoing`](crate::SocketRef::on_any_outgoing) shows it.
///
/// ```
/// use tower_socketio::SocketRef;
///
/// fn log_outgoing(socket: &SocketRef) {
///     socket.on_any_outgoing(|event| {
///         if let Ok(text) = event.args::<String>() {
///             println!("{}: {text}", event.name());
///         }
///     });
/// }
/// # let _ = log_outgoing;
/// ```
pub struct OutgoingEvent {
    event: EventPayload,
}

impl OutgoingEvent {
    pub(crate) fn new(packet: &Encoded) -> Option<Self> {
        let (text, attachments) = packet.packets().split_first()?;
        let header = read_header(text.clone(), usize::MAX).ok()?;
        let attachments = attachments.iter().map(crate::engine::Packet::data_bytes).collect();
        let event = EventPayload::new(header.payload, attachments).ok()?;
        Some(Self { event })
    }

    /// Returns the name of the event.
    #[must_use]
    pub fn name(&self) -> &str {
        self.event.name()
    }

    /// Deserializes the arguments. A tuple takes several arguments, other types take one.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments do not match the type.
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
