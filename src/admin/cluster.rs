//! Admins on one node who watch the others.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;

use crate::{Namespace, SocketIo, SocketRef, server_side::ServerSideEvent};

use super::{
    describe::{Connected, Described},
    figures::MAX_NAMESPACES,
    state::{Admin, WATCH},
};

/// Asks the other nodes for the connections of their sockets.
const CONNECTIONS: &str = "tower-socketio:connections";

/// How long to wait for other nodes.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many sockets are listed for an admin who has just connected. The UI keeps them in memory, with some kilobyte each.
const MAX_SOCKETS: usize = 5000;

/// Adds the handlers of what other nodes ask.
pub(super) fn add(namespace: Namespace<Arc<Admin>>, admin: &Arc<Admin>) -> Namespace<Arc<Admin>> {
    let (watched, asked) = (admin.clone(), admin.clone());
    namespace
        .on_server_side(WATCH, move |event: ServerSideEvent| {
            watched.watched_by_others(event.io());
            std::future::ready(())
        })
        .on_server_side(CONNECTIONS, move |event: ServerSideEvent| std::future::ready(asked.connections(event.io())))
}

impl Admin {
    /// Returns the sockets of this node by their ids.
    fn sockets(io: &SocketIo) -> impl Iterator<Item = SocketRef> {
        let namespaces = io.namespaces().into_iter().take(MAX_NAMESPACES);
        namespaces.flat_map(|namespace| namespace.sockets()).take(MAX_SOCKETS)
    }

    fn connections(&self, io: &SocketIo) -> HashMap<String, Connected> {
        Self::sockets(io).map(|socket| (socket.id().to_string(), self.connected(&socket))).collect()
    }

    /// Sends the sockets of all nodes to an admin.
    pub(super) async fn send_all_sockets(&self, receiver: SocketRef) {
        let io = receiver.io();
        let mut remote = match io.adapter() {
            Some(_) => self.remote_sockets(&io).await,
            None => Vec::new(),
        };
        // Without waiting: whatever changes after this is told.
        let is_shown = |socket: &SocketRef| socket.is_connected() || *socket == receiver;
        let mut all: Vec<_> = Self::sockets(&io).filter(is_shown).map(|socket| self.describe(&socket)).collect();
        remote.truncate(MAX_SOCKETS - all.len());
        all.append(&mut remote);
        receiver.emit("all_sockets", &all).ok();
    }

    async fn remote_sockets(&self, io: &SocketIo) -> Vec<Described> {
        let Some(namespace) = self.namespace(io) else { return Vec::new() };
        let namespaces: Vec<_> = io.namespaces().into_iter().take(MAX_NAMESPACES).collect();
        let fetched = join_all(namespaces.iter().map(async |namespace| {
            namespace.timeout(PATIENCE).fetch_sockets().await.unwrap_or_else(|error| error.into_sockets())
        }));
        let asked = namespace.server_side_emit_with_ack::<HashMap<String, Connected>>(CONNECTIONS, &(), PATIENCE);
        let (fetched, answers) = tokio::join!(fetched, async {
            match asked {
                Ok(asked) => asked.await.answers,
                Err(_) => Vec::new(),
            }
        });
        let mut connections: HashMap<_, _> = answers.into_iter().flatten().collect();
        let mut described = Vec::new();
        for (namespace, sockets) in namespaces.iter().zip(fetched) {
            for socket in sockets.iter().filter(|socket| socket.local().is_none()).take(MAX_SOCKETS) {
                let connected = connections.remove(socket.id().as_str());
                described.push(self.describe_remote(namespace.name(), socket, connected));
            }
        }
        described
    }
}
