//! Finding, creating and dropping namespaces.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use crate::{
    observe::RoomCount,
    room::{Registry, Selection},
    util::{Mutex, Order, RwLock},
};

use super::{
    namespace_request::NamespaceRequest,
    namespace_table::{Found, NamespaceTable},
    settings::Settings,
    state::{Definition, Existing, Memory, NamespaceState, Namespaces, Server, Socket, Users},
};

/// The result of looking up the namespace of a CONNECT.
#[derive(Debug)]
pub(super) enum Lookup {
    Found(Arc<NamespaceState>),
    /// It has just been created.
    Created(Arc<NamespaceState>),
    Unknown,
    /// A pattern matches, but the limit of dynamic namespaces is reached and all of them have sockets.
    TooMany,
    /// A pattern matches, but the connection has reached its limit of dynamic namespaces.
    TooManyHere,
    /// The predicate with this index is asynchronous.
    NeedsAsync(usize),
}

impl Lookup {
    /// Returns the namespace that was found.
    pub(super) fn namespace(&self) -> Option<&Arc<NamespaceState>> {
        match self {
            Self::Found(namespace) | Self::Created(namespace) => Some(namespace),
            _ => None,
        }
    }
}

impl Server {
    /// Calls the hook for a new namespace.
    pub(super) fn announce(&self, lookup: Lookup) -> Lookup {
        if let (Lookup::Created(namespace), Some(hook)) = (&lookup, &self.hooks.on_namespace) {
            self.catch_panic(|| hook(namespace));
        }
        lookup
    }

    /// Returns the namespace with a name. Creates it if a pattern or predicate accepts the name. It is then kept without sockets.
    pub(crate) fn get_or_create_namespace(&self, name: &str) -> Option<Arc<NamespaceState>> {
        if let Some(namespace) = self.namespaces.get(name) {
            return Some(namespace);
        }
        if name.len() > self.settings.max_namespace_length || name.contains([',', '?']) {
            return None;
        }
        let lookup = self.announce(self.namespaces.acquire(name, || true));
        let namespace = lookup.namespace()?;
        self.namespaces.release_kept(namespace);
        Some(namespace.clone())
    }

    /// Returns a namespace that is not part of this server and has no sockets, to reach those that other nodes have in it. Returns `None`
    /// without a cluster.
    #[cfg(feature = "admin-ui")]
    pub(crate) fn namespace_of_others(&self, name: &str) -> Option<Arc<NamespaceState>> {
        let Namespaces { root, settings, server, .. } = &self.namespaces;
        if settings.adapter.is_none() || name.len() > settings.max_namespace_length {
            return None;
        }
        Some(NamespaceState::new(name.into(), root.definition.clone(), settings.clone(), server.clone(), false))
    }
}

