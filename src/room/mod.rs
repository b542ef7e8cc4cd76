//! Rooms, the ids of sockets, and collections of rooms.
//!
//! The registry knows the ids and handles of its members, not sockets.

mod id;
mod name;
mod registry;

#[cfg(any(test, fuzzing))]
pub(crate) use self::registry::model::run as check_registry;
pub(crate) use self::registry::{Handle, MemberId, Recipients, Registry, RoomChange, RoomChangeKind, Selection};
pub use self::{
    id::SocketId,
    name::{IntoRooms, Room, Rooms},
};
