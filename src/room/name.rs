use std::{
    borrow::{Borrow, Cow},
    collections::{BTreeSet, HashSet, VecDeque},
    fmt,
    ops::Deref,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a room. Cloning is cheap.
///
/// Compares, serializes and deserializes as a string.
///
/// ```
/// use tower_socketio::Room;
///
/// let room = Room::from("news");
/// assert_eq!(room, "news");
/// assert_eq!(room.as_str().len(), 4);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Room(Arc<str>);

impl Room {
    /// Returns the name as a string.
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

impl AsRef<str> for Room {
    fn as_ref(&self) -> &str {
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

impl Serialize for Room {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Room {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Arc::deserialize(deserializer).map(Self)
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

/// A type that names rooms: a string, a [`Room`], a [`SocketId`](crate::SocketId), or a collection of them, by value or by
/// reference.
///
/// Collections are arrays, slices, `Vec`, `VecDeque`, `HashSet`, `BTreeSet`, `Option`, `Box<[T]>` and `Arc<[T]>`. Use [`Rooms`]
/// for iterators.
///
/// ```
/// use std::collections::HashSet;
/// use tower_socketio::{SocketRef, room::Rooms};
///
/// fn example(socket: SocketRef, followed: &HashSet<String>) {
///     socket.join("news");
///     socket.join(followed);
///     socket.join(Rooms((1..=3).map(|number| format!("room-{number}"))));
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name rooms",
    note = "pass a string, a `Room`, a `SocketId`, or a collection of them, by value or by reference",
    note = "wrap an iterator in `Rooms`"
)]
pub trait IntoRooms {
    /// Returns the rooms, in unspecified order.
    fn into_rooms(self) -> impl Iterator<Item = Room>;
}

/// Implements [`IntoRooms`] for the items of an iterator.
///
/// ```
/// use tower_socketio::{SocketRef, room::Rooms};
///
/// fn join_floors(socket: SocketRef) {
///     socket.join(Rooms((1..=3).map(|number| format!("floor-{number}"))));
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Rooms<I>(pub I);

impl<I> IntoRooms for Rooms<I>
where
    I: IntoIterator,
    I::Item: IntoRooms,
{
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.0.into_iter().flat_map(IntoRooms::into_rooms)
    }
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

impl IntoRooms for Cow<'_, str> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(Room::from(&*self))
    }
}

impl IntoRooms for Box<str> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(Room::from(Arc::from(self)))
    }
}

/// Implements the trait for references to one room.
macro_rules! one_room_by_reference {
    ($($ty:ty),*) => {
        $(impl IntoRooms for $ty {
            fn into_rooms(self) -> impl Iterator<Item = Room> {
                std::iter::once(Room::from(&**self))
            }
        })*
    };
}

one_room_by_reference!(&Arc<str>, &Box<str>, &Cow<'_, str>);

/// Implements the trait for references to references, the items of a slice of references.
macro_rules! one_room_by_two_references {
    ($($ty:ty),*) => {
        $(impl IntoRooms for &$ty {
            fn into_rooms(self) -> impl Iterator<Item = Room> {
                (*self).into_rooms()
            }
        })*
    };
}

one_room_by_two_references!(&str, &String, &Room, &Arc<str>);

/// Implements the trait for collections, by value and by reference.
macro_rules! many_rooms {
    ($($ty:ty $(, $generic:ident)*;)*) => {
        $(
            impl<T: IntoRooms $(, $generic)*> IntoRooms for $ty {
                fn into_rooms(self) -> impl Iterator<Item = Room> {
                    Rooms(self).into_rooms()
                }
            }

            impl<'a, T $(, $generic)*> IntoRooms for &'a $ty
            where
                &'a T: IntoRooms,
            {
                fn into_rooms(self) -> impl Iterator<Item = Room> {
                    Rooms(self).into_rooms()
                }
            }
        )*
    };
}

many_rooms! {
    Vec<T>;
    VecDeque<T>;
    BTreeSet<T>;
    HashSet<T, S>, S;
    Option<T>;
}

impl<T: IntoRooms, const N: usize> IntoRooms for [T; N] {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        Rooms(self).into_rooms()
    }
}

