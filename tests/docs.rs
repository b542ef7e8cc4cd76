//! The documents agree with the tests.

use std::{collections::BTreeSet, fs, path::Path};

/// Matches `module::test`, as the tables of the documents write it.
fn named_tests(document: &str) -> BTreeSet<(String, String)> {
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let quoted = document.split('`').skip(1).step_by(2);
    let pair = |text: &str| text.rsplit_once("::").map(|(module, test)| (module.to_owned(), test.to_owned()));
    let path = |module: &str| module.split("::").all(is_name);
    quoted.filter_map(pair).filter(|(module, test)| path(module) && is_name(test)).collect()
}

pub(crate) fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn exists(module: &str, test: &str) -> bool {
    let module = module.replace("::", "/");
    let source = fs::read_to_string(folder().join(format!("tests/{module}.rs")));
    source.is_ok_and(|source| {
        let function = format!("fn {test}(");
        source
            .split("#[t")
            .skip(1)
            .chain(source.split("#[test]").skip(1))
            .any(|part| part.lines().take(4).any(|line| line.contains(&function)))
    })
}

/// `make interop` tests it with the parser of npm.
#[test]
fn the_parser_of_the_page_is_tested_with_a_client() {
    let read = |file: &str| fs::read_to_string(folder().join(file)).unwrap();
    let (page, tested) = (read("docs/parsers.md"), read("tests/interop/json_parser.rs"));
    let (_, tested) = tested.split_once("\n\n").unwrap();
    assert!(page.contains(&tested.replace("pub struct JsonParser", "struct JsonParser")));
}

#[test]
fn every_test_that_a_document_names_exists() {
    let modules: BTreeSet<String> = fs::read_dir(folder().join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .collect();
    let pages = fs::read_dir(folder().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for path in pages.chain([folder().join("tests/comparison.md")]) {
        let Ok(document) = fs::read_to_string(&path) else { continue };
        for (module, test) in named_tests(&document) {
            let first = module.split("::").next().unwrap_or_default();
            let is_ours = modules.contains(first);
            assert!(!is_ours || exists(&module, &test), "{} names {module}::{test}", path.display());
        }
    }
}

#[test]
fn every_row_of_the_server_api_names_a_test() {
    let document = fs::read_to_string(folder().join("docs/server-api.md")).unwrap();
    // Skip the table of options below: it gives a reason where an option of Node.js does not exist.
    let members = document.split("## Server").next().unwrap();
    let rows: Vec<&str> = members.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| -")).collect();
    assert!(rows.len() > 30, "{} rows", rows.len());
    for row in rows.iter().filter(|row| !row.contains("| what differs |")) {
        assert!(!named_tests(row).is_empty(), "no test in: {row}");
    }
}

/// Returns the section and the cells of each row of the tables of features.
fn rows(document: &str) -> Vec<(String, Vec<String>)> {
    let mut section = String::new();
    let mut rows = Vec::new();
    for line in document.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.to_owned();
        } else if let Some(row) = line.strip_prefix("| ") {
            rows.push((section.clone(), row.trim_end_matches(" |").split(" | ").map(str::to_owned).collect()));
        } else if let Some((number, text)) = line.split_once(". ")
            && number.parse::<u32>().is_ok()
        {
            rows.push((section.clone(), vec![number.to_owned(), text.to_owned()]));
        }
    }
    rows.retain(|(_, cells)| !["feature", "number"].contains(&&*cells[0]));
    rows
}

#[test]
fn each_row_of_the_comparison_has_its_tests_in_another_file() {
    let read = |file: &str| fs::read_to_string(folder().join(file)).unwrap();
    let (page, tests) = (rows(&read("docs/comparison.md")), rows(&read("tests/comparison.md")));
    for (section, cells) in &page {
        let columns = if section == "Intentional differences" { 2 } else { 3 };
        assert_eq!(cells.len(), columns, "tests belong into tests/comparison.md: {cells:?}");
    }
    let names = |rows: &[(String, Vec<String>)]| -> Vec<String> {
        rows.iter().map(|(section, cells)| format!("{section}: {}", cells[0])).collect()
    };
    let (listed, tested) = (names(&page), names(&tests));
    let difference: Vec<_> = listed.iter().zip(&tested).find(|(row, other)| row != other).into_iter().collect();
    assert!(difference.is_empty() && listed.len() == tested.len(), "the rows differ, first at {difference:?}");
    for (_, cells) in &tests {
        assert!(cells[1] == "-" || !named_tests(&cells[1]).is_empty(), "{cells:?}");
    }
}

/// Returns the definitions of links at the end of a page: names and files.
fn links(document: &str) -> Vec<(&str, &str)> {
    document.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).collect()
}

#[test]
fn pages_link_to_one_another_and_are_in_the_guide() {
    let read = |file: &str| fs::read_to_string(folder().join(file)).unwrap();
    let (guide, readme) = (read("src/guide.rs"), read("README.md"));
    let mut linked = BTreeSet::new();
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(folder().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(page) = name.strip_suffix(".md") else { continue };
        assert!(guide.contains(&format!("\"{name}\"")), "src/guide.rs lacks {name}");
        assert!(readme.contains(&format!("(docs/{name})")), "README.md lacks {name}");
        let document = read(&format!("docs/{name}"));
        let text = document.split("```").step_by(2).collect::<String>();
        let links = links(&document);
        assert!(!links.is_empty(), "{name} links to no other page");
        for (link, file) in &links {
            assert!(folder().join("docs").join(file).exists(), "{name}: {file}");
            let module = format!("[{link}]: crate::guide::{}\"]", link.replace('-', "_"));
            assert!(*link == "chart" || guide.contains(&module), "src/guide.rs does not define {link}");
            assert!(text.contains(&format!("][{link}]")), "{name} does not use {link}");
            linked.insert((*link).to_owned());
        }
        let used = text.split("][").skip(1).filter_map(|rest| rest.split_once(']')).map(|(link, _)| link);
        for link in used {
            assert!(links.iter().any(|(defined, _)| *defined == link), "{name} does not define {link}");
        }
        assert!(!text.contains(".md)"), "{name}: a link to a file has no target in rustdoc");
        pages.insert(page.to_owned());
    }
    let orphans: Vec<_> = pages.difference(&linked).collect();
    assert!(orphans.is_empty(), "no page links to {orphans:?}");
}

#[test]
fn every_limit_is_explained() {
    let read = |file: &str| fs::read_to_string(folder().join(file)).unwrap();
    let limits = read("docs/limits.md") + &read("docs/recovery.md");
    let config = fs::read_dir(folder().join("src/config")).unwrap().map(|entry| entry.unwrap().path());
    let others = ["src/engine/config/setters.rs", "src/recovery/config.rs"].map(|file| folder().join(file));
    for source in config.chain(others) {
        let code = fs::read_to_string(source).unwrap();
        let options = code.lines().filter_map(|line| line.trim_start().strip_prefix("pub fn "));
        let names = options.filter_map(|option| option.split_once("(mut ").map(|(name, _)| name));
        let is_limit = |name: &&str| {
            ["max_", "ping_", "slow_"].iter().any(|prefix| name.starts_with(prefix)) || name.ends_with("_timeout")
        };
        for name in names.filter(is_limit) {
            assert!(limits.contains(&format!("| `{name}`")) || limits.contains(&format!("`{name}` |")), "{name}");
        }
    }
}
