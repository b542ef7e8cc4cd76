//! Requests of the UI. Those for a namespace that does not exist do not create it, but reach the nodes that have it.

use std::sync::Arc;

use crate::{
    Args, Namespace, SocketIo, Value,
    extract::{Data, Rest},
    operators::BroadcastOperator,
};

use super::state::Admin;

/// A room or the id of a socket, which may be missing.
type Filter = Rest<Option<String>>;

pub(super) fn add(namespace: Namespace<Arc<Admin>>) -> Namespace<Arc<Admin>> {
    namespace.on("join", join).on("leave", leave).on("_disconnect", disconnect).on("emit", emit)
}

async fn join(io: SocketIo, Data((nsp, room, filter)): Data<(String, String, Filter)>) {
    if let Some(sockets) = select(&io, &nsp, filter.first().cloned().flatten()) {
        sockets.sockets_join(room);
    }
}

async fn leave(io: SocketIo, Data((nsp, room, filter)): Data<(String, String, Filter)>) {
    if let Some(sockets) = select(&io, &nsp, filter.first().cloned().flatten()) {
        sockets.sockets_leave(room);
    }
}

async fn disconnect(io: SocketIo, Data((nsp, close, filter)): Data<(String, bool, Filter)>) {
    if let Some(sockets) = select(&io, &nsp, filter.first().cloned().flatten()) {
        sockets.disconnect_sockets(close);
    }
}

async fn emit(io: SocketIo, Data((nsp, filter, event, args)): Data<(String, Option<String>, String, Rest<Value>)>) {
    if let Some(sockets) = select(&io, &nsp, filter) {
        // Fails if the name is reserved.
        sockets.emit(&event, &Args::from(args)).ok();
    }
}

fn select(io: &SocketIo, nsp: &str, filter: Option<String>) -> Option<BroadcastOperator> {
    let namespace = io.of_any_node(nsp)?;
    Some(match filter {
        Some(room) if !room.is_empty() => namespace.to(room),
        _ => namespace.all(),
    })
}
