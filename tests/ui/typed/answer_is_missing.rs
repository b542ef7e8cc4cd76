use tower_socketio::{Namespace, typed::Typed};

tower_socketio::events! {
    pub on ClientToServerEvents {
        "message" => Message { text: String } -> bool,
    }
}

async fn message(_: Typed<Message>) {}

fn main() {
    let _ = Namespace::<()>::new().on_event(message);
}
