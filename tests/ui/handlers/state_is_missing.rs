use axum::extract::State;
use tower_socketio::{Namespace, SocketIoConfig};

struct Db;

async fn message(_: State<u32>) {}

fn main() {
    let _ = SocketIoConfig::new().namespace("/", Namespace::new().on("message", message));
    let _ = Db;
}
