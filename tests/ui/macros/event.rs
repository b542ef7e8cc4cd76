use std::rc::Rc;

use axum::{Json, extract::State};
use tower_socketio::{SocketRef, debug_handler, extract::Data};

struct App;

#[debug_handler]
async fn argument(_: SocketRef, _: String) {}

#[debug_handler]
async fn borrowed(_: Data<&'static str>) {}

#[debug_handler]
async fn result() -> String {
    String::new()
}

#[debug_handler]
fn not_async(_: SocketRef) {}

#[debug_handler]
async fn not_send() {
    let local = Rc::new(1);
    std::future::ready(()).await;
    drop(local);
}

#[debug_handler]
async fn two(_: Data<u8>, _: Data<u8>) {}

#[debug_handler]
async fn body(_: Json<u8>) {}

#[debug_handler(state = App)]
async fn state(_: State<u8>) {}

#[debug_handler]
async fn states(_: State<u8>, _: State<u16>) {}

#[debug_handler]
async fn generic<T>(_: Data<u8>) {}

#[debug_handler(event)]
async fn option() {}

fn main() {}
