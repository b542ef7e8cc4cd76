//! The model of a client and its session.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    sync::Arc,
};

use crate::{
    room::{Handle, MemberId, Room, SocketId},
    util::Named,
};

use super::{Restored, SessionKey};

/// A client as a member of the registry.
#[derive(Debug, Clone)]
pub(super) struct Seat(Rc<(usize, SocketId, Cell<Option<MemberId>>)>);

impl Seat {
    pub(super) fn new(index: usize, id: SocketId) -> Self {
        Self(Rc::new((index, id, Cell::new(None))))
    }

    pub(super) fn index(&self) -> usize {
        self.0.0
    }

    pub(super) fn member(&self) -> MemberId {
        self.member_id().expect("it has been inserted")
    }
}

impl Named for Seat {
    fn name(&self) -> &str {
        self.socket_id()
    }
}

impl Handle for Seat {
    fn socket_id(&self) -> &SocketId {
        &self.0.1
    }

    fn member_id(&self) -> Option<MemberId> {
        self.0.2.get()
    }

    fn moved(&self, id: MemberId) {
        self.0.2.set(Some(id));
    }
}

#[derive(Default)]
pub(super) struct Client {
    /// The session of its last connection.
    pub(super) session: Option<Session>,
    pub(super) connection: Connection,
    pub(super) is_slow: bool,
}

/// A session, as known to the model and the client.
pub(super) struct Session {
    pub(super) id: SocketId,
    pub(super) private_id: Arc<str>,
    /// The last offset before the session began.
    pub(super) begun: u64,
    /// The client has all events for it up to this offset.
    pub(super) seen: u64,
    /// The offsets that the client has seen.
    pub(super) offsets: Vec<u64>,
    pub(super) view: View,
    /// The next view, if the recovery under way is accepted.
    pub(super) tried: Option<View>,
}

/// The session as known to the server.
#[derive(Default, Clone)]
pub(super) struct View {
    pub(super) rooms: BTreeSet<Room>,
    /// The events for the session, and whether they were dropped because the client was slow.
    pub(super) events: BTreeMap<u64, bool>,
    pub(super) last_sent: u64,
    /// A client that has seen the last event sent to it has all events up to this offset.
    pub(super) complete_until: u64,
    /// The maximum size of the stays in rooms that it has left.
    pub(super) left_bytes: usize,
}

#[derive(Default)]
pub(super) enum Connection {
    #[default]
    None,
    /// The socket has not joined the namespace. Changes by layers are buffered.
    Entering {
        restored: Option<Restored>,
        early: usize,
        joined: BTreeSet<Room>,
        left: BTreeSet<Room>,
    },
    Joined(Joined),
}

pub(super) struct Joined {
    pub(super) seat: Seat,
    pub(super) key: SessionKey,
    pub(super) restored: Option<Restored>,
    pub(super) accepted: bool,
    /// The events queued for the client: the offset of each, and whether it is volatile.
    pub(super) wire: VecDeque<(u64, bool)>,
    /// The connection is lost, but the socket has not left the namespace.
    pub(super) is_dead: bool,
    pub(super) first_missed: Option<u64>,
    /// The recorded events that could not be sent after the last one that was.
    pub(super) missed: Vec<u64>,
}

impl Connection {
    pub(super) fn entering(restored: Option<Restored>) -> Self {
        Self::Entering { restored, early: 0, joined: BTreeSet::new(), left: BTreeSet::new() }
    }
}

impl Joined {
    /// Returns `true` if there is no session that the client could recover.
    pub(super) fn is_new(&self) -> bool {
        !self.accepted && self.restored.is_none()
    }
}

impl Session {
    /// Returns the views of the session that are possible, depending on the result of the attempt to join.
    pub(super) fn views(&mut self) -> impl Iterator<Item = &mut View> {
        self.tried.iter_mut().chain([&mut self.view])
    }

    pub(super) fn current(&mut self) -> &mut View {
        self.tried.as_mut().unwrap_or(&mut self.view)
    }

    /// Returns the events that the client must still get, in order.
    pub(super) fn unseen(&self) -> impl Iterator<Item = u64> {
        self.view.events.range(self.seen + 1..).filter(|(_, dropped)| !**dropped).map(|(event, _)| *event)
    }

    /// Returns what the client sends to claim its session: the offset, if it is one of this server, and its text.
    pub(super) fn bring(&self, how: u8) -> (Option<u64>, Option<String>) {
        let ours = |offset: u64| (Some(offset), Some(format!("tag.{offset:x}")));
        match how % 12 {
            0 => (Some(0), None),
            1..=4 => ours(self.seen),
            5..=8 => ours(
                self.offsets.get(usize::from(how / 12) % self.offsets.len().max(1)).map_or(self.seen, |seen| *seen),
            ),
            9 => (Some(0), Some("gat.5".to_owned())),
            10 => (None, Some("text".to_owned())),
            _ => ours(self.view.last_sent + 1 + u64::from(how / 12)),
        }
    }

    /// Records that events after an offset are lost.
    pub(super) fn forget_since(&mut self, offset: u64) {
        self.seen = offset.max(self.begun);
        self.offsets.retain(|seen| *seen <= offset);
    }

    /// Checks that the missed events are all unseen ones, in order, and only those for the client.
    pub(super) fn check_missed(&self, missed: &[u64]) {
        assert!(missed.is_sorted_by(|before, event| before < event));
        assert!(missed.iter().all(|event| *event > self.seen && self.view.events.contains_key(event)), "{missed:?}");
        let unseen: Vec<u64> = self.unseen().collect();
        assert!(unseen.iter().all(|event| missed.contains(event)), "{missed:?} instead of {unseen:?}");
    }
}

impl View {
    /// Records a queued event. Events before it that could not be sent are lost.
    pub(super) fn sent(&mut self, offset: u64, missed: &mut Vec<u64>) {
        self.last_sent = self.last_sent.max(offset);
        for event in missed.drain(..) {
            if let Some(dropped) = self.events.get_mut(&event) {
                *dropped = true;
            }
        }
    }
}
