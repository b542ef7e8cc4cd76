use tower_socketio::{Ack, EventError, Namespace, typed::Typed};

tower_socketio::events! {
    pub on ClientToServerEvents {
        "message" => Message { text: String } -> bool,
    }
}

async fn message(_: Typed<Message>) -> Result<Ack<bool>, EventError> {
    Ok(Ack(true))
}

fn main() {
    let _ = Namespace::<()>::new().on_event(message);
}
