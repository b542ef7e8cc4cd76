//! The namespace `/chat`.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::json;
use tower_socketio::{
    Ack, EventError, Namespace, SocketRef,
    extract::{Data, State},
    operators::BroadcastOperator,
};

use crate::rooms::{Room, Rooms, User};

const MAX_MESSAGE: usize = 2_000;

/// The room of a socket, which is in one room at a time.
#[derive(Clone)]
struct CurrentRoom(&'static str);

/// What the client sends with its CONNECT: the room that it was in, if it reconnects.
#[derive(Deserialize)]
struct Auth {
    room: Option<String>,
}

/// The handlers. The layers of the namespace provide the [`User`].
pub(crate) fn namespace(rooms: Arc<Rooms>) -> Namespace {
    Namespace::new()
        .on_connect(joined)
        .on("join", join)
        .on("message", message)
        .on("typing", typing)
        .on_disconnecting(leaving)
        .with_state(rooms)
}

async fn joined(
    socket: SocketRef,
    State(rooms): State<Arc<Rooms>>,
    Extension(user): Extension<User>,
    Json(auth): Json<Auth>,
) {
    let list: Vec<_> =
        rooms.all().iter().map(|room| json!({ "name": room.name, "last": room.history().last })).collect();
    socket.emit("rooms", &(list,)).ok();
    let room = auth.room.and_then(|name| rooms.find(&name)).unwrap_or(&rooms.all()[0]);
    enter(&socket, room, &user);
}

async fn join(
    socket: SocketRef,
    State(rooms): State<Arc<Rooms>>,
    Extension(user): Extension<User>,
    Data(name): Data<String>,
) -> Result<Ack<()>, EventError> {
    let room = rooms.find(&name).ok_or(EventError::new("there is no such room"))?;
    leave(&socket, &user);
    enter(&socket, room, &user);
    Ok(Ack(()))
}

async fn message(
    socket: SocketRef,
    State(rooms): State<Arc<Rooms>>,
    Extension(user): Extension<User>,
    Extension(CurrentRoom(room)): Extension<CurrentRoom>,
    Data(text): Data<String>,
) -> Result<Ack<()>, EventError> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_MESSAGE {
        return Err(EventError::new("a message has 1 to 2000 bytes"));
    }
    let room = rooms.find(room).ok_or(EventError::new("there is no such room"))?;
    let mut history = room.history();
    let message = history.add(user, text.to_owned());
    socket.within(room.name).emit("message", &message)?;
    socket.all().except(room.name).emit("activity", &(room.name, history.last))?;
    Ok(Ack(()))
}

async fn typing(
    socket: SocketRef,
    Extension(user): Extension<User>,
    Extension(CurrentRoom(room)): Extension<CurrentRoom>,
    Data(is_typing): Data<bool>,
) {
    // Volatile: slow clients need not get it.
    socket.to(room).volatile().emit("typing", &(user, is_typing)).ok();
}

async fn leaving(socket: SocketRef, Extension(user): Extension<User>) {
    leave(&socket, &user);
}

fn enter(socket: &SocketRef, room: &Room, user: &User) {
    let is_new = !users(&socket.within(room.name)).contains(user);
    let history = room.history();
    socket.join(room.name);
    socket.extensions().insert(CurrentRoom(room.name));
    socket.emit("history", &(room.name, &history.messages)).ok();
    drop(history);
    announce(&socket.within(room.name));
    if is_new {
        socket.to(room.name).emit("joined", user).ok();
    }
}

fn leave(socket: &SocketRef, user: &User) {
    if let Some(CurrentRoom(room)) = socket.extensions().remove() {
        socket.leave(room);
        announce(&socket.to(room));
        // Another tab of the user may still be in the room.
        if !users(&socket.to(room)).contains(user) {
            socket.to(room).emit("left", user).ok();
        }
    }
}

/// Emits the users of a room to all of them.
fn announce(room: &BroadcastOperator) {
    room.emit("users", &(users(room),)).ok();
}

fn users(room: &BroadcastOperator) -> BTreeSet<User> {
    room.sockets().iter().filter_map(|socket| socket.extensions().get()).collect()
}
