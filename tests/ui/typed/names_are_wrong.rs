tower_socketio::events! {
    pub emit Twice {
        "joined" => Joined,
        "joined" => JoinedAgain,
    }
    pub emit Reserved {
        "disconnect" => Disconnect,
    }
    pub send Neither {
        "left" => Left,
    }
}

fn main() {}
