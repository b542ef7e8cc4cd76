//! Commands of other nodes of a cluster.

use std::sync::Arc;

use crate::{
    cluster::{ClusterCommand, ClusterMessage, Node, is_event},
    packet::Encoded,
    server::Server,
    socket::BroadcastOperator,
};

use super::server_side;

impl Node for Server {
    fn deliver(self: Arc<Self>, message: &ClusterMessage) {
        let Some(namespace) = self.namespaces.get(&message.namespace) else {
            return;
        };
        let everyone = BroadcastOperator::everyone(namespace).local().except(message.except.clone());
        let selected = if message.rooms.is_empty() { everyone } else { everyone.to(message.rooms.clone()) };
        match &message.command {
            ClusterCommand::Emit { packets, volatile } => {
                if is_event(packets) {
                    let _ = selected.send(&Encoded::from_packets(packets), *volatile);
                }
            }
            ClusterCommand::Join(rooms) => selected.sockets_join(rooms.clone()),
            ClusterCommand::Leave(rooms) => selected.sockets_leave(rooms.clone()),
            ClusterCommand::Disconnect { close } => selected.disconnect_sockets(*close),
            command @ (ClusterCommand::ServerSideEmit { .. } | ClusterCommand::ServerSideAck { .. }) => {
                server_side::deliver(&self, command);
            }
        }
    }
}
