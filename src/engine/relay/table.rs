//! The exchanges of a node: beginning them, and passing messages to them.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::util::Mutex;

use super::{
    line::Line,
    message::{Chunk, Content, Malformed, Message, RequestHead},
    node_id::NodeId,
    shared::{Asked, Exchange, Relay, SendToNode},
};

/// How many requests may wait for the first response of their owner.
const MAX_WAITING: usize = 1024;

/// How many nodes that have responded are remembered.
const MAX_KNOWN: usize = 4096;

/// How many requests of other nodes may be in progress. Sessions have few at a time, so that it is reached only if nodes fail.
const MAX_SERVED: usize = 65_536;

impl Relay {
    /// Creates the relay of a node. `quiet` is the silence after which the owner of a session is asked whether it lives, and
    /// `max_unread` limits the bytes that all exchanges together may have received but not read.
    pub(crate) fn new(
        id: NodeId,
        timeout: Duration,
        quiet: Duration,
        max_unread: usize,
        send: SendToNode,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            send,
            timeout,
            quiet,
            next: AtomicU64::new(0),
            asked: Mutex::new(Asked::default()),
            served: Mutex::new(HashMap::new()),
            unread: AtomicUsize::new(0),
            max_unread,
            ended: Notify::new(),
        })
    }

    /// Returns the id of a new session of this node.
    pub(crate) fn session_id(&self, secret: &str) -> Arc<str> {
        self.id.session_id(secret).into()
    }

    /// Returns the node that owns a session, if it is another one.
    pub(crate) fn owner_of(&self, session: &str) -> Option<NodeId> {
        NodeId::of_session(session).filter(|owner| *owner != self.id)
    }

    /// Returns `true` if a session is of this node.
    pub(crate) fn owns(&self, session: &str) -> bool {
        NodeId::of_session(session) == Some(self.id)
    }

    /// Sends a request to the owner of its session, with the part of the body that has arrived, from the front of `body`. `ends` is
    /// `true` if that is all of it.
    ///
    /// If too many requests wait for their owner, one fails: the oldest one for a node that has never responded, which may not exist,
    /// or else the oldest one.
    pub(crate) fn begin(self: &Arc<Self>, owner: NodeId, head: RequestHead, body: &mut Bytes, ends: bool) -> Line {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let exchange = Arc::new(Exchange::new(self.clone(), owner, number, false));
        let displaced = {
            let mut asked = self.asked.lock();
            asked.exchanges.insert(number, Arc::downgrade(&exchange));
            asked.waiting.insert(number, owner);
            if asked.waiting.len() > MAX_WAITING { asked.displace() } else { None }
        };
        if let Some(displaced) = displaced {
            displaced.break_off();
        }
        let chunk = exchange.first_chunk(body, ends);
        exchange.send(Content::Begin(head, chunk));
        Line::of_asker(exchange)
    }

    /// Handles a message of another node. Returns an exchange if it begins one.
    pub(crate) fn receive(self: &Arc<Self>, message: Bytes) -> Result<Option<(Arc<Exchange>, RequestHead)>, Malformed> {
        let Message { sender, number, from_owner, content } = Message::decode(message)?;
        if sender == self.id {
            return Ok(None);
        }
        let content = match content {
            Content::Begin(head, chunk) => return Ok(self.serve(sender, number, head, chunk)),
            content => content,
        };
        let exchange = match from_owner {
            true => {
                let mut asked = self.asked.lock();
                let exchange = asked.exchanges.get(&number).and_then(Weak::upgrade);
                if exchange.as_ref().is_some_and(|exchange| exchange.peer == sender) {
                    asked.waiting.remove(&number);
                    asked.note_owner(sender);
                }
                exchange
            }
            false => self.served.lock().get(&(sender, number)).and_then(Weak::upgrade),
        };
        match (exchange.filter(|exchange| exchange.peer == sender), content) {
            (Some(exchange), Content::Check(position)) => exchange.checked(position),
            (Some(exchange), content) => exchange.receive(content),
            // It has ended here, or has never begun.
            (None, Content::Check(_)) => self.reject(sender, number),
            (None, _) => {}
        }
        Ok(None)
    }

    /// Begins to serve a request of another node.
    fn serve(
        self: &Arc<Self>,
        sender: NodeId,
        number: u64,
        head: RequestHead,
        chunk: Chunk,
    ) -> Option<(Arc<Exchange>, RequestHead)> {
        let exchange = Arc::new(Exchange::new(self.clone(), sender, number, true));
        let (is_new, is_full) = {
            let mut served = self.served.lock();
            let is_full = served.len() >= MAX_SERVED;
            match served.entry((sender, number)) {
                Entry::Vacant(entry) if !is_full => {
                    entry.insert(Arc::downgrade(&exchange));
                    (true, false)
                }
                Entry::Vacant(_) => (true, true),
                Entry::Occupied(_) => (false, is_full),
            }
        };
        if !is_new {
            // The broker has delivered the message twice. The asker must not be told that this one is dropped.
            exchange.break_off();
        }
        (is_new && !is_full && exchange.receive_first(chunk)).then_some((exchange, head))
    }

    fn reject(&self, sender: NodeId, number: u64) {
        let message = Message { sender: self.id, number, from_owner: true, content: Content::Reset };
        (self.send)(&sender.to_hex(), message.encode());
    }

    /// Removes an exchange that has ended.
    pub(super) fn forget(&self, exchange: &Exchange) {
        if exchange.is_owner {
            let mut served = self.served.lock();
            // A duplicate has not been added.
            if let Entry::Occupied(entry) = served.entry((exchange.peer, exchange.number))
                && std::ptr::eq(entry.get().as_ptr(), exchange)
            {
                entry.remove();
            }
        } else {
            let mut asked = self.asked.lock();
            asked.exchanges.remove(&exchange.number);
            asked.waiting.remove(&exchange.number);
        }
        self.ended.notify_waiters();
    }

    /// Waits until all exchanges have ended.
    pub(crate) async fn finished(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            // Notifications from here on are received.
            ended.as_mut().enable();
            if self.asked.lock().exchanges.is_empty() && self.served.lock().is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Ends the exchanges with a node that has left the cluster.
    pub(crate) fn peer_left(&self, peer: &str) {
        if let Some(peer) = NodeId::from_hex(peer) {
            self.break_off_all(|exchange| exchange.peer == peer);
        }
    }

    /// Ends the exchanges that this node has begun, because it leaves the cluster.
    pub(crate) fn close(&self) {
        let all: Vec<_> = self.asked.lock().exchanges.values().filter_map(Weak::upgrade).collect();
        for exchange in all {
            exchange.send(Content::Reset);
            exchange.break_off();
        }
    }

    fn break_off_all(&self, is_over: impl Fn(&Exchange) -> bool) {
        let asked: Vec<_> = self.asked.lock().exchanges.values().cloned().collect();
        let served: Vec<_> = self.served.lock().values().cloned().collect();
        let all = asked.into_iter().chain(served).filter_map(|exchange| exchange.upgrade());
        all.filter(|exchange| is_over(exchange)).for_each(|exchange| exchange.break_off());
    }

    /// Counts bytes that have been received. Returns `false` if there are too many. An exchange whose bytes have all been read goes on
    /// in any case, so that others that are not read cannot stop it.
    pub(super) fn hold(&self, bytes: usize, is_read: bool) -> bool {
        let fits = self.unread.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.max_unread || is_read;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    pub(super) fn release(&self, bytes: usize) {
        self.unread.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Asked {
    /// Takes a request from those that wait for their owner.
    fn displace(&mut self) -> Option<Arc<Exchange>> {
        let is_unknown = |(_, owner): &(&u64, &NodeId)| !self.known.contains(*owner);
        let (number, _) = self.waiting.iter().find(is_unknown).or(self.waiting.first_key_value())?;
        let number = *number;
        self.waiting.remove(&number);
        self.exchanges.get(&number).and_then(Weak::upgrade)
    }

    /// Remembers a node that has responded.
    fn note_owner(&mut self, owner: NodeId) {
        if self.known.len() < MAX_KNOWN {
            self.known.insert(owner);
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("id", &self.id).finish_non_exhaustive()
    }
}
