use crate::{
    engine::{SendError, Sent},
    packet::Encoded,
    room::Room,
};

/// Packets and rooms of a socket that has not been accepted.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) packets: Vec<BufferedPacket>,
    bytes: usize,
    /// The events that a recovered client missed.
    pub(super) missed: Vec<Encoded>,
    pub(super) rooms: Vec<Room>,
    /// The rooms of the recovered session that the socket left before it joined the namespace.
    pub(super) left: Vec<Room>,
}

#[derive(Debug)]
pub(super) struct BufferedPacket {
    pub(super) packet: Encoded,
    /// Whether the packet is stamped when the socket joins its namespace.
    pub(super) is_unstamped: bool,
}

impl Buffer {
    /// Buffers a packet. Fails if the buffered packets would exceed `limit` bytes.
    pub(super) fn push(&mut self, packet: &Encoded, is_unstamped: bool, limit: usize) -> Result<Sent, SendError> {
        let bytes = self.bytes + packet.cost();
        if bytes > limit && !self.packets.is_empty() {
            return Err(SendError::Full);
        }
        self.bytes = bytes;
        self.packets.push(BufferedPacket { packet: packet.clone(), is_unstamped });
        Ok(Sent { queued: true, waker: None })
    }
}
