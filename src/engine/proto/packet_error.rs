/// Error returned by [`Packet::from_text`](super::Packet::from_text): a frame is not an Engine.IO packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PacketError(&'static str);

impl PacketError {
    pub(crate) const fn new(message: &'static str) -> Self {
        Self(message)
    }

    pub(crate) fn message(self) -> &'static str {
        self.0
    }
}
