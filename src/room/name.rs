use std::{
    borrow::{Borrow, Cow},
    collections::{BTreeSet, HashSet, VecDeque},
    fmt,
    ops::Deref,
    sync::Arc,
};

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

/// What names one or several rooms: a string, a [`Room`], a socket's id, or a collection of them, by value or by
/// reference.
///
/// Collections are arrays, slices, `Vec`, `VecDeque`, `HashSet`, `BTreeSet`, `Option`, `Box<[T]>` and `Arc<[T]>`.
/// [`Rooms`] makes one of any iterator.
///
/// ```
/// use std::collections::HashSet;
/// use tower_socketio::{Rooms, SocketRef};
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
    note = "an iterator fits as `Rooms(iterator)`"
)]
pub trait IntoRooms {
    /// The rooms, in no particular order.
    fn into_rooms(self) -> impl Iterator<Item = Room>;
}

/// The rooms that an iterator gives. See [`IntoRooms`].
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

/// One room, by reference.
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

/// One room by a reference to a reference: an item of a slice of references.
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

/// Collections, by value and by reference.
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
        // The rooms outlive this reference to them.
        self.iter().flat_map(IntoRooms::into_rooms).collect::<Vec<Room>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// Collections of something that names a room, by value and by reference.
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
    fn whatever_names_a_room_does_so_in_any_collection() {
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