impl Namespaces {
    pub(crate) fn new(mut table: NamespaceTable<Definition>, settings: &Arc<Settings>, server: &Weak<Server>) -> Self {
        let state = |(name, definition): (String, Arc<Definition>)| {
            let name: Arc<str> = name.into();
            (name.clone(), NamespaceState::new(name, definition, settings.clone(), server.clone(), false))
        };
        let by_name: HashMap<_, _> = table.take_exact().into_iter().map(state).collect();
        let root = by_name.get("/").expect("the default namespace always exists").clone();
        let existing = RwLock::new(Existing { by_name, dynamic: 0, empty: Order::default() });
        Self { existing, root, table, settings: settings.clone(), server: server.clone() }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<NamespaceState>> {
        self.existing.read().by_name.get(name).cloned()
    }

    /// Adds a namespace that exists until it is [removed](Self::remove_exact). Returns `None` if the name is taken.
    pub(crate) fn add(&self, name: &str, definition: Definition) -> Option<Arc<NamespaceState>> {
        let name: Arc<str> = name.into();
        let (settings, server) = (self.settings.clone(), self.server.clone());
        let namespace = NamespaceState::new(name.clone(), Arc::new(definition), settings, server, false);
        match self.existing.write().by_name.entry(name) {
            Entry::Occupied(_) => {}
            Entry::Vacant(entry) => return Some(entry.insert(namespace).clone()),
        }
        // Dropped here, because the definition is the user's.
        None
    }

    /// Removes and returns a namespace that is not dynamic. The caller [closes](NamespaceState::close) it.
    pub(crate) fn remove_exact(&self, name: &str) -> Option<Arc<NamespaceState>> {
        let mut existing = self.existing.write();
        if existing.by_name.get(name)?.is_dynamic() {
            return None;
        }
        let removed = existing.by_name.remove(name);
        existing.shrink();
        removed
    }

    /// Returns all existing namespaces.
    pub(crate) fn all(&self) -> Vec<Arc<NamespaceState>> {
        self.existing.read().by_name.values().cloned().collect()
    }

    /// Returns all namespaces created from a pattern, or `None` if the pattern is not configured.
    pub(crate) fn of_pattern(&self, pattern: &str) -> Option<Vec<Arc<NamespaceState>>> {
        let definition = self.table.of_pattern(pattern)?;
        Some(self.all().into_iter().filter(|namespace| Arc::ptr_eq(&namespace.definition, definition)).collect())
    }

    /// Returns the namespace with a name. Creates it if a pattern or predicate accepts the name. Each call must be matched by one
    /// of [`release`](Self::release).
    ///
    /// `dynamic` returns whether the client may join another dynamic namespace.
    pub(super) fn acquire(&self, name: &str, dynamic: impl Fn() -> bool) -> Lookup {
        if let Some(namespace) = self.exact(name) {
            return Lookup::Found(namespace);
        }
        let contain = |accepts: &dyn Fn() -> bool| match self.server.upgrade() {
            Some(server) => server.catch_panic(accepts).unwrap_or(false),
            None => false,
        };
        // Predicates are user code: they run without the lock.
        match self.table.find(name, contain) {
            Found::Nothing => Lookup::Unknown,
            Found::Definition(_) | Found::NeedsAsync(_) if !dynamic() => Lookup::TooManyHere,
            Found::Definition(definition) => self.acquire_dynamic(name, definition),
            Found::NeedsAsync(place) => Lookup::NeedsAsync(place),
        }
    }

    /// Like [`acquire`](Self::acquire), starting with the asynchronous predicate at `place`.
    pub(super) async fn find_async(&self, place: usize, request: &NamespaceRequest) -> Lookup {
        match self.table.find_async(place, request).await {
            Some(definition) => self.acquire_dynamic(request.name(), definition),
            // It may have been added in the meantime.
            None => self.exact(request.name()).map_or(Lookup::Unknown, Lookup::Found),
        }
    }

    /// Returns the namespace that was declared or added by this name.
    fn exact(&self, name: &str) -> Option<Arc<NamespaceState>> {
        self.get(name).filter(|namespace| !namespace.is_dynamic())
    }

    fn acquire_dynamic(&self, name: &str, definition: &Arc<Definition>) -> Lookup {
        let mut dropped = None;
        let mut existing = self.existing.write();
        let lookup = match existing.by_name.get(name) {
            // It has been added while the predicate was asked.
            Some(found) if !found.is_dynamic() => Lookup::Found(found.clone()),
            // An existing namespace is joined only if the same predicate accepted this client.
            Some(found) if Arc::ptr_eq(&found.definition, definition) => Lookup::Found(found.clone()),
            Some(_) => return Lookup::Unknown,
            None => {
                if existing.dynamic >= self.table.max_dynamic {
                    dropped = existing.drop_oldest_empty();
                    if dropped.is_none() {
                        return Lookup::TooMany;
                    }
                }
                let name: Arc<str> = name.into();
                let namespace = NamespaceState::new(
                    name.clone(),
                    definition.clone(),
                    self.settings.clone(),
                    self.server.clone(),
                    true,
                );
                existing.by_name.insert(name, namespace.clone());
                existing.dynamic += 1;
                Lookup::Created(namespace)
            }
        };
        if let Lookup::Found(namespace) | Lookup::Created(namespace) = &lookup {
            existing.enter(namespace);
        }
        drop(existing);
        if let Lookup::Created(namespace) = &lookup {
            namespace.changed();
        }
        // The recorded sessions hold user values, which must be dropped without the lock.
        if let Some(dropped) = dropped {
            dropped.changed();
        }
        lookup
    }

    /// Releases a namespace when a socket has left it or was not admitted.
    pub(crate) fn release(&self, namespace: &NamespaceState) {
        let Some(users) = &namespace.users else {
            return;
        };
        if users.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.remove_if_unused(namespace);
        }
    }

    /// Like [`release`](Self::release), but keeps the namespace if it has no sockets.
    fn release_kept(&self, namespace: &NamespaceState) {
        let Some(users) = &namespace.users else {
            return;
        };
        let mut existing = self.existing.write();
        if users.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            existing.keep_empty(namespace);
        }
    }

    /// Drops a dynamic namespace without sockets, unless clients may be recovered in it or cleanup is disabled.
    pub(super) fn remove_if_unused(&self, namespace: &NamespaceState) {
        let mut existing = self.existing.write();
        let is_it = existing.by_name.get(namespace.name()).is_some_and(|found| std::ptr::eq(&**found, namespace));
        // A socket may have joined in the meantime.
        if !is_it || !namespace.is_empty() {
            return;
        }
        if self.table.cleanup && !namespace.is_awaited() {
            let removed = existing.remove(namespace);
            drop(existing);
            namespace.changed();
            drop(removed);
        } else {
            existing.keep_empty(namespace);
        }
    }
}

