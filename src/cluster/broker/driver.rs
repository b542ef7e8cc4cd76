use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use crate::{
    cluster::{
        backoff::Backoff,
        error::{ClusterError, ClusterErrorKind},
        message::{ClusterCommand, ClusterMessage},
        node::ClusterNode,
        wire::WireError,
    },
    util::now,
};

use super::{
    link::{Event, Link, Options, connect},
    shared::{Phase, Shared},
};

/// The task that owns the link.
///
/// A new link is subscribed to all namespaces before messages are published again. Messages that were queued or not confirmed when a
/// link was lost are counted, and not sent again: the broker may have delivered them.
pub(super) struct Driver<L: Link> {
    config: Arc<L::Config>,
    options: Options,
    shared: Arc<Shared<L::Frame>>,
    /// The server, once the link receives what is for it.
    node: Option<ClusterNode>,
    /// The namespaces, and whether each is subscribed or still being subscribed.
    namespaces: HashMap<Arc<str>, bool>,
    /// Hellos and heartbeats for which the link had no room: one for each namespace.
    owed: HashMap<Arc<str>, ClusterCommand>,
    /// There was no link for a while.
    has_missed: bool,
    backoff: Backoff,
    /// The time at which messages were accepted again.
    resumed: Option<Instant>,
}

/// After this time, a link is considered stable: if it is lost, the next attempt follows soon.
const STABLE: Duration = Duration::from_secs(5);

/// Why the driver does something.
#[expect(clippy::large_enum_variant, reason = "it is moved once")]
enum Step {
    Event(Event),
    Tick,
    /// The adapter has queued a message, or changed something.
    Work,
}

impl<L: Link> Driver<L> {
    pub(super) fn new(config: Arc<L::Config>, options: Options, shared: Arc<Shared<L::Frame>>) -> Self {
        Self {
            config,
            options,
            shared,
            node: None,
            namespaces: HashMap::new(),
            owed: HashMap::new(),
            has_missed: false,
            backoff: Backoff::default(),
            resumed: None,
        }
    }

    pub(super) async fn run(mut self, link: L) {
        let mut link = Some(link);
        while let Some(mut current) = link.take() {
            let Err(cause) = self.drive(&mut current).await else { return };
            let lost = current.unconfirmed();
            drop(current);
            link = self.reconnect(cause, lost).await;
        }
    }

