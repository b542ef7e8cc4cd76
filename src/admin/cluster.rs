//! Admins on one node who watch the others.
//!
//! Nodes of this crate ask each other with server-side events. Servers of Node.js know only what Node's admin UI sends: their
//! figures, which they tell all the time, say how many admins they have, and the data of sockets says how these are connected.

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::future::join_all;

use crate::{
    Namespace, NamespaceRef, SocketIo, SocketIoConfig, SocketRef,
    cluster::ClusterCommand,
    server_side::{ServerSideAcks, ServerSideEvent},
    util::Mutex,
};

use super::{
    describe::{Connected, Described, has_connected},
    figures::{ForeignStats, MAX_NAMESPACES},
    state::{Admin, WATCH},
    time::timestamp,
};

/// Asks the other nodes for the connections of their sockets.
const CONNECTIONS: &str = "tower-socketio:connections";

/// How long to wait for other nodes.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many sockets are listed for an admin who has just connected. The UI keeps them in memory, with some kilobyte each.
const MAX_SOCKETS: usize = 5000;

/// Adds what servers of Node.js need.
pub(super) fn watch_node(config: SocketIoConfig, admin: &Arc<Admin>) -> SocketIoConfig {
    let (hearing, fetched) = (admin.clone(), admin.clone());
    config.on_command(move |io, namespace, command| hearing.hear(io, namespace, command)).fetched_data(
        move |socket, data| {
            let is_shown = fetched.is_development() && fetched.knows_node();
            if is_shown { fetched.data_for_node(socket, data) } else { data }
        },
    )
}

/// Adds the handlers of what other nodes ask.
pub(super) fn add(namespace: Namespace<Arc<Admin>>, admin: &Arc<Admin>) -> Namespace<Arc<Admin>> {
    let (watched, asked) = (admin.clone(), admin.clone());
    namespace
        .on_server_side(WATCH, move |event: ServerSideEvent| {
            watched.watched_by_others(event.io(), event.args().unwrap_or_default());
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

    /// Finds out from the commands of other nodes whether a server of Node.js has admins.
    fn hear(self: &Arc<Self>, io: &SocketIo, namespace: &NamespaceRef, command: &ClusterCommand) {
        if namespace.name() != self.config.namespace {
            return;
        }
        match command {
            ClusterCommand::Emit { event, .. } if event.name() == "server_stats" => {
                let Some(stats) = event.args::<ForeignStats>().ok().filter(ForeignStats::is_of_node) else { return };
                self.heard_node();
                if stats.has_sockets(namespace.name()) {
                    self.watched_by_others(io, false);
                }
            }
            // For the list of an admin who has just connected. What changes after the response must be told.
            ClusterCommand::FetchSockets { options, .. } if options.rooms.is_empty() => {
                self.watched_by_others(io, true);
            }
            _ => {}
        }
    }

    /// Tells admins who have not fetched the sockets of this node, because it is new.
    pub(super) fn tell_sockets(&self, io: &SocketIo) {
        for socket in Self::sockets(io).filter(SocketRef::is_connected) {
            self.tell(io, "socket_connected", &(self.describe(&socket), timestamp()));
        }
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
        let fetched = fetched.await;
        let unknown = fetched.iter().flatten().filter(|socket| socket.local().is_none() && !has_connected(socket));
        let unknown = unknown.map(|socket| socket.id().to_string()).collect();
        let mut connections = match asked {
            Ok(asked) => connections_of(asked, unknown).await,
            Err(_) => HashMap::new(),
        };
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

/// Waits for the connections of these sockets. Servers of Node.js do not answer.
async fn connections_of(
    asked: ServerSideAcks<HashMap<String, Connected>>,
    mut unknown: HashSet<String>,
) -> HashMap<String, Connected> {
    let connections = Mutex::new(HashMap::new());
    let mut asked = pin!(asked.each(|answer| connections.lock().extend(answer)));
    poll_fn(|cx| {
        let is_answered = asked.as_mut().poll(cx).is_ready();
        unknown.retain(|id| !connections.lock().contains_key(id));
        if is_answered || unknown.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    std::mem::take(&mut connections.lock())
}
