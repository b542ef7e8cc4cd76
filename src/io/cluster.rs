//! Commands of other nodes of a cluster.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::{
    cluster::{
        BroadcastOptions, ClusterCommand, ClusterError, ClusterErrorKind, ClusterMessage, EventBody, Node, Offset,
        RequestId, SocketDescription,
    },
    room::Selection,
    server::{AckData, NamespaceState, Server},
    socket::{BroadcastOperator, SocketRef, describe},
};

use super::server_side;

impl Node for Server {
    fn deliver(self: Arc<Self>, message: ClusterMessage) {
        if message.command.is_answer() {
            self.requests.respond(message);
            return;
        }
        if let Some(namespace) = self.namespaces.get(&message.namespace) {
            execute(&self, namespace, message.sender, message.command);
        }
    }

    fn deliver_recorded(self: Arc<Self>, message: ClusterMessage, offset: Offset) {
        match message.command {
            ClusterCommand::Emit { request: None, .. } if self.settings.uses_journal() => {
                let Some(namespace) = self.namespaces.get(&message.namespace) else { return };
                let is_own = message.sender.as_ref() == Some(self.requests.node());
                if !is_own {
                    show(&self, &namespace, &message.command);
                }
                let ClusterCommand::Emit { options, event, .. } = message.command else { return };
                // This node has delivered its own volatile events already.
                if !is_own || !options.flags.volatile {
                    namespace.deliver_recorded(offset, options, event);
                }
            }
            _ if message.sender.as_ref() == Some(self.requests.node()) => {}
            _ => self.deliver(message),
        }
    }

    fn uses_journal(&self) -> bool {
        self.settings.uses_journal()
    }

    fn namespaces(&self) -> Vec<Arc<str>> {
        self.namespaces.all().iter().map(|namespace| namespace.shared_name()).collect()
    }

    fn awaits(&self, request: &RequestId) -> bool {
        self.requests.awaits(request)
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).is_some()
    }

    fn has_room(&self, namespace: &str, room: &str) -> bool {
        self.namespaces.get(namespace).is_some_and(|namespace| namespace.has_room(room))
    }

    fn receive(self: Arc<Self>, message: Bytes) {
        if let Err(malformed) = self.engine.receive(message) {
            Self::report(&self, &ClusterError::new(ClusterErrorKind::Malformed).caused_by(malformed));
        }
    }

    fn shares_sessions(&self) -> bool {
        self.settings.share_sessions
    }

    fn peer_left(&self, peer: &str) {
        self.engine.peer_left(peer);
        self.requests.peer_left(peer);
    }

    fn report(&self, error: ClusterError) {
        Self::report(self, &error);
    }
}

fn execute(server: &Arc<Server>, namespace: Arc<NamespaceState>, sender: Option<Arc<str>>, command: ClusterCommand) {
    show(server, &namespace, &command);
    let select = |options| BroadcastOperator::from_options(namespace.clone(), options);
    match command {
        ClusterCommand::Emit { options, event, request: None } => select(options).emit_foreign(&event),
        ClusterCommand::Emit { options, event, request: Some(request) } => {
            emit_with_ack(server, &namespace, options, &event, sender, request);
        }
        ClusterCommand::Join { options, rooms } => select(options).sockets_join(rooms),
        ClusterCommand::Leave { options, rooms } => select(options).sockets_leave(rooms),
        ClusterCommand::Disconnect { options, close } => select(options).disconnect_sockets(close),
        ClusterCommand::FetchSockets { options, request } => {
            let sockets = select(options).sockets().iter().map(|socket| fetched(server, socket)).collect();
            namespace.publish(ClusterCommand::SocketsFetched { request, sockets }, sender);
        }
        ClusterCommand::ListSockets { rooms, request } => {
            let sockets = select(BroadcastOptions::new(rooms, Vec::new())).sockets();
            let ids = sockets.iter().map(|socket| socket.id().as_str().into()).collect();
            namespace.publish(ClusterCommand::SocketsListed { request, ids }, sender);
        }
        ClusterCommand::ListRooms { request } => {
            let rooms = namespace.with_registry(|registry| {
                let ids = registry
                    .select(&Selection::default(), None)
                    .iter()
                    .map(|socket| socket.id.room())
                    .collect::<Vec<_>>();
                registry.rooms().map(|(room, _)| room.clone()).chain(ids).collect()
            });
            namespace.publish(ClusterCommand::RoomsListed { request, rooms }, sender);
        }
        ClusterCommand::ServerSideEmit { event, request } => {
            server_side::deliver(server, namespace, event, sender, request);
        }
        // Responses, and what adapters tell one another.
        _ => {}
    }
}

/// Calls the hooks for a command of another node.
fn show(server: &Arc<Server>, namespace: &Arc<NamespaceState>, command: &ClusterCommand) {
    for hook in &server.hooks.on_command {
        server.catch_panic(|| hook(server, namespace, command));
    }
}

/// Describes a socket for another node.
fn fetched(server: &Server, socket: &SocketRef) -> SocketDescription {
    let mut description = describe(socket);
    for change in &server.hooks.fetched_data {
        description.data = change(socket.inner(), description.data);
    }
    description
}

/// Emits an event, and sends the number of recipients and their acks to the node that has asked.
fn emit_with_ack(
    server: &Server,
    namespace: &Arc<NamespaceState>,
    options: BroadcastOptions,
    event: &EventBody,
    asker: Option<Arc<str>>,
    request: RequestId,
) {
    let mut acks = BroadcastOperator::from_options(namespace.clone(), options).emit_foreign_with_ack(event);
    // The sockets to which the event could not be sent do not count.
    let mut early = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Some(Poll::Ready(Some((_, ack)))) = acks.as_mut().map(|acks| acks.poll_local(&mut cx)) {
        early.extend(ack.ok());
    }
    let count = early.len() as u64 + acks.as_ref().map_or(0, |acks| acks.remaining() as u64);
    namespace.publish(ClusterCommand::Recipients { request: request.clone(), count }, asker.clone());
    let (Some(mut acks), Some(runtime)) = (acks.filter(|_| count > 0), server.try_runtime()) else { return };
    let namespace = namespace.clone();
    // Ends at the timeout.
    runtime.spawn(async move {
        let publish = |ack: AckData| {
            let ack = ClusterCommand::Ack { request: request.clone(), answer: ack.first() };
            namespace.publish(ack, asker.clone());
        };
        early.into_iter().for_each(publish);
        while let Some((_, ack)) = poll_fn(|cx| acks.poll_local(cx)).await {
            ack.into_iter().for_each(publish);
        }
    });
}
