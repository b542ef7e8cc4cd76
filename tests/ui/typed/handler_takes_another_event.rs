use tower_socketio::{Namespace, typed::Typed};

tower_socketio::events! {
    pub on ClientToServerEvents {
        "message" => Message { text: String },
        "leave" => Leave,
    }
}

async fn leave(_: Typed<Leave>) {}

fn main() {
    let _ = Namespace::<()>::new().on_event::<Message, _, _>(leave);
}
