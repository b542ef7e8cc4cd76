use crate::{
    engine::{SendError, Sent},
    packet::Encoded,
    room::Room,
};

/// What was emitted and joined before the socket was accepted.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) packets: Vec<Held>,
    bytes: usize,
    /// What a socket that returns has not seen yet.
    pub(super) missed: Vec<Encoded>,
    pub(super) rooms: Vec<Room>,
    /// The rooms of a socket that returns which it left before it joined the namespace.
    pub(super) left: Vec<Room>,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) packet: Encoded,
    /// It is to be stamped when the socket joins its namespace.
    pub(super) early: bool,
}

impl Buffer {
    /// Keeps a packet, unless those that wait take more than `limit` bytes with it.
    pub(super) fn hold(&mut self, packet: &Encoded, early: bool, limit: usize) -> Result<Sent, SendError> {
        let bytes = self.bytes + packet.cost();
        if bytes > limit && !self.packets.is_empty() {
            return Err(SendError::Full);
        }
        self.bytes = bytes;
        self.packets.push(Held { packet: packet.clone(), early });
        Ok(Sent { queued: true, waker: None })
    }
}
