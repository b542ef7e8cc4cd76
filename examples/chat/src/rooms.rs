//! The rooms and their last messages.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

/// The number of messages that a room keeps.
const KEPT: usize = 50;

/// A user, as stored in the session and as sent to the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Message {
    /// Counts the messages of the room, so that a client can tell how many it has not seen.
    id: u64,
    user: User,
    text: String,
    /// Milliseconds since 1970, as in JavaScript.
    at: u64,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) last: u64,
    pub(crate) messages: VecDeque<Message>,
}

impl History {
    pub(crate) fn add(&mut self, user: User, text: String) -> Message {
        self.last += 1;
        let at = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_millis() as u64);
        let message = Message { id: self.last, user, text, at };
        if self.messages.len() == KEPT {
            self.messages.pop_front();
        }
        self.messages.push_back(message.clone());
        message
    }
}

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: &'static str,
    history: Mutex<History>,
}

impl Room {
    /// Locks the history. What is emitted while the lock is held arrives in the order of the messages.
    ///
    /// Handlers of disconnections must not call it: an emit disconnects clients that are too slow, and then runs
    /// `on_disconnecting`.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct Rooms(Vec<Room>);

impl Rooms {
    pub(crate) fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        Self(names.into_iter().map(|name| Room { name, history: Mutex::default() }).collect())
    }

    pub(crate) fn all(&self) -> &[Room] {
        &self.0
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Room> {
        self.0.iter().find(|room| room.name == name)
    }
}