    /// Drives a link until it is lost, which is the error, or the adapter is closed.
    async fn drive(&mut self, link: &mut L) -> Result<(), ClusterError> {
        self.forget_namespaces();
        let mut tick = interval(self.shared.state.lock().heartbeat.period());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.shared.state.lock().phase == Phase::Closing {
                self.finish(link).await;
                return Ok(());
            }
            self.follow_namespaces(link);
            self.send_owed(link);
            self.send_queued(link);
            match self.next(link, &mut tick).await {
                Step::Event(event) => self.handle(event, link)?,
                Step::Tick => self.tick(link),
                Step::Work => {}
            }
        }
    }

    async fn next(&self, link: &mut L, tick: &mut Interval) -> Step {
        let mut work = pin!(self.shared.driver.notified());
        poll_fn(|cx| {
            // First: under load, there is always an event.
            if tick.poll_tick(cx).is_ready() {
                return Poll::Ready(Step::Tick);
            }
            if let Poll::Ready(event) = link.poll_event(cx) {
                return Poll::Ready(Step::Event(event));
            }
            work.as_mut().poll(cx).map(|()| Step::Work)
        })
        .await
    }

    /// Subscribes to the namespaces that exist, and unsubscribes from the others.
    fn follow_namespaces(&mut self, link: &mut L) {
        let (node, mut changed) = {
            let mut state = self.shared.state.lock();
            (state.node.clone(), state.take_changes())
        };
        if let (None, Some(node)) = (&self.node, node) {
            link.identify(node.id(), node.shares_sessions());
            changed.extend(node.namespaces());
            self.node = Some(node);
        }
        let Some(node) = self.node.clone() else { return self.resume() };
        for namespace in changed {
            match (node.has_namespace(&namespace), self.namespaces.contains_key(&namespace)) {
                (true, false) => match L::check(&self.config, &namespace) {
                    Ok(()) => {
                        link.subscribe(&namespace);
                        self.namespaces.insert(namespace, false);
                    }
                    Err(error) => self.report_kind(ClusterErrorKind::Rejected, error),
                },
                (false, true) => {
                    self.owed.remove(&namespace);
                    // Otherwise the others notice it later.
                    if link.has_room() {
                        self.send(link, &namespace, ClusterCommand::Goodbye);
                    }
                    link.unsubscribe(&namespace);
                    self.namespaces.remove(&namespace);
                    self.shared.state.lock().heartbeat.leave(&namespace);
                }
                // It was dropped while there was no link.
                (false, false) => self.shared.state.lock().heartbeat.leave(&namespace),
                (true, true) => {}
            }
        }
        self.resume();
    }

    /// Begins anew with a new link.
    fn forget_namespaces(&mut self) {
        self.owed.clear();
        let Some(node) = self.node.take() else { return };
        for (namespace, _) in self.namespaces.drain() {
            if !node.has_namespace(&namespace) {
                self.shared.state.lock().heartbeat.leave(&namespace);
            }
        }
    }

    /// Accepts messages again if all namespaces are subscribed.
    fn resume(&mut self) {
        if self.namespaces.values().all(|is_subscribed| *is_subscribed) && !self.shared.is_connected() {
            self.shared.set_connected(true);
            self.resumed = Some(now());
            if std::mem::take(&mut self.has_missed) && self.options.misses_messages {
                let cause = "the broker was not reachable for a while";
                self.report(ClusterError::new(ClusterErrorKind::Missed).caused_by(cause));
            }
        }
    }

    fn send_queued(&self, link: &mut L) {
        let now = now();
        while link.has_room() {
            let Some(queued) = self.shared.state.lock().pop(now) else { return };
            link.send(queued.frame, queued.size, true);
        }
    }

    fn handle(&mut self, event: Event, link: &mut L) -> Result<(), ClusterError> {
        match event {
            Event::Subscribed(namespace) => {
                if let Some(is_subscribed) = self.namespaces.get_mut(&namespace) {
                    *is_subscribed = true;
                    self.shared.state.lock().heartbeat.join(&namespace, now());
                    self.shared.changed.notify_waiters();
                    self.send_or_owe(link, &namespace, ClusterCommand::Hello);
                }
            }
            Event::Received(namespace, Ok(message)) => self.receive(&namespace, message, link),
            Event::Received(_, Err(error)) => self.report_kind(ClusterErrorKind::Malformed, error),
            Event::Relayed(message) => {
                if let Some(node) = &self.node {
                    node.receive(message);
                }
            }
            Event::Confirmed => {}
            Event::Failed(error) => self.report(error),
            Event::Refused(namespace, error) => {
                // It is not tried again with this link, so that the other namespaces go on.
                self.namespaces.remove(&namespace);
                self.report(error);
            }
            Event::Ended(cause) => return Err(cause),
        }
        Ok(())
    }

    fn receive(&mut self, namespace: &Arc<str>, message: ClusterMessage, link: &mut L) {
        let (Some(node), Some(sender)) = (self.node.clone(), &message.sender) else { return };
        if sender == node.id() {
            return;
        }
        let reaction = self.shared.state.lock().heartbeat.received(namespace, sender, &message.command, now());
        if reaction.answer {
            self.send_or_owe(link, namespace, ClusterCommand::Heartbeat);
        }
        if reaction.left {
            node.peer_left(sender);
        }
        match message.command {
            ClusterCommand::Hello | ClusterCommand::Heartbeat | ClusterCommand::Goodbye => {}
            _ => node.deliver(message),
        }
    }

    fn tick(&mut self, link: &mut L) {
        let Some(node) = self.node.clone() else { return };
        if !node.is_alive() {
            return self.shared.close();
        }
        let due = self.shared.state.lock().heartbeat.tick(now());
        for namespace in &due.heartbeats {
            self.send_or_owe(link, namespace, ClusterCommand::Heartbeat);
        }
        due.left.iter().for_each(|peer| node.peer_left(peer));
    }

    /// Sends a hello or a heartbeat, or notes that it is to be sent when there is room: others decide how many they ask for.
    fn send_or_owe(&mut self, link: &mut L, namespace: &Arc<str>, command: ClusterCommand) {
        if link.has_room() {
            return self.send(link, namespace, command);
        }
        match command {
            ClusterCommand::Heartbeat => drop(self.owed.entry(namespace.clone()).or_insert(command)),
            _ => drop(self.owed.insert(namespace.clone(), command)),
        }
    }

    fn send_owed(&mut self, link: &mut L) {
        while link.has_room() {
            let Some(namespace) = self.owed.keys().next().cloned() else { return };
            if let Some(command) = self.owed.remove(&namespace) {
                self.send(link, &namespace, command);
            }
        }
    }

    /// Sends a message that keeps this node known.
    fn send(&self, link: &mut L, namespace: &Arc<str>, command: ClusterCommand) {
        let Some(node) = &self.node else { return };
        let message = ClusterMessage::new(node.id().clone(), namespace.clone(), command);
        if let Ok((frame, size)) = L::encode(&self.config, &message) {
            self.shared.state.lock().heartbeat.sent(namespace, now());
            link.send(frame, size, false);
        }
    }

    /// Sends what is queued, says goodbye, and waits until the broker has confirmed it.
    async fn finish(&self, link: &mut L) {
        let finished = async {
            let mut said_goodbye = false;
            loop {
                self.send_queued(link);
                if link.has_room() && !said_goodbye {
                    said_goodbye = true;
                    for namespace in self.namespaces.keys() {
                        self.send(link, namespace, ClusterCommand::Goodbye);
                    }
                }
                if said_goodbye && link.is_idle() {
                    return;
                }
                match poll_fn(|cx| link.poll_event(cx)).await {
                    Event::Ended(cause) => return self.report(cause),
                    Event::Failed(error) => self.report(error),
                    // What others send does not matter any more.
                    _ => {}
                }
            }
        };
        let _ = timeout(self.options.connect_timeout, finished).await;
        self.report_lost(link.unconfirmed());
    }

    /// Tries to connect until it succeeds, or the adapter is closed.
    async fn reconnect(&mut self, cause: ClusterError, unconfirmed: u64) -> Option<L> {
        self.shared.set_connected(false);
        self.has_missed |= self.node.is_some();
        let mut last = cause.kind();
        self.report(cause);
        self.report_lost(unconfirmed);
        if self.resumed.is_some_and(|resumed| now().duration_since(resumed) > STABLE) {
            self.backoff.reset();
        }
        self.resumed = None;
        loop {
            let delay = self.backoff.next();
            self.wait(delay).await?;
            match connect::<L>(&self.config, &self.options).await {
                Ok(link) => return Some(link),
                Err(error) if error.kind() == last => {}
                Err(error) => {
                    last = error.kind();
                    self.report(error);
                }
            }
        }
    }

    /// Waits. Returns `None` if the adapter is closed, or its server has been dropped.
    async fn wait(&self, delay: Duration) -> Option<()> {
        let mut delay = pin!(sleep(delay));
        loop {
            {
                let mut state = self.shared.state.lock();
                // A new link is subscribed to what exists then.
                state.take_changes();
                let is_dropped = state.node.as_ref().is_some_and(|node| !node.is_alive());
                if state.phase == Phase::Closing || is_dropped {
                    return None;
                }
            }
            let work = pin!(self.shared.driver.notified());
            if let Either::Left(_) = select(delay.as_mut(), work).await {
                return Some(());
            }
        }
    }

    /// Reports the messages that are lost with a link: those that it did not confirm, and those in the queue.
    fn report_lost(&self, unconfirmed: u64) {
        let count = unconfirmed + self.shared.state.lock().clear();
        if count > 0 {
            self.report(ClusterError::new(ClusterErrorKind::Lost { count }));
        }
    }

    fn report_kind(&self, kind: ClusterErrorKind, error: WireError) {
        self.report(ClusterError::new(kind).caused_by(error));
    }

    fn report(&self, error: ClusterError) {
        let node = self.shared.state.lock().node.clone();
        if let Some(node) = node {
            node.report(error);
        }
    }
}

impl<L: Link> Drop for Driver<L> {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state.lock();
            state.phase = Phase::Closed;
            state.clear();
        }
        self.shared.changed.notify_waiters();
    }
}
