//! The programs that the pages of `docs` show in full, without the code that a doctest would need.

use std::fs;

use crate::docs::folder;

#[allow(dead_code)] // its `main`
mod getting_started;
mod limits;
mod recovery;
mod testing;

/// Returns the lines without their leading and trailing white space.
fn lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_pages_show_the_tested_programs() {
    for (page, program) in [
        ("deployment", "examples/tickets/src/main.rs"),
        ("getting-started", "tests/guide/getting_started.rs"),
        ("limits", "tests/guide/limits.rs"),
        ("recovery", "tests/guide/recovery.rs"),
        ("testing", "tests/guide/testing.rs"),
    ] {
        let read = |path: &str| fs::read_to_string(folder().join(path)).unwrap();
        let (shown, tested) = (read(&format!("docs/{page}.md")), read(program));
        let tested = lines(&tested);
        let blocks: Vec<&str> = shown.split("```rust,ignore\n").skip(1).collect();
        assert_eq!(blocks.len(), 1, "{page}");
        let block = lines(blocks[0].split("```").next().unwrap());
        assert!(block.len() > 10, "{page}");
        let mut rest = tested.iter();
        for line in block {
            assert!(rest.any(|tested| *tested == line), "{page}: {line}");
        }
    }
}
