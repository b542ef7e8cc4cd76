use tower_socketio::{Ack, Namespace, typed::Typed};

tower_socketio::events! {
    pub on ClientToServerEvents {
        "message" => Message { text: String } -> bool,
    }
}

async fn message(_: Typed<Message>) -> Ack<u8> {
    Ack(1)
}

fn main() {
    let _ = Namespace::<()>::new().on_event(message);
}
