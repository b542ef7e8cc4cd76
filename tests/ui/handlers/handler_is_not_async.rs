use tower_socketio::{Namespace, SocketRef};

fn message(_socket: SocketRef) {}

fn main() {
    let _ = Namespace::<()>::new().on("message", message);
}
