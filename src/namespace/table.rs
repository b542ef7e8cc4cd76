use std::{
    borrow::Cow,
    collections::HashMap,
    convert::Infallible,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Extensions, Request};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use tower_service::Service;

use crate::{
    engine::ConnectionRequest,
    packet::read_json,
    server::Client,
    util::{BoxFuture, Order, log},
};

use super::{
    Common, ConnectFuture, ConnectRoute, Definition, Namespace, NamespaceState, connect_request::encode_pattern,
    state::Users,
};

/// The name of a namespace with the slash that a user may have left out.
pub(crate) fn absolute(name: &str) -> Cow<'_, str> {
    if name.starts_with('/') { name.into() } else { format!("/{name}").into() }
}

/// The namespaces of a configuration.
pub(crate) struct NamespaceTable {
    exact: HashMap<String, Definition>,
    patterns: matchit::Router<Arc<Definition>>,
    /// By their patterns, as they were given.
    definitions: HashMap<String, Arc<Definition>>,
    predicates: Vec<(Predicate, Arc<Definition>)>,
    pub(crate) cleanup: bool,
    pub(crate) max_dynamic: usize,
}

/// What decides whether a name is served.
pub(crate) enum Predicate {
    AtOnce(Box<dyn Fn(&str) -> bool + Send + Sync>),
    Later(Box<dyn Fn(NamespaceRequest) -> BoxFuture<bool> + Send + Sync>),
}

impl Default for NamespaceTable {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            patterns: matchit::Router::new(),
            definitions: HashMap::new(),
            predicates: Vec::new(),
            cleanup: true,
            max_dynamic: 10_000,
        }
    }
}

impl NamespaceTable {
    #[track_caller]
    pub(crate) fn add(&mut self, name: &str, namespace: Namespace) {
        let name = absolute(name).into_owned();
        assert!(
            !name.contains([',', '?']),
            "the namespace `{name}` holds a comma or a question mark, which clients cannot send in a name"
        );
        let definition = namespace.build(&name);
        if !name.contains(['{', '}']) {
            let before = self.exact.insert(name.clone(), definition);
            assert!(before.is_none(), "the namespace `{name}` has been added twice: merge the two");
            return;
        }
        let connect = with_path(definition.connect, &name);
        let definition = Definition { connect, on_connect: with_path(definition.on_connect, &name), ..definition };
        let definition = Arc::new(definition);
        if let Err(error) = self.patterns.insert(&*name, definition.clone()) {
            panic!("the namespace pattern `{name}` cannot be added: {error}");
        }
        self.definitions.insert(name, definition);
    }

    pub(crate) fn add_predicate(&mut self, predicate: Predicate, namespace: Namespace) {
        self.predicates.push((predicate, Arc::new(namespace.build("*"))));
    }

    /// What serves a name that has no definition of its own, as far as that can be said at once.
    ///
    /// `contain` runs a predicate, which accepts nothing if it panics.
    fn find(&self, name: &str, contain: impl Fn(&dyn Fn() -> bool) -> bool) -> Found<'_> {
        if let Ok(found) = self.patterns.at(name) {
            return Found::Definition(found.value);
        }
        for (place, (predicate, definition)) in self.predicates.iter().enumerate() {
            match predicate {
                Predicate::AtOnce(accepts) if contain(&|| accepts(name)) => return Found::Definition(definition),
                Predicate::AtOnce(_) => {}
                Predicate::Later(_) => return Found::Asking(place),
            }
        }
        Found::Nothing
    }

    /// The same, from a predicate on that takes its time.
    async fn ask(&self, place: usize, request: &NamespaceRequest) -> Option<&Arc<Definition>> {
        let server = &request.client.server;
        for (predicate, definition) in &self.predicates[place..] {
            let accepted = match predicate {
                Predicate::AtOnce(accepts) => server.contained(|| accepts(request.name())).unwrap_or(false),
                Predicate::Later(accepts) => {
                    let asked = AssertUnwindSafe(async { accepts(request.clone()).await });
                    asked.catch_unwind().await.unwrap_or_else(|_| {
                        server.count_panic();
                        log!(error, namespace = %request.name(), "a predicate for namespaces panicked");
                        false
                    })
                }
            };
            if accepted {
                return Some(definition);
            }
        }
        None
    }
}

enum Found<'a> {
    Definition(&'a Arc<Definition>),
    /// The predicate at this place decides later.
    Asking(usize),
    Nothing,
}

