//! The modules form a hierarchy: each imports only what stands below it.

mod graph;

use std::collections::BTreeSet;

use graph::{Graph, largest_circle};

/// The modules of the crate, from the bottom to the top. Those of one line may not import one another either.
const ORDER: &[&[&str]] = &[];

/// Imports that run upwards. This list may only become shorter.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// The number of files in the largest circle of imports. This number may only become smaller.
const LARGEST_CIRCLE: usize = 0;

#[test]
fn print() {
    let graph = Graph::read();
    let circle = largest_circle(&graph.files);
    println!("{} {circle:#?}", circle.len());
    for (module, uses) in graph.modules() {
        println!("{module}: {uses:?}");
    }
    let _ = (ORDER, EXCEPTIONS, LARGEST_CIRCLE, BTreeSet::<u8>::new());
}