impl<'a, T, const N: usize> IntoRooms for &'a [T; N]
where
    &'a T: IntoRooms,
{
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        Rooms(self).into_rooms()
    }
}

impl<'a, T> IntoRooms for &'a [T]
where
    &'a T: IntoRooms,
{
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        Rooms(self).into_rooms()
    }
}

impl<T: IntoRooms> IntoRooms for Box<[T]> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        Rooms(self.into_vec()).into_rooms()
    }
}

impl<'a, T> IntoRooms for &'a Box<[T]>
where
    &'a T: IntoRooms,
{
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        Rooms(self.iter()).into_rooms()
    }
}

impl<'a, T> IntoRooms for &'a Arc<[T]>
where
    &'a T: IntoRooms,
{
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        Rooms(self.iter()).into_rooms()
    }
}

impl<T> IntoRooms for Arc<[T]>
where
    for<'a> &'a T: IntoRooms,
{
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        // Collected, because the rooms must not borrow from `self`.
        self.iter().flat_map(IntoRooms::into_rooms).collect::<Vec<Room>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_a_string_to_collections_and_serde() {
        let room = Room::from("news");
        assert!(HashSet::from([room.clone()]).contains("news"));
        assert_eq!(serde_json::to_value(&room).unwrap(), "news");
        assert_eq!(serde_json::from_str::<Room>(r#""news""#).unwrap(), room);
        assert_eq!(AsRef::<str>::as_ref(&room), "news");
    }

    #[track_caller]
    fn names(rooms: impl IntoRooms, expected: &[&str]) {
        let mut names: Vec<Room> = rooms.into_rooms().collect();
        names.sort();
        assert_eq!(names, expected);
    }

    fn boxed<T>(items: [T; 2]) -> Box<[T]> {
        Box::new(items)
    }

    fn shared<T>(items: [T; 2]) -> Arc<[T]> {
        Arc::new(items)
    }

    /// Checks all collections of a type that names a room, by value and by reference.
    macro_rules! check_collections {
        ($($of:expr),*) => {
            $({
                let of = $of;
                let items = || [of("a"), of("b")];
                names(items(), &["a", "b"]);
                names(&items(), &["a", "b"]);
                names(&items()[..], &["a", "b"]);
                names(Vec::from(items()), &["a", "b"]);
                names(&Vec::from(items()), &["a", "b"]);
                names(VecDeque::from(items()), &["a", "b"]);
                names(&VecDeque::from(items()), &["a", "b"]);
                names(HashSet::from(items()), &["a", "b"]);
                names(&HashSet::from(items()), &["a", "b"]);
                names(BTreeSet::from(items()), &["a", "b"]);
                names(&BTreeSet::from(items()), &["a", "b"]);
                names(boxed(items()), &["a", "b"]);
                names(&boxed(items()), &["a", "b"]);
                names(shared(items()), &["a", "b"]);
                names(&shared(items()), &["a", "b"]);
                names(Some(of("a")), &["a"]);
                names(&Some(of("a")), &["a"]);
                names(Rooms(items()), &["a", "b"]);
                names(Rooms(items().iter()), &["a", "b"]);
                names(Vec::from([Some(of("a")), None]), &["a"]);
            })*
        };
    }

    #[test]
    fn rooms_are_named_by_all_types_and_collections_of_them() {
        check_collections!(
            |name: &'static str| name,
            |name: &'static str| String::from(name),
            |name: &'static str| Room::from(name),
            |name: &'static str| Arc::<str>::from(name),
            |name: &'static str| Box::<str>::from(name),
            |name: &'static str| Cow::Borrowed(name)
        );
        names(Option::<Room>::None, &[]);
        let rooms = [Room::from("a"), Room::from("b")];
        let filtered: Vec<&Room> = rooms.iter().filter(|room| **room == "a").collect();
        names(&filtered, &["a"]);
        names(Rooms(filtered.iter()), &["a"]);
        names(Rooms((1..3).map(|number| format!("room {number}"))), &["room 1", "room 2"]);
    }
}
