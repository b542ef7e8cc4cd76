use tower_socketio::{Namespace, SocketRef};

async fn message(_socket: SocketRef, _text: String) {}

fn main() {
    let _ = Namespace::<()>::new().on("message", message);
}
