use tower_socketio::Namespace;

async fn message() -> u32 {
    7
}

fn main() {
    let _ = Namespace::<()>::new().on("message", message);
}