impl Existing {
    /// Counts a socket. The namespace is no longer empty.
    fn enter(&mut self, namespace: &NamespaceState) {
        let Some(users) = &namespace.users else { return };
        users.count.fetch_add(1, Ordering::Relaxed);
        if let Some(place) = users.take_empty_place() {
            self.empty.remove(place);
        }
    }

    /// Keeps an empty namespace while there is room.
    fn keep_empty(&mut self, namespace: &NamespaceState) {
        if let Some(users) = &namespace.users
            && users.empty_place().is_none()
        {
            users.set_empty_place(self.empty.push(namespace.shared_name()));
        }
    }

    fn drop_oldest_empty(&mut self) -> Option<Arc<NamespaceState>> {
        let name = self.empty.first()?.clone();
        let namespace = self.by_name.get(&name)?.clone();
        self.remove(&namespace)
    }

    fn remove(&mut self, namespace: &NamespaceState) -> Option<Arc<NamespaceState>> {
        if let Some(place) = namespace.users.as_ref().and_then(Users::take_empty_place) {
            self.empty.remove(place);
        }
        let removed = self.by_name.remove(namespace.name())?;
        self.dynamic -= 1;
        self.shrink();
        Some(removed)
    }

    fn shrink(&mut self) {
        if self.by_name.capacity() > 64 && self.by_name.len() < self.by_name.capacity() / 4 {
            let wanted = self.by_name.len() * 2;
            self.by_name.shrink_to(wanted);
        }
    }
}

impl NamespaceState {
    fn new(
        name: Arc<str>,
        definition: Arc<Definition>,
        settings: Arc<Settings>,
        server: Weak<Server>,
        dynamic: bool,
    ) -> Arc<Self> {
        let has_journal = settings.uses_journal();
        Arc::new(Self {
            name,
            definition,
            registry: Mutex::new(if settings.is_observed { Registry::recording() } else { Registry::default() }),
            ack_ids: AtomicU64::new(0),
            users: dynamic.then(Users::default),
            removed: AtomicBool::new(false),
            memory: settings.recovery.clone().filter(|_| !has_journal).map(Memory::new),
            journal: has_journal.then(Box::default),
            settings,
            server,
        })
    }

    /// Disconnects all sockets. No socket can enter afterwards.
    pub(crate) fn close(&self) {
        let sockets = self.with_registry(|registry| {
            self.removed.store(true, Ordering::Release);
            registry.select(&Selection::default(), None)
        });
        sockets.iter().for_each(Socket::disconnect);
    }

    /// Returns `true` if the namespace has been removed from the server.
    pub(super) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Counts a panic of user code.
    pub(crate) fn count_panic(&self) {
        if let Some(server) = self.server.upgrade() {
            server.count_panic();
        }
    }

    /// Returns `true` if a room has members on this node. The id of a socket is a room.
    pub(crate) fn has_room(&self, room: &str) -> bool {
        let selection = Selection { rooms: vec![room.into()], except: Vec::new() };
        self.with_registry(|registry| registry.select(&selection, None).len() > 0)
    }

    pub(crate) fn next_ack_id(&self) -> u64 {
        self.ack_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns `true` if the namespace is dynamic and has no sockets.
    pub(super) fn is_empty(&self) -> bool {
        self.users.as_ref().is_some_and(|users| users.count.load(Ordering::Relaxed) == 0)
    }

    /// Returns `true` if a lost socket may return.
    pub(super) fn is_awaited(&self) -> bool {
        self.memory.as_ref().is_some_and(Memory::is_awaited)
    }

    /// Calls `change` with the registry. `change` must not run user code, and must not take a lock other than that of a socket's
    /// `member`.
    pub(crate) fn with_registry<R>(&self, change: impl FnOnce(&mut Registry<Arc<Socket>>) -> R) -> R {
        let mut registry = self.registry.lock();
        let rooms = RoomCount::before(&registry);
        let result = change(&mut registry);
        let rooms = rooms.after(&registry);
        drop(registry);
        self.meters().rooms(rooms);
        result
    }
}

const NO_PLACE: u32 = u32::MAX;

impl Default for Users {
    fn default() -> Self {
        Self { count: AtomicUsize::new(0), empty_place: AtomicU32::new(NO_PLACE) }
    }
}

impl Users {
    fn empty_place(&self) -> Option<u32> {
        Some(self.empty_place.load(Ordering::Relaxed)).filter(|place| *place != NO_PLACE)
    }

    fn set_empty_place(&self, place: u32) {
        self.empty_place.store(place, Ordering::Relaxed);
    }

    fn take_empty_place(&self) -> Option<u32> {
        let place = self.empty_place();
        self.set_empty_place(NO_PLACE);
        place
    }
}
