//! Compiles the exported types with the TypeScript compiler, and checks exported documents with the parser of AsyncAPI.
//!
//! `make typescript` installs the dependencies and runs these tests. Plain `cargo test` skips them.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;

use std::{fs, path::Path, process::Stdio};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::process::Command;
use tower_socketio::{
    Value,
    typed::{Binary, Fallible, TypeScript},
};
use ts_rs::TS;

use crate::support::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/typescript");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/typed-events");

/// Runs a program to its end. Returns whether it succeeded, and its output.
async fn run(program: &str, arguments: &[&str], folder: &Path) -> (bool, String) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).kill_on_drop(true).stdin(Stdio::null());
    let output = tokio::time::timeout(PATIENCE * 6, command.output()).await;
    let output = output.expect("the program ends in time").expect("the program runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// A folder with `socket.io-client`.
fn folder(events: &str) -> TempDir {
    let folder = tempfile::tempdir_in(FOLDER).unwrap();
    fs::write(folder.path().join("events.ts"), events).unwrap();
    folder
}

async fn compile(folder: &TempDir, file: &str) -> (bool, String) {
    let compiler = format!("{FOLDER}/node_modules/.bin/tsc");
    let options = ["--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"];
    let options = [&options[..], &["--types", "", "--pretty", "false", file]].concat();
    run(&compiler, &options, folder.path()).await
}

#[track_caller]
fn succeeded((success, text): (bool, String)) -> String {
    assert!(success, "{text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_right_compiles_and_runs() {
    let example = Example::start("typed-events").await;
    let folder = folder(&Example::output("typed-events", &["--export"]).await);
    fs::copy(format!("{EXAMPLE}/client.ts"), folder.path().join("client.ts")).unwrap();
    succeeded(compile(&folder, "client.ts").await);
    let url = format!("http://{}", example.address);
    let text = succeeded(run("node", &["client.js", &url], folder.path()).await);
    assert_eq!(text, "Ada is here\ndistance 2\nblack is next\noff the board\n");
}

#[tokio::test]
async fn a_client_that_is_wrong_does_not_compile() {
    let wrong = include_str!("wrong.ts");
    let folder = folder(&Example::output("typed-events", &["--export"]).await);
    fs::write(folder.path().join("wrong.ts"), wrong).unwrap();
    let (success, text) = compile(&folder, "wrong.ts").await;
    assert!(!success);
    // The further lines of a message are indented.
    let text = text.replace("\n  ", " ");
    let mut errors = text.lines();
    for (i, line) in wrong.lines().enumerate() {
        if let Some((_, expected)) = line.split_once("// TS") {
            let (code, detail) = expected.split_once(": ").unwrap();
            let error = errors.next().unwrap_or_default();
            let start = format!("wrong.ts({},", i + 1);
            let is_expected =
                error.starts_with(&start) && error.contains(&format!(" TS{code}: ")) && error.contains(detail);
            assert!(is_expected, "expected at line {}: TS{expected}\n{text}", i + 1);
        }
    }
    assert_eq!(errors.next(), None);
}

/// Types of all kinds.
#[derive(Serialize, Deserialize, TS)]
struct File<T> {
    #[ts(as = "Binary")]
    content: Bytes,
    tags: Vec<T>,
    parent: Option<Box<File<T>>>,
    more: serde_json::Value,
}

tower_socketio::events! {
    pub(crate) emit ServerToClientEvents {
        "file" => FileChanged { file: File<String>, count: u64, raw: Binary },
        "anything" => Anything { function: Value, callback: (u8, bool) } -> (u8, String),
        "done?" => Done -> (),
    }
    pub(crate) on ClientToServerEvents {
        "upload" => Upload { raw: Binary, file: File<u8> } -> Fallible<()>,
        "two" => Two -> Fallible<(u8, String)>,
        "done" => ClientDone -> (),
    }
}

#[tokio::test]
async fn every_kind_of_type_compiles() {
    let events = TypeScript::new().events::<ServerToClientEvents>().events::<ClientToServerEvents>().to_string();
    let folder = folder(&events);
    fs::copy(format!("{FOLDER}/kinds.ts"), folder.path().join("kinds.ts")).unwrap();
    let (success, text) = compile(&folder, "kinds.ts").await;
    assert!(success, "{text}{events}");
}

/// The parser checks the document against the JSON Schema of AsyncAPI 3, resolves its references and checks the schemas in it.
#[cfg(feature = "asyncapi")]
#[tokio::test]
async fn the_asyncapi_document_is_valid() {
    let document = Example::output("typed-events", &["--asyncapi"]).await;
    let folder = folder("");
    let file = folder.path().join("asyncapi.json");
    fs::write(&file, &document).unwrap();
    let script = format!("{FOLDER}/asyncapi.mjs");
    let check = async || run("node", &[&script, file.to_str().unwrap()], Path::new(FOLDER)).await;
    assert_eq!(
        succeeded(check().await),
        "root receive: distance -> ack of distance\n\
         root receive: join\n\
         root receive: move -> ack of move | error\n\
         root send: joined\n\
         root send: moved\n\
         root send: who are you -> ack of who are you\n"
    );
    // It would notice a mistake.
    fs::write(&file, document.replace(r#""action": "send""#, r#""action": "publish""#)).unwrap();
    let (success, text) = check().await;
    assert!(!success && text.contains("action"), "{text}");
}
