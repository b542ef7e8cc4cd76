use crate::room::{Room, Selection, SocketId};

/// Identifies a session while its socket is in the namespace. Keys are unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey(pub(crate) u64);

/// The sockets that an event is for.
#[derive(Debug)]
pub(crate) enum Scope {
    /// One socket. `attempt` is set for an event before the socket was accepted: it is only for that attempt to join.
    One { id: SocketId, attempt: Option<SessionKey> },
    /// The members of rooms, except the sender.
    Selection { selection: Selection, sender: Option<SocketId> },
    /// No socket, because the attempt to join has failed.
    Nobody,
}

impl Scope {
    /// Returns the memory that the names of the rooms take.
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