/// A client's wish to join a namespace that may not exist yet. See
/// [`SocketIoConfig::namespace_when`](crate::SocketIoConfig::namespace_when).
#[derive(Clone)]
pub struct NamespaceRequest {
    client: Arc<Client>,
    name: Arc<str>,
    auth: Bytes,
}

impl NamespaceRequest {
    pub(super) fn new(client: &Arc<Client>, name: &str, auth: &Bytes) -> Self {
        Self { client: client.clone(), name: name.into(), auth: auth.clone() }
    }

    /// The name that the client asks for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the client sent as `auth`. `{}` if it sent nothing.
    ///
    /// # Errors
    ///
    /// If it does not fit the type.
    pub fn auth<T: DeserializeOwned + Send>(&self) -> serde_json::Result<T> {
        read_json(&self.auth)
    }

    /// The request that opened the connection.
    #[must_use]
    pub fn request(&self) -> &ConnectionRequest {
        &self.client.connection.request
    }
}

impl fmt::Debug for NamespaceRequest {
    /// Leaves out the auth payload, which holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Puts axum's own router around a pattern's services, so that `Path` can be extracted.
fn with_path(route: ConnectRoute, pattern: &str) -> ConnectRoute {
    // Names may begin a segment as routes of axum 0.7 did their parameters.
    let router = Router::new().without_v07_checks();
    let router: Router = router.route_service(&encode_pattern(pattern), Restore(route));
    ConnectRoute::new(SetAside(router))
}

/// Sets aside what the layers of the HTTP routes put on the request, and gives it back behind the router of the pattern: a
/// route of theirs may have parameters of its own, which axum would mix with the pattern's.
#[derive(Clone)]
struct SetAside(Router);

#[derive(Clone)]
struct Restore(ConnectRoute);

#[derive(Clone)]
struct Aside(Extensions);

impl Service<Request<Body>> for SetAside {
    type Response = Response;
    type Error = Infallible;
    type Future = <Router as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let aside = Aside(std::mem::take(request.extensions_mut()));
        request.extensions_mut().insert(aside);
        self.0.call(request)
    }
}

impl Service<Request<Body>> for Restore {
    type Response = Response;
    type Error = Infallible;
    type Future = ConnectFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let extensions = request.extensions_mut();
        if let Some(Aside(mut restored)) = extensions.remove::<Aside>() {
            restored.extend(std::mem::take(extensions));
            *extensions = restored;
        }
        self.0.call(request)
    }
}

impl fmt::Debug for NamespaceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceTable").field("exact", &self.exact.keys()).finish_non_exhaustive()
    }
}

/// The namespaces of a server: those that always exist, and those that patterns and predicates have made.
#[derive(Debug)]
pub(crate) struct Namespaces {
    table: NamespaceTable,
    existing: RwLock<Existing>,
    common: Common,
}

#[derive(Debug)]
struct Existing {
    /// Names come from clients: std's hasher resists chosen keys.
    by_name: HashMap<Arc<str>, Arc<NamespaceState>>,
    /// How many of them are dynamic.
    dynamic: usize,
    /// The dynamic ones that are kept although they have no sockets, the one that has had none for the longest time
    /// first. They make room for new ones.
    empty: Order<Arc<str>>,
}

/// What a client's CONNECT leads to.
#[derive(Debug)]
pub(super) enum Lookup {
    Found(Arc<NamespaceState>),
    /// It has just been made.
    Made(Arc<NamespaceState>),
    Unknown,
    /// A pattern matches, but has made as many namespaces as it may, and all of them have sockets.
    TooMany,
    /// A pattern matches, but the connection has joined as many dynamic namespaces as it may.
    TooManyHere,
    /// The predicate at this place decides later.
    Asking(usize),
}

