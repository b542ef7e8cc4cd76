//! The lookup of namespace definitions by name.

use std::{collections::HashMap, fmt, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;

use crate::util::{BoxFuture, log};

use super::namespace_request::NamespaceRequest;

/// Returns `true` if the name is a pattern.
pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(['{', '}'])
}

/// The namespaces of a configuration.
pub(crate) struct NamespaceTable<D> {
    exact: HashMap<String, Arc<D>>,
    patterns: matchit::Router<Arc<D>>,
    /// By pattern, as configured.
    definitions: HashMap<String, Arc<D>>,
    predicates: Vec<(Predicate, Arc<D>)>,
    pub(crate) cleanup: bool,
    pub(crate) max_dynamic: usize,
}

/// Decides whether a name is served.
pub(crate) enum Predicate {
    Sync(Box<dyn Fn(&str) -> bool + Send + Sync>),
    Async(Box<dyn Fn(NamespaceRequest) -> BoxFuture<bool> + Send + Sync>),
}

impl<D> Default for NamespaceTable<D> {
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

impl<D> NamespaceTable<D> {
    #[track_caller]
    pub(crate) fn add(&mut self, name: String, definition: D) {
        assert!(
            !name.contains([',', '?']),
            "the namespace `{name}` contains a comma or a question mark, which clients cannot send in a name"
        );
        let definition = Arc::new(definition);
        if !is_pattern(&name) {
            let before = self.exact.insert(name.clone(), definition);
            assert!(before.is_none(), "the namespace `{name}` has been added twice: merge the two");
            return;
        }
        if let Err(error) = self.patterns.insert(&*name, definition.clone()) {
            panic!("the namespace pattern `{name}` cannot be added: {error}");
        }
        self.definitions.insert(name, definition);
    }

    pub(crate) fn add_predicate(&mut self, predicate: Predicate, definition: D) {
        self.predicates.push((predicate, Arc::new(definition)));
    }

    /// Returns `true` if a namespace with exactly this name has been added.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.exact.contains_key(name)
    }

    /// Removes and returns the namespaces that always exist, by name.
    pub(super) fn take_exact(&mut self) -> HashMap<String, Arc<D>> {
        std::mem::take(&mut self.exact)
    }

    /// Returns the definition of a pattern, as configured.
    pub(super) fn of_pattern(&self, pattern: &str) -> Option<&Arc<D>> {
        self.definitions.get(pattern)
    }

    /// Finds the definition for a name, without asking asynchronous predicates.
    ///
    /// `contain` calls a predicate and catches its panic, which counts as a refusal.
    pub(super) fn find(&self, name: &str, contain: impl Fn(&dyn Fn() -> bool) -> bool) -> Found<'_, D> {
        if let Ok(found) = self.patterns.at(name) {
            return Found::Definition(found.value);
        }
        for (place, (predicate, definition)) in self.predicates.iter().enumerate() {
            match predicate {
                Predicate::Sync(accepts) if contain(&|| accepts(name)) => return Found::Definition(definition),
                Predicate::Sync(_) => {}
                Predicate::Async(_) => return Found::NeedsAsync(place),
            }
        }
        Found::Nothing
    }

    /// Like [`find`](Self::find), starting with the asynchronous predicate at `place`.
    pub(super) async fn find_async(&self, place: usize, request: &NamespaceRequest) -> Option<&Arc<D>> {
        let engine = request.engine();
        for (predicate, definition) in &self.predicates[place..] {
            let accepted = match predicate {
                Predicate::Sync(accepts) => engine.catch_panic(|| accepts(request.name())).unwrap_or(false),
                Predicate::Async(accepts) => {
                    let asked = AssertUnwindSafe(async { accepts(request.clone()).await });
                    asked.catch_unwind().await.unwrap_or_else(|_| {
                        engine.count_panic();
                        log!(error, namespace = %request.name(), "a namespace predicate panicked");
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

pub(super) enum Found<'a, D> {
    Definition(&'a Arc<D>),
    /// The predicate with this index is asynchronous.
    NeedsAsync(usize),
    Nothing,
}

impl<D> fmt::Debug for NamespaceTable<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceTable").field("exact", &self.exact.keys()).finish_non_exhaustive()
    }
}
