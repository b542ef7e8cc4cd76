use axum::Json;
use tower_socketio::{Ack, Namespace, SocketRef, extract::Data};

async fn data(_: Data<String>) {}

async fn ack(_: SocketRef) -> Ack<u8> {
    Ack(1)
}

async fn body_first(_: Json<u8>, _: SocketRef) {}

fn main() {
    let _ = Namespace::<()>::new().on_connect(data);
    let _ = Namespace::<()>::new().on_connect(ack);
    let _ = Namespace::<()>::new().on_connect(body_first);
}
