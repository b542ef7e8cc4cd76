fn join(socket: &tower_socketio::SocketRef) {
    socket.join(7);
}

fn main() {
    let _ = join;
}
