use crate::room::{Room, Selection, SocketId};

/// Names a session while its socket is in the namespace. No two sessions have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey(pub(super) u64);

/// Which sockets an event was for.
#[derive(Debug)]
pub(crate) enum Scope {
    /// One socket. An event that a socket got before it was accepted is for that attempt to join alone.
    One { id: SocketId, attempt: Option<SessionKey> },
    /// The members of rooms, without the sender.
    Selection { selection: Selection, sender: Option<SocketId> },
    /// A socket whose attempt to join has failed.
    Nobody,
}

impl Scope {
    /// What the names of the rooms take.
    pub(super) fn cost(&self) -> usize {
        const ROOM: usize = 48;
        match self {
            Self::One { .. } | Self::Nobody => 0,
            Self::Selection { selection: Selection { rooms, except }, .. } => {
                rooms.iter().chain(except).map(|room: &Room| room.len() + ROOM).sum()
            }
        }
    }
}
