//! The modules form a hierarchy: each module imports only modules below it.

mod graph;

use std::collections::BTreeSet;

use graph::{Graph, largest_circle};

/// The modules of the crate, from bottom to top.
const ORDER: &[&str] = &[
    "util",
    "engine",
    "packet",
    "room",
    "parser",
    "recovery",
    "cluster",
    "observe",
    "client_bundle",
    "server",
    "socket",
    "handler",
    "extract",
    "namespace",
    "io",
    "config",
    "typed",
    "middleware",
    "service",
    "layer",
    "test",
    "guide",
];

/// Imports that point upwards. This list may only become shorter.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("client_bundle", "config"),
    ("cluster", "io"),
    ("cluster", "server"),
    ("cluster", "socket"),
    ("extract", "io"),
    ("extract", "namespace"),
    ("handler", "extract"),
    ("handler", "namespace"),
    ("namespace", "io"),
    ("observe", "handler"),
    ("observe", "namespace"),
    ("observe", "socket"),
    ("recovery", "config"),
    ("recovery", "socket"),
    ("server", "config"),
    ("server", "namespace"),
    ("server", "socket"),
    ("socket", "extract"),
    ("socket", "handler"),
    ("socket", "io"),
    ("socket", "namespace"),
];

/// The number of files in the largest import cycle. It may only become smaller.
const LARGEST_CIRCLE: usize = 39;

#[test]
fn a_module_imports_only_those_below_it() {
    let place = |module: &str| {
        ORDER.iter().position(|known| *known == module).unwrap_or_else(|| panic!("`{module}` has no place in ORDER"))
    };
    let mut upwards = BTreeSet::new();
    for (module, uses) in Graph::read().modules() {
        upwards.extend(
            uses.into_iter().filter(|other| place(other) > place(&module)).map(|other| (module.clone(), other)),
        );
    }
    let allowed: BTreeSet<(String, String)> =
        EXCEPTIONS.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let new: Vec<_> = upwards.difference(&allowed).collect();
    assert!(new.is_empty(), "these modules import others that are above them: {new:?}");
    let gone: Vec<_> = allowed.difference(&upwards).collect();
    assert!(gone.is_empty(), "these exceptions are not needed any more: {gone:?}");
}

#[test]
fn the_largest_circle_of_files_does_not_grow() {
    let circle = largest_circle(&Graph::read().files);
    assert_eq!(circle.len(), LARGEST_CIRCLE, "{circle:#?}");
}
