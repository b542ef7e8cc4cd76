use std::sync::Arc;

use serde_json::json;

use crate::{
    Args, DisconnectReason, Room, SocketRef, Value,
    client::Conn,
    engine::Packet,
    observer::{ObservedEvent, Observer},
};

use super::{describe::data, state::Admin, time::timestamp};

/// The size above which the arguments of an event are not told.
const MAX_EVENT_BYTES: usize = 4096;

/// Watches a server for the admin UI.
pub(super) struct AdminObserver(pub(super) Arc<Admin>);

fn nsp(socket: &SocketRef) -> &str {
    socket.inner().namespace.name()
}

impl AdminObserver {
    /// Returns `true` if changes of sockets are told. Nothing is serialized otherwise.
    fn tells(&self) -> bool {
        self.0.is_development() && self.0.is_watched()
    }

    fn is_admin(&self, socket: &SocketRef) -> bool {
        nsp(socket) == self.0.config.namespace
    }

    fn room(&self, event: &str, socket: &SocketRef, room: &Room) {
        if self.tells() {
            let args = (nsp(socket), room, socket.id(), timestamp());
            self.0.tell(&socket.io(), event, &args);
        }
    }

    fn event(&self, what: &str, socket: &SocketRef, event: &ObservedEvent<'_>) {
        if !self.tells() || self.is_admin(socket) || !self.0.may_mention() {
            return;
        }
        let mut args = vec![Value::from(event.name())];
        if event.size() > MAX_EVENT_BYTES {
            args.push(Value::from(format!("[{} bytes]", event.size())));
        } else if let Ok(Args(values)) = event.args() {
            args.extend(values);
        }
        let args = (nsp(socket), socket.id(), args, timestamp());
        self.0.mention(&socket.io(), what, &args);
    }
}

impl Observer for AdminObserver {
    fn connection_opened(&self, connection: &Conn) {
        self.0.figures.opened(connection);
    }

    fn connection_upgraded(&self, connection: &Conn) {
        self.0.figures.upgraded();
        if self.tells() {
            for socket in connection.client().sockets() {
                let update = json!({"id": socket.id(), "nsp": nsp(&socket), "transport": connection.transport()});
                self.0.tell(&socket.io(), "socket_updated", &update);
            }
        }
    }

    fn connection_closed(&self, connection: &Conn, reason: DisconnectReason) {
        self.0.figures.closed(connection, reason);
    }

    fn packet_received(&self, _: &Conn, packet: &Packet) {
        self.0.figures.received(packet);
    }

    fn packet_sent(&self, _: &Conn, packet: &Packet) {
        self.0.figures.sent(packet);
    }

    fn socket_connected(&self, socket: &SocketRef) {
        let is_admin = self.is_admin(socket);
        if is_admin {
            self.0.enter(socket.inner());
        }
        if self.tells() {
            self.0.tell(&socket.io(), "socket_connected", &(self.0.describe(socket), timestamp()));
            if is_admin {
                let (admin, socket) = (self.0.clone(), socket.clone());
                let runtime = socket.inner().client.connection.runtime.clone();
                runtime.spawn(async move { admin.send_all_sockets(socket).await });
            }
        }
    }

    fn data_changed(&self, socket: &SocketRef) {
        if self.tells() {
            let data = data(socket);
            let update = Value::from_iter([
                ("id", Value::from(socket.id().as_str())),
                ("nsp", Value::from(nsp(socket))),
                ("data", data),
            ]);
            self.0.tell(&socket.io(), "socket_updated", &update);
        }
    }

    fn socket_disconnected(&self, socket: &SocketRef, reason: DisconnectReason) {
        if self.is_admin(socket) {
            self.0.leave();
        }
        if self.tells() {
            let args = (nsp(socket), socket.id(), reason, timestamp());
            self.0.tell(&socket.io(), "socket_disconnected", &args);
        }
    }

    fn room_joined(&self, socket: &SocketRef, room: &Room) {
        self.room("room_joined", socket, room);
    }

    fn room_left(&self, socket: &SocketRef, room: &Room) {
        self.room("room_left", socket, room);
    }

    fn event_received(&self, socket: &SocketRef, event: &ObservedEvent<'_>) {
        self.event("event_received", socket, event);
    }

    fn event_sent(&self, socket: &SocketRef, event: &ObservedEvent<'_>) {
        self.event("event_sent", socket, event);
    }
}
