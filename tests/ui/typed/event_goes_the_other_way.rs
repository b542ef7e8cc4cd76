use tower_socketio::{Namespace, SocketRef, typed::Typed};

tower_socketio::events! {
    pub emit ServerToClientEvents {
        "joined" => Joined { user: String },
    }
    pub on ClientToServerEvents {
        "leave" => Leave,
    }
}

fn emit(socket: &SocketRef) {
    socket.emit_event(&Leave).ok();
}

async fn joined(_: Typed<Joined>) {}

fn main() {
    let _ = emit;
    let _ = Namespace::<()>::new().on_event::<Joined, _, _>(joined);
}
