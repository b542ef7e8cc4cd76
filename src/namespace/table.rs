use std::{
    borrow::Cow,
    collections::HashMap,
    convert::Infallible,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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
    connection::{Connection, ConnectionRequest},
    packet::read_json,
    server::BoxFuture,
};

use super::{
    Common, ConnectFuture, ConnectRoute, Definition, Namespace, NamespaceState, connect_request::encode_pattern,
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
    fn find(&self, name: &str) -> Found<'_> {
        if let Ok(found) = self.patterns.at(name) {
            return Found::Definition(found.value);
        }
        for (place, (predicate, definition)) in self.predicates.iter().enumerate() {
            match predicate {
                Predicate::AtOnce(accepts) if contained(|| accepts(name)) => return Found::Definition(definition),
                Predicate::AtOnce(_) => {}
                Predicate::Later(_) => return Found::Asking(place),
            }
        }
        Found::Nothing
    }

    /// The same, from a predicate on that takes its time.
    async fn ask(&self, place: usize, request: &NamespaceRequest) -> Option<&Arc<Definition>> {
        for (predicate, definition) in &self.predicates[place..] {
            let accepted = match predicate {
                Predicate::AtOnce(accepts) => contained(|| accepts(request.name())),
                Predicate::Later(accepts) => {
                    let asked = AssertUnwindSafe(async { accepts(request.clone()).await });
                    asked.catch_unwind().await.unwrap_or(false)
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

/// A predicate that panics accepts nothing.
fn contained(accepts: impl FnOnce() -> bool) -> bool {
    catch_unwind(AssertUnwindSafe(accepts)).unwrap_or(false)
}

/// A client's wish to join a namespace that may not exist yet. See
/// [`SocketIoConfig::namespace_when`](crate::SocketIoConfig::namespace_when).
#[derive(Clone)]
pub struct NamespaceRequest {
    connection: Arc<Connection>,
    name: Arc<str>,
    auth: Bytes,
}

impl NamespaceRequest {
    pub(super) fn new(connection: &Arc<Connection>, name: &str, auth: &Bytes) -> Self {
        Self { connection: connection.clone(), name: name.into(), auth: auth.clone() }
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
        &self.connection.request
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
    let router: Router = Router::new().route_service(&encode_pattern(pattern), Restore(route));
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
    /// Names come from clients: std's hasher resists chosen keys.
    existing: RwLock<HashMap<Arc<str>, Arc<NamespaceState>>>,
    /// How many of them are dynamic; changed under the lock.
    dynamic: AtomicUsize,
    common: Common,
}

/// What a client's CONNECT leads to.
#[derive(Debug)]
pub(super) enum Lookup {
    Found(Arc<NamespaceState>),
    /// It has just been made.
    Made(Arc<NamespaceState>),
    Unknown,
    /// A pattern matches, but has made as many namespaces as it may.
    TooMany,
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
        Self {
            existing: RwLock::new(exact.into_iter().map(state).collect()),
            table,
            dynamic: AtomicUsize::new(0),
            common,
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<NamespaceState>> {
        self.existing.read().get(name).cloned()
    }

    /// All namespaces that exist now.
    pub(crate) fn all(&self) -> Vec<Arc<NamespaceState>> {
        self.existing.read().values().cloned().collect()
    }

    /// All namespaces that a pattern has made, as it was given; `None` if there is no such pattern.
    pub(crate) fn of_pattern(&self, pattern: &str) -> Option<Vec<Arc<NamespaceState>>> {
        let definition = self.table.definitions.get(pattern)?;
        Some(self.all().into_iter().filter(|namespace| Arc::ptr_eq(&namespace.definition, definition)).collect())
    }

    /// The namespace of a name, made if a pattern or predicate says so. It stays until it is
    /// [`release`](Self::release)d as often as it was acquired.
    pub(super) fn acquire(&self, name: &str) -> Lookup {
        match self.get(name) {
            Some(namespace) if !namespace.is_dynamic() => return Lookup::Found(namespace),
            _ => {}
        }
        // The user's predicates run before the lock is taken.
        match self.table.find(name) {
            Found::Definition(definition) => self.acquire_dynamic(name, Some(definition)),
            Found::Nothing => self.acquire_dynamic(name, None),
            Found::Asking(place) => Lookup::Asking(place),
        }
    }

    /// As [`acquire`](Self::acquire), from a predicate on that takes its time.
    pub(super) async fn ask(&self, place: usize, request: &NamespaceRequest) -> Lookup {
        let definition = self.table.ask(place, request).await;
        self.acquire_dynamic(request.name(), definition)
    }

    fn acquire_dynamic(&self, name: &str, definition: Option<&Arc<Definition>>) -> Lookup {
        let mut existing = self.existing.write();
        let (namespace, made) = match (existing.get(name), definition) {
            // Whoever accepts a name accepts this client: that others are there already says nothing.
            (Some(namespace), Some(definition)) if Arc::ptr_eq(&namespace.definition, definition) => {
                (namespace.clone(), false)
            }
            (Some(_), _) | (None, None) => return Lookup::Unknown,
            (None, Some(_)) if self.dynamic.load(Ordering::Relaxed) >= self.table.max_dynamic => {
                return Lookup::TooMany;
            }
            (None, Some(definition)) => {
                let name: Arc<str> = name.into();
                let namespace = NamespaceState::new(name.clone(), definition.clone(), self.common.clone(), true);
                existing.insert(name, namespace.clone());
                self.dynamic.fetch_add(1, Ordering::Relaxed);
                (namespace, true)
            }
        };
        if let Some(users) = &namespace.users {
            users.fetch_add(1, Ordering::Relaxed);
        }
        if made { Lookup::Made(namespace) } else { Lookup::Found(namespace) }
    }

    /// A socket has left a namespace, or was not admitted.
    pub(crate) fn release(&self, namespace: &NamespaceState) {
        let Some(users) = &namespace.users else {
            return;
        };
        users.fetch_sub(1, Ordering::Relaxed);
        self.remove_if_unused(namespace);
    }

    /// Drops a dynamic namespace that nobody is in, and that nobody may come back to.
    pub(super) fn remove_if_unused(&self, namespace: &NamespaceState) {
        if !self.table.cleanup || !namespace.is_unused() {
            return;
        }
        let mut existing = self.existing.write();
        let is_it = existing.get(namespace.name()).is_some_and(|found| std::ptr::eq(&**found, namespace));
        // Somebody may have come in the meantime.
        if is_it && namespace.is_unused() {
            let removed = existing.remove(namespace.name());
            self.dynamic.fetch_sub(1, Ordering::Relaxed);
            if existing.capacity() > 64 && existing.len() < existing.capacity() / 4 {
                let wanted = existing.len() * 2;
                existing.shrink_to(wanted);
            }
            drop(existing);
            drop(removed);
        }
    }
}
