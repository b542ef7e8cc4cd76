use bytes::Bytes;

#[derive(serde::Serialize, serde::Deserialize)]
pub struct Point {
    x: i32,
}

tower_socketio::events! {
    pub emit ServerToClientEvents {
        "file" => File { content: Bytes },
        "where" => Where -> Point,
    }
}

fn main() {}
