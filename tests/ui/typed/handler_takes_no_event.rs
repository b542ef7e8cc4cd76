use tower_socketio::{Namespace, extract::Data};

tower_socketio::events! {
    pub on ClientToServerEvents {
        "message" => Message { text: String },
    }
}

async fn message(_: Data<String>) {}

fn main() {
    let _ = Namespace::<()>::new().on_event::<Message, _, _>(message);
}
