//! The modules form a hierarchy: each module imports only modules below it.

mod graph;

use std::collections::BTreeSet;

use graph::{Graph, circles};

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
    "event",
    "io",
    "observer",
    "extract",
    "handler",
    "namespace",
    "config",
    "typed",
    "middleware",
    "admin",
    "service",
    "layer",
    "test",
    "guide",
];

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
    assert!(upwards.is_empty(), "these modules import others that are above them: {upwards:?}");
}

/// `make locks` measures the locks that `util` exports, and no others.
#[test]
fn only_util_names_the_crate_of_the_locks() {
    let source = crate::docs::folder().join("src");
    for file in Graph::read().files.keys().filter(|file| !file.starts_with("util/lock/")) {
        let code = std::fs::read_to_string(source.join(file)).unwrap();
        assert!(!code.contains("parking_lot::"), "{file}");
    }
}

#[test]
fn no_files_import_one_another() {
    let circles = circles(&Graph::read().files);
    assert!(circles.is_empty(), "{circles:#?}");
}

/// Neither the folders and files of `src`, nor those of any folder in it.
#[test]
fn no_folders_import_one_another() {
    for (folder, entries) in Graph::read().folders() {
        let circles = circles(&entries);
        assert!(circles.is_empty(), "in `{folder}`: {circles:#?}");
    }
}
