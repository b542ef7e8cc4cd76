use std::{fmt, ops::Deref, sync::Arc};

use crate::engine::{ProtocolVersion, generate_id};

use super::{IntoRooms, Room};

/// The public id of a socket: random, one for each namespace that a client joins.
///
/// It is not the id of the Engine.IO session, which is a secret between the client and the server; clients of revision 3,
/// who know no other id, are the exception: theirs is the session's, behind the name of the namespace unless that is `/`
/// (`/chat#L7DxU-lyJryW7j6lAAAA`). Every socket is in
/// the room of its own id, so an id can be given wherever a room can. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(Arc<str>);

impl SocketId {
    /// The id of a new socket of an Engine.IO session.
    pub(crate) fn new(protocol: ProtocolVersion, session_id: &Arc<str>, namespace: &str) -> Self {
        match (protocol, namespace) {
            (ProtocolVersion::V4, _) => Self(generate_id().into()),
            (ProtocolVersion::V3, "/") => Self(session_id.clone()),
            (ProtocolVersion::V3, namespace) => Self(format!("{namespace}#{session_id}").into()),
        }
    }

    /// The id as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The room of this socket alone.
    pub(crate) fn room(&self) -> Room {
        self.0.clone().into()
    }
}

impl Deref for SocketId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for SocketId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl IntoRooms for SocketId {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.room())
    }
}

impl IntoRooms for &SocketId {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.room())
    }
}
