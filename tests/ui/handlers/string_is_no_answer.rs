use tower_socketio::{EventError, Namespace};

async fn status() -> Result<(), EventError> {
    Ok(())
}

async fn message() -> String {
    "hello".to_owned()
}

fn main() {
    let _ = Namespace::<()>::new().on("status", status).on("message", message);
}