impl Namespaces {
    pub(crate) fn new(mut table: NamespaceTable, common: Common) -> Self {
        let mut exact = std::mem::take(&mut table.exact);
        exact.entry("/".to_owned()).or_insert_with(|| Namespace::new().build("/"));
        let state = |(name, definition): (String, Definition)| {
            let name: Arc<str> = name.into();
            (name.clone(), NamespaceState::new(name, Arc::new(definition), common.clone(), false))
        };
        let by_name = exact.into_iter().map(state).collect();
        let existing = Existing { by_name, dynamic: 0, empty: Order::default() };
        Self { existing: RwLock::new(existing), table, common }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<NamespaceState>> {
        self.existing.read().by_name.get(name).cloned()
    }

    /// All namespaces that exist now.
    pub(crate) fn all(&self) -> Vec<Arc<NamespaceState>> {
        self.existing.read().by_name.values().cloned().collect()
    }

    /// All namespaces that a pattern has made, as it was given; `None` if there is no such pattern.
    pub(crate) fn of_pattern(&self, pattern: &str) -> Option<Vec<Arc<NamespaceState>>> {
        let definition = self.table.definitions.get(pattern)?;
        Some(self.all().into_iter().filter(|namespace| Arc::ptr_eq(&namespace.definition, definition)).collect())
    }

    /// The namespace of a name, made if a pattern or predicate says so. It stays until it is
    /// [`release`](Self::release)d as often as it was acquired.
    ///
    /// `dynamic`: whether the client may join another one that patterns or predicates make.
    pub(super) fn acquire(&self, name: &str, dynamic: impl Fn() -> bool) -> Lookup {
        match self.get(name) {
            Some(namespace) if !namespace.is_dynamic() => return Lookup::Found(namespace),
            _ => {}
        }
        let contain = |accepts: &dyn Fn() -> bool| match self.common.server.upgrade() {
            Some(server) => server.contained(accepts).unwrap_or(false),
            None => false,
        };
        // The user's predicates run before the lock is taken.
        match self.table.find(name, contain) {
            Found::Nothing => Lookup::Unknown,
            Found::Definition(_) | Found::Asking(_) if !dynamic() => Lookup::TooManyHere,
            Found::Definition(definition) => self.acquire_dynamic(name, definition),
            Found::Asking(place) => Lookup::Asking(place),
        }
    }

    /// As [`acquire`](Self::acquire), from a predicate on that takes its time.
    pub(super) async fn ask(&self, place: usize, request: &NamespaceRequest) -> Lookup {
        match self.table.ask(place, request).await {
            Some(definition) => self.acquire_dynamic(request.name(), definition),
            None => Lookup::Unknown,
        }
    }

    fn acquire_dynamic(&self, name: &str, definition: &Arc<Definition>) -> Lookup {
        let mut dropped = None;
        let mut existing = self.existing.write();
        let lookup = match existing.by_name.get(name) {
            // Whoever accepts a name accepts this client: that others are there already says nothing.
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
                let namespace = NamespaceState::new(name.clone(), definition.clone(), self.common.clone(), true);
                existing.by_name.insert(name, namespace.clone());
                existing.dynamic += 1;
                Lookup::Made(namespace)
            }
        };
        if let Lookup::Found(namespace) | Lookup::Made(namespace) = &lookup {
            existing.enter(namespace);
        }
        drop(existing);
        // What was remembered for clients that may come back is the user's.
        drop(dropped);
        lookup
    }

    /// A socket has left a namespace, or was not admitted.
    pub(crate) fn release(&self, namespace: &NamespaceState) {
        let Some(users) = &namespace.users else {
            return;
        };
        if users.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.remove_if_unused(namespace);
        }
    }

    /// Drops a dynamic namespace without sockets, unless clients may be recovered in it or cleanup is off.
    pub(super) fn remove_if_unused(&self, namespace: &NamespaceState) {
        let mut existing = self.existing.write();
        let is_it = existing.by_name.get(namespace.name()).is_some_and(|found| std::ptr::eq(&**found, namespace));
        // Somebody may have come in the meantime.
        if !is_it || !namespace.is_empty() {
            return;
        }
        if self.table.cleanup && !namespace.is_awaited() {
            let removed = existing.remove(namespace);
            drop(existing);
            drop(removed);
        } else {
            existing.keep_empty(namespace);
        }
    }
}

impl Existing {
    /// A socket comes: the namespace is not empty any more.
    fn enter(&mut self, namespace: &NamespaceState) {
        let Some(users) = &namespace.users else { return };
        users.count.fetch_add(1, Ordering::Relaxed);
        if let Some(place) = users.take_empty_place() {
            self.empty.remove(place);
        }
    }

    /// The namespace stays although it is empty, as long as there is room.
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
        if self.by_name.capacity() > 64 && self.by_name.len() < self.by_name.capacity() / 4 {
            let wanted = self.by_name.len() * 2;
            self.by_name.shrink_to(wanted);
        }
        Some(removed)
    }
}
