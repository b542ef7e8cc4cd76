"""Measures what the crate costs to build: its dependencies, the seconds and bytes of a release build of the chat, and the seconds and bytes
of each handler, from a program with none and programs with many.

run.py [REVISION ..]: each is measured beside the working tree."""

import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HANDLERS = 200

MANIFEST = """
[package]
name = "program"
version = "0.0.0"
edition = "2024"

[dependencies]
axum = "0.8"
serde = {{ version = "1", features = ["derive"] }}
tokio = {{ version = "1", features = ["macros", "net", "rt-multi-thread"] }}
tower-socketio = {{ path = "{crate}" }}
"""

MAIN = """
use tower_socketio::{{Ack, Namespace, SocketIoConfig, SocketIoLayer, SocketRef, extract::Data}};
{items}
#[tokio::main]
async fn main() -> std::io::Result<()> {{
    let namespace: Namespace = Namespace::new(){handlers};
    let app = axum::Router::new().layer(SocketIoLayer::new(SocketIoConfig::new().namespace("/", namespace)));
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await
}}
"""

# A handler whose argument has the same type as those of the others, and one with a type of its own.
SAME = """
async fn handler_{n}(socket: SocketRef, Data(text): Data<String>) -> Ack<String> {{
    socket.emit("event {n}", &text).ok();
    Ack(text)
}}
"""
OWN = """
#[derive(serde::Deserialize, serde::Serialize)]
struct Message{n} {{ room: String, text: String, number: u32 }}
async fn handler_{n}(socket: SocketRef, Data(message): Data<Message{n}>) -> Ack<Message{n}> {{
    socket.to(message.room.clone()).emit("event {n}", &message).ok();
    Ack(message)
}}
"""


def run(*command, folder=ROOT):
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def build(target, folder, package):
    """Builds a package. Returns the bytes of the program without symbols, and the seconds that it took."""
    begin = time.monotonic()
    run("cargo", "build", "--release", "--target-dir", str(target), "-p", package, folder=folder)
    seconds = time.monotonic() - begin
    stripped = target / "stripped"
    run("strip", "-o", str(stripped), str(target / "release" / package))
    return stripped.stat().st_size, seconds


def program(target, folder, item, count):
    """Builds a program with so many handlers."""
    items = "".join(item.format(n=n) for n in range(count))
    handlers = "".join(f'.on("event {n}", handler_{n})' for n in range(count))
    (folder / "src/main.rs").write_text("#![allow(unused_imports)]" + MAIN.format(items=items, handlers=handlers))
    return build(target, folder, "program")


def measure(name, crate):
    crates = set(run("cargo", "tree", "-e", "normal", "--prefix", "none", "-f", "{p}", folder=crate).replace(" (*)", "").splitlines())
    with tempfile.TemporaryDirectory() as temporary:
        target, folder = pathlib.Path(temporary, "target"), pathlib.Path(temporary, "program")
        chat, seconds = build(target, crate, "example-chat")
        (folder / "src").mkdir(parents=True)
        (folder / "Cargo.toml").write_text(MANIFEST.format(crate=crate))
        (folder / "Cargo.lock").write_bytes((crate / "Cargo.lock").read_bytes())
        # The first build also compiles dependencies.
        program(target, folder, SAME, 0)
        empty, base = program(target, folder, SAME, 1)
        costs = []
        for item in (SAME, OWN):
            size, took = program(target, folder, item, 1 + HANDLERS)
            costs += [f"{(size - empty) / HANDLERS:,.0f}", f"{1000 * (took - base) / HANDLERS:,.0f} ms"]
    print("|", " | ".join([name, str(len(crates)), f"{seconds:.0f} s", f"{chat / 2**20:.2f} MiB", *costs]), "|", flush=True)


print("| | crates | release build | the chat | bytes of a handler | its time | with a type of its own | its time |")
print("|---|--:|--:|--:|--:|--:|--:|--:|")
measure("the working tree", ROOT)
for revision in sys.argv[1:]:
    with tempfile.TemporaryDirectory() as tree:
        run("git", "worktree", "add", "--detach", tree, revision)
        try:
            measure(revision, pathlib.Path(tree))
        finally:
            run("git", "worktree", "remove", "--force", tree)
