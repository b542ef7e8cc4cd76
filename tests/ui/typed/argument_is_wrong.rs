use tower_socketio::SocketRef;

tower_socketio::events! {
    pub emit ServerToClientEvents {
        "joined" => Joined { user: String },
    }
}

fn emit(socket: &SocketRef) {
    socket.emit_event(&Joined { user: 7 }).ok();
}

fn main() {
    let _ = emit;
}
