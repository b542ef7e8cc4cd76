//! The namespaces: `/tickets` for all users, and `/desk` for agents.

use std::collections::BTreeSet;

use axum::{
    Extension,
    middleware::{from_fn, from_fn_with_state},
};
use tower_socketio::{
    Ack, Namespace, NamespaceRef, SocketIo, SocketIoConfig, SocketRef,
    extract::{Data, State},
};

use crate::{
    db::Db,
    error::Error,
    tickets::{self, Reply, Ticket},
    users::{User, require_agent, require_user},
};

pub(crate) fn config(db: &Db) -> SocketIoConfig {
    let require_user = from_fn_with_state(db.clone(), require_user);
    let tickets = Namespace::new()
        .on_connect(joined)
        .on("watch", watch)
        .on("unwatch", unwatch)
        .on("reply", reply)
        .with_state(db.clone())
        .layer(require_user.clone());
    let desk = Namespace::new()
        .on_connect(agent_joined)
        .on("close", close)
        .on_disconnect(agent_left)
        .with_state(db.clone())
        .layer(from_fn(require_agent)) // inner: reads the user
        .layer(require_user); // outer: provides the user
    SocketIoConfig::new().namespace("/tickets", tickets).namespace("/desk", desk)
}

/// The room of those who look at a ticket.
fn room(ticket: i64) -> String {
    format!("ticket:{ticket}")
}

/// The room of all sockets of a user, on whatever device.
fn room_of_user(id: i64) -> String {
    format!("user:{id}")
}

/// Notifies agents of a new ticket. The route that opens tickets calls it.
pub(crate) fn opened(io: &SocketIo, ticket: &Ticket) {
    io.namespace("/desk").emit("opened", ticket).ok();
}

// Handlers of /tickets.

async fn joined(socket: SocketRef, Extension(user): Extension<User>) {
    socket.join(room_of_user(user.id));
}

async fn watch(
    socket: SocketRef,
    State(db): State<Db>,
    Extension(user): Extension<User>,
    Data(id): Data<i64>,
) -> Result<Ack<Vec<Reply>>, Error> {
    let viewer = user.clone();
    db.run(move |connection| tickets::find(connection, &viewer, id)).await?;
    // Joined before the replies are read, so that none is missed. One may arrive twice; it has an id.
    socket.join(room(id));
    db.run(move |connection| tickets::replies(connection, &user, id)).await.map(Ack)
}

async fn unwatch(socket: SocketRef, Data(id): Data<i64>) {
    socket.leave(room(id));
}

async fn reply(
    socket: SocketRef,
    State(db): State<Db>,
    Extension(user): Extension<User>,
    Data((id, text)): Data<(i64, String)>,
) -> Result<Ack<Reply>, Error> {
    let reply = db.run(move |connection| tickets::reply(connection, &user, id, text)).await?;
    socket.to(room(id)).emit("reply", &reply).ok();
    Ok(Ack(reply))
}

// Handlers of /desk.

async fn agent_joined(
    socket: SocketRef,
    desk: NamespaceRef,
    State(db): State<Db>,
    Extension(user): Extension<User>,
) -> Result<(), Error> {
    let open = db.run(move |connection| tickets::list(connection, &user)).await?;
    socket.emit("tickets", &(open,)).ok();
    show_agents(&desk);
    Ok(())
}

async fn close(
    io: SocketIo,
    desk: NamespaceRef,
    State(db): State<Db>,
    Extension(user): Extension<User>,
    Data(id): Data<i64>,
) -> Result<Ack<Ticket>, Error> {
    let ticket = db.run(move |connection| tickets::close(connection, &user, id)).await?;
    desk.emit("closed", &ticket).ok();
    // A socket that is in both rooms gets it once.
    io.namespace("/tickets").to([room(id), room_of_user(ticket.author)]).emit("closed", &ticket).ok();
    Ok(Ack(ticket))
}

async fn agent_left(desk: NamespaceRef) {
    show_agents(&desk);
}

/// Emits the names of the agents who are present.
fn show_agents(desk: &NamespaceRef) {
    let name = |socket: &SocketRef| socket.extensions().get().map(|user: User| user.name);
    let names: BTreeSet<String> = desk.sockets().iter().filter_map(name).collect();
    desk.emit("agents", &(names,)).ok();
}
