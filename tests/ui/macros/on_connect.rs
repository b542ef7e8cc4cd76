use std::rc::Rc;

use axum::{Json, extract::State};
use tower_socketio::{Ack, SocketRef, debug_handler, extract::Data};

struct App;

#[debug_handler(on_connect)]
async fn argument(_: u8, _: SocketRef) {}

#[debug_handler(on_connect)]
async fn last(_: SocketRef, _: u8) {}

#[debug_handler(on_connect)]
async fn data(_: Data<u8>) {}

#[debug_handler(on_connect)]
async fn body_first(_: Json<u8>, _: SocketRef) {}

#[debug_handler(on_connect)]
async fn ack() -> Ack<u8> {
    Ack(1)
}

#[debug_handler(on_connect)]
async fn result() -> u8 {
    1
}

#[debug_handler(on_connect)]
async fn not_send() {
    let local = Rc::new(1);
    std::future::ready(()).await;
    drop(local);
}

#[debug_handler(on_connect, state = App)]
async fn state(_: State<u8>) {}

fn main() {}
