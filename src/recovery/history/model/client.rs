//! A client and its session, as the model knows them.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    sync::Arc,
};

use crate::room::{Handle, MemberId, Room, SocketId};

use super::{Restored, SessionKey};

/// What the registry knows of a client.
#[derive(Debug, Clone)]
pub(super) struct Seat(Rc<(usize, Cell<Option<MemberId>>)>);

impl Seat {
    pub(super) fn new(index: usize) -> Self {
        Self(Rc::new((index, Cell::new(None))))
    }

    pub(super) fn index(&self) -> usize {
        self.0.0
    }

    pub(super) fn member(&self) -> MemberId {
        self.0.1.get().expect("it has been inserted")
    }
}

impl Handle for Seat {
    fn moved(&self, id: MemberId) {
        self.0.1.set(Some(id));
    }
}

#[derive(Default)]
pub(super) struct Client {
    /// What it had when it was connected last.
    pub(super) session: Option<Session>,
    pub(super) connection: Connection,
    pub(super) is_slow: bool,
}

/// A session, as the model and its client know it.
pub(super) struct Session {
    pub(super) id: SocketId,
    pub(super) private_id: Arc<str>,
    /// The last offset before it began.
    pub(super) begun: u64,
    /// Up to this offset the client has everything that was for it.
    pub(super) seen: u64,
    /// The offsets that it has seen.
    pub(super) offsets: Vec<u64>,
    pub(super) view: View,
    /// What becomes of the view if the client's return is accepted.
    pub(super) tried: Option<View>,
}

/// What the server knows of a session.
#[derive(Default, Clone)]
pub(super) struct View {
    pub(super) rooms: BTreeSet<Room>,
    /// The events that are for it, and whether they were lost because the client was slow.
    pub(super) events: BTreeMap<u64, bool>,
    pub(super) last_sent: u64,
    /// A client that has seen the last event that was sent to it has everything up to this one.
    pub(super) complete_until: u64,
    /// What the rooms that it has left take at most.
    pub(super) left_bytes: usize,
}

#[derive(Default)]
pub(super) enum Connection {
    #[default]
    None,
    /// The socket has not joined the namespace: what layers do to it waits.
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
    /// What has been queued for the client: the offset of each event, and whether it is volatile.
    pub(super) wire: VecDeque<(u64, bool)>,
    /// The connection is lost, but the socket has not left the namespace.
    pub(super) is_dead: bool,
    pub(super) first_missed: Option<u64>,
    /// The recorded events that could not be sent, since the last that could.
    pub(super) missed: Vec<u64>,
}

impl Connection {
    pub(super) fn entering(restored: Option<Restored>) -> Self {
        Self::Entering { restored, early: 0, joined: BTreeSet::new(), left: BTreeSet::new() }
    }
}

impl Joined {
    /// Whether its client has nothing to come back to.
    pub(super) fn is_new(&self) -> bool {
        !self.accepted && self.restored.is_none()
    }
}

impl Session {
    /// What is known of the session, however the attempt to join ends that is under way.
    pub(super) fn views(&mut self) -> impl Iterator<Item = &mut View> {
        self.tried.iter_mut().chain([&mut self.view])
    }

    pub(super) fn current(&mut self) -> &mut View {
        self.tried.as_mut().unwrap_or(&mut self.view)
    }

    /// The events that the client must still get, in order.
    pub(super) fn unseen(&self) -> impl Iterator<Item = u64> {
        self.view.events.range(self.seen + 1..).filter(|(_, dropped)| !**dropped).map(|(event, _)| *event)
    }

    /// What the client brings when it claims its session: the offset, if it is one of this server, and the text.
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

    /// The client has lost what came after an offset.
    pub(super) fn forget_since(&mut self, offset: u64) {
        self.seen = offset.max(self.begun);
        self.offsets.retain(|seen| *seen <= offset);
    }

    /// The client must be sent everything that it has not seen, in order, and nothing that was not for it.
    pub(super) fn check_missed(&self, missed: &[u64]) {
        assert!(missed.is_sorted_by(|before, event| before < event));
        assert!(missed.iter().all(|event| *event > self.seen && self.view.events.contains_key(event)), "{missed:?}");
        let unseen: Vec<u64> = self.unseen().collect();
        assert!(unseen.iter().all(|event| missed.contains(event)), "{missed:?} instead of {unseen:?}");
    }
}

impl View {
    /// An event has been queued: those that found no room before are lost.
    pub(super) fn sent(&mut self, offset: u64, missed: &mut Vec<u64>) {
        self.last_sent = self.last_sent.max(offset);
        for event in missed.drain(..) {
            if let Some(dropped) = self.events.get_mut(&event) {
                *dropped = true;
            }
        }
    }
}
