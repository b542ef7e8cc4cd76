use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::engine::{ProtocolVersion, generate_id};

use super::{IntoRooms, Room};

/// The public id of a socket. Random and unique for each namespace that a client joins.
///
/// Each socket is in the room with the name of its id, so an id can be used as a room. Cloning is cheap.
///
/// It differs from the id of the Engine.IO session, which is a secret between client and server. Clients of revision 3 are an
/// exception: they have the session's id, prefixed by the namespace unless that is `/` (`/chat#L7DxU-lyJryW7j6lAAAA`).
///
/// ```
/// use tower_socketio::{Room, SocketId, SocketRef};
///
/// fn whisper(socket: &SocketRef, recipient: &SocketId) {
///     socket.to(recipient).emit("whisper", "hello").ok();
///     let room: Room = recipient.into();
/// #   let _ = room;
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(Arc<str>);

impl SocketId {
    /// Creates the id of a new socket of an Engine.IO session.
    pub(crate) fn new(protocol: ProtocolVersion, session_id: &Arc<str>, namespace: &str) -> Self {
        match (protocol, namespace) {
            (ProtocolVersion::V4, _) => Self(generate_id()),
            (ProtocolVersion::V3, "/") => Self(session_id.clone()),
            (ProtocolVersion::V3, namespace) => Self(format!("{namespace}#{session_id}").into()),
        }
    }

    /// The id of a socket of another node of a cluster.
    pub(crate) fn of_other_node(id: Arc<str>) -> Self {
        Self(id)
    }

    /// Returns the id as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the room of this socket only.
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

impl AsRef<str> for SocketId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SocketId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for SocketId {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for SocketId {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

impl From<SocketId> for Room {
    fn from(id: SocketId) -> Self {
        id.0.into()
    }
}

impl From<&SocketId> for Room {
    fn from(id: &SocketId) -> Self {
        id.room()
    }
}

impl Serialize for SocketId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for SocketId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Arc::deserialize(deserializer).map(Self)
    }
}

impl IntoRooms for SocketId {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.into())
    }
}

impl IntoRooms for &SocketId {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.room())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_is_a_string_to_collections_and_serde() {
        let id = SocketId::new(ProtocolVersion::V3, &"abc".into(), "/chat");
        assert_eq!(id, "/chat#abc");
        assert!(HashSet::from([id.clone()]).contains("/chat#abc"));
        assert_eq!(serde_json::to_value(&id).unwrap(), "/chat#abc");
        assert_eq!(serde_json::from_str::<SocketId>(r#""/chat#abc""#).unwrap(), id);
        assert_eq!((Room::from(&id), AsRef::<str>::as_ref(&id)), (Room::from("/chat#abc"), "/chat#abc"));
    }
}
