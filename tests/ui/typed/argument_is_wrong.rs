use tower_socketio::SocketRef;

tower_socketio::events! {
    pub emit ServerToClientEvents {
        "joined" => Joined { user: String },
        "left" => Left { user: String },
    }
}

fn emit(socket: &SocketRef) {
    socket.emit_event(&Joined { user: 7 }).ok();
    socket.emit_event_with_ack(&Left { user: String::new() });
}

fn main() {
    let _ = emit;
}
