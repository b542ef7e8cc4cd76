use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

/// The name of a room. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Room(Arc<str>);

impl Room {
    /// The name as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Room {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Room {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq<str> for Room {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Room {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl From<&str> for Room {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for Room {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<Arc<str>> for Room {
    fn from(name: Arc<str>) -> Self {
        Self(name)
    }
}

/// What names one or several rooms: a string, a [`Room`], a socket's id, or an array, slice or vector of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name rooms",
    note = "pass a string, a `Room`, a `SocketId`, or an array, slice or vector of them"
)]
pub trait IntoRooms {
    /// The rooms, in no particular order.
    fn into_rooms(self) -> impl Iterator<Item = Room>;
}

macro_rules! one_room {
    ($($ty:ty),*) => {
        $(impl IntoRooms for $ty {
            fn into_rooms(self) -> impl Iterator<Item = Room> {
                std::iter::once(Room::from(self))
            }
        })*
    };
}

one_room!(&str, String, Arc<str>, Room);

impl IntoRooms for &String {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.as_str().into_rooms()
    }
}

impl IntoRooms for &Room {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.clone().into_rooms()
    }
}

impl<T: IntoRooms, const N: usize> IntoRooms for [T; N] {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().flat_map(IntoRooms::into_rooms)
    }
}

impl<T: IntoRooms> IntoRooms for Vec<T> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().flat_map(IntoRooms::into_rooms)
    }
}

impl<T> IntoRooms for &[T]
where
    for<'a> &'a T: IntoRooms,
{
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.iter().flat_map(IntoRooms::into_rooms)
    }
}

impl<T> IntoRooms for &Vec<T>
where
    for<'a> &'a T: IntoRooms,
{
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.as_slice().into_rooms()
    }
}

impl IntoRooms for &&str {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        (*self).into_rooms()
    }
}
