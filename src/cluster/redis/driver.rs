//! The task behind an adapter: keeps a session open, and carries messages and questions to it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::cluster::{ClusterError, ClusterErrorKind, ClusterNode, backoff::Backoff};

use super::{
    connection::{Connector, Session},
    exchange::Exchange,
    hints::Hints,
    queue::Queue,
    receiver::Receiver,
    returning::Returning,
    subscriber::Interruption,
    subscriptions::Change,
};

/// How many bytes of messages are sent at once.
const BATCH: usize = 512 << 10;

/// After this time, a connection is considered stable: if it is lost, the next attempt follows soon.
const STABLE: Duration = Duration::from_secs(5);

/// How many namespaces the nodes are awaited in.
const COUNTED: usize = 100;

/// What an adapter asks of its driver.
pub(super) enum Event {
    Start(Arc<Receiver>),
    /// Report failures to this node.
    ReportTo(ClusterNode),
    /// There are hints.
    Changed,
    /// How many other nodes have a namespace, by the subscriptions to this channel?
    Count(Question),
    /// Send what is queued, and end.
    Close(oneshot::Sender<()>),
}

pub(super) struct Question {
    pub(super) namespace: Arc<str>,
    pub(super) channel: Arc<str>,
    pub(super) answer: oneshot::Sender<Result<usize, ClusterError>>,
}

pub(super) struct Driver {
    connector: Connector,
    sharded: bool,
    queue: Arc<Queue>,
    hints: Arc<Hints>,
    events: mpsc::UnboundedReceiver<Event>,
    receiver: Option<Arc<Receiver>>,
    /// Where failures are reported, if the adapter is not started.
    observer: Option<ClusterNode>,
    questions: Vec<Question>,
    returning: Returning,
}

/// Why a session ended.
enum End {
    Closed,
    Interrupted(Interruption),
}

impl<T: Into<Interruption>> From<T> for End {
    fn from(interruption: T) -> Self {
        Self::Interrupted(interruption.into())
    }
}

impl Driver {
    pub(super) fn new(
        connector: Connector,
        sharded: bool,
        queue: Arc<Queue>,
        hints: Arc<Hints>,
        events: mpsc::UnboundedReceiver<Event>,
    ) -> Self {
        Self {
            connector,
            sharded,
            queue,
            hints,
            events,
            receiver: None,
            observer: None,
            questions: Vec::new(),
            returning: Returning::default(),
        }
    }

    pub(super) async fn run(mut self, mut session: Session) {
        let mut backoff = Backoff::default();
        loop {
            let opened = Instant::now();
            let Err(end) = self.serve(&mut session).await;
            drop(session);
            if opened.elapsed() > STABLE {
                backoff.reset();
            }
            let mut reported = Vec::new();
            match end {
                End::Closed => break,
                End::Interrupted(Interruption::Failed(cause)) => {
                    reported.push(cause.kind());
                    self.lose(cause);
                }
                // Messages wait for the next session.
                End::Interrupted(Interruption::Moved) => {}
            }
            match self.reopen(&mut backoff, reported).await {
                Some(reopened) => session = reopened,
                None => break,
            }
        }
        self.report_lost(self.queue.close(), None);
    }

    /// Carries messages and questions until the session fails.
    async fn serve(&mut self, session: &mut Session) -> Result<std::convert::Infallible, End> {
        self.renew(session).await?;
        self.queue.open();
        let interval = self.connector.reply_timeout;
        let mut next_check = Instant::now();
        loop {
            let recount = self.returning.next_count();
            tokio::select! {
                biased;
                interruption = session.interrupted() => return Err(interruption.into()),
                () = sleep_until(next_check) => {
                    session.check(&self.connector).await?;
                    self.observe(session).await?;
                    next_check = Instant::now() + interval;
                }
                event = self.events.recv() => self.handle(event, session).await?,
                () = sleep_until(recount.unwrap_or(next_check)), if recount.is_some() => self.recount(session).await?,
                () = self.queue.ready(), if recount.is_none() => {}
            }
            // What a message needs is done before it is sent, such as subscribing to the channel of a response.
            while let Ok(event) = self.events.try_recv() {
                self.handle(Some(event), session).await?;
            }
            self.exchange(session).await?;
        }
    }

    async fn handle(&mut self, event: Option<Event>, session: &mut Session) -> Result<(), End> {
        match event {
            Some(Event::Start(receiver)) => {
                self.receiver = Some(receiver);
                self.renew(session).await?;
            }
            Some(Event::ReportTo(observer)) => self.observer = Some(observer),
            Some(Event::Changed) => self.converge(session).await?,
            Some(Event::Count(question)) => self.questions.push(question),
            Some(Event::Close(closed)) => {
                self.flush(session).await;
                let _ = closed.send(());
                return Err(End::Closed);
            }
            // The adapter was dropped.
            None => {
                self.flush(session).await;
                return Err(End::Closed);
            }
        }
        Ok(())
    }

    async fn converge(&mut self, session: &mut Session) -> Result<(), Interruption> {
        let Some(receiver) = &self.receiver else { return Ok(()) };
        let changes = receiver.converge(self.hints.take());
        self.apply(&changes, session).await
    }

    async fn renew(&mut self, session: &mut Session) -> Result<(), Interruption> {
        let Some(receiver) = &self.receiver else { return Ok(()) };
        let changes = receiver.renew();
        self.apply(&changes, session).await
    }

    async fn apply(&self, changes: &[Change], session: &mut Session) -> Result<(), Interruption> {
        match &self.receiver {
            Some(receiver) => session.apply(changes, receiver, &self.connector).await,
            None => Ok(()),
        }
    }

    /// Sends questions and messages, and takes the replies.
    async fn exchange(&mut self, session: &mut Session) -> Result<(), End> {
        let publications = match self.returning.next_count() {
            None => self.queue.take(BATCH),
            // A node that has asked has returned.
            Some(_) => self.queue.take_those(|publication| publication.is_answer),
        };
        let questions = std::mem::take(&mut self.questions);
        if questions.is_empty() && publications.is_empty() {
            return Ok(());
        }
        let channels: Vec<_> = questions.iter().map(|question| question.channel.clone()).collect();
        let exchange = session.exchange(self.sharded, &channels, publications, &self.connector).await;
        let is_complete = exchange.failure.is_none();
        let failure =
            if exchange.uncounted.is_some() { ClusterErrorKind::Rejected } else { ClusterErrorKind::Disconnected };
        for (Question { namespace, channel, answer }, count) in questions.into_iter().zip(&exchange.counts) {
            let has_namespace = self.has_namespace(&namespace);
            let count = count.filter(|_| is_complete);
            let others = count.map(|count| count.saturating_sub(has_namespace.into()));
            let _ = answer.send(others.ok_or_else(|| ClusterError::new(failure)));
            if let Some(count) = count.filter(|_| has_namespace) {
                self.returning.see(channel, count);
            }
        }
        self.settle(exchange)
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        self.receiver.as_ref().is_some_and(|receiver| receiver.has_namespace(namespace))
    }

    /// Reports what an exchange lost.
    fn settle(&self, Exchange { redirected, absent, lost, refusal, failure, .. }: Exchange) -> Result<(), End> {
        if let Some(receiver) = &self.receiver {
            absent.iter().for_each(|node| receiver.node.peer_left(node));
        }
        let moved = !redirected.is_empty();
        self.queue.put_back(redirected);
        self.report_lost(lost, refusal.map(Into::into));
        match failure {
            Some(failure) => Err(failure.into()),
            None if moved => Err(Interruption::Moved.into()),
            None => Ok(()),
        }
    }

    /// Counts the nodes, to know later which must return.
    async fn observe(&mut self, session: &mut Session) -> Result<(), End> {
        let (channels, counts) = self.count(session).await?;
        self.returning.keep(&channels);
        counts.into_iter().for_each(|(channel, nodes)| self.returning.see(channel, nodes));
        Ok(())
    }

    /// Lets messages go if the other nodes have returned.
    async fn recount(&mut self, session: &mut Session) -> Result<(), End> {
        let (channels, counts) = self.count(session).await?;
        self.returning.keep(&channels);
        self.returning.count(Instant::now(), &counts);
        Ok(())
    }

    /// Returns the channels that are counted, and the counts that are known.
    async fn count(&mut self, session: &mut Session) -> Result<(Vec<Arc<str>>, Vec<(Arc<str>, usize)>), End> {
        let channels = self.receiver.as_ref().map(|receiver| receiver.counting(COUNTED)).unwrap_or_default();
        let mut exchange = session.exchange(self.sharded, &channels, Vec::new(), &self.connector).await;
        let counts = channels.iter().cloned().zip(std::mem::take(&mut exchange.counts));
        let counts = counts.filter_map(|(channel, count)| Some((channel, count?))).collect();
        self.settle(exchange)?;
        Ok((channels, counts))
    }

    /// Sends all that is queued, if it does not take too long.
    async fn flush(&mut self, session: &mut Session) {
        self.returning.end();
        // Each exchange ends by itself, so that what it sends is counted.
        let end = Instant::now() + self.connector.reply_timeout;
        while self.queue.has_messages() && Instant::now() < end {
            if self.exchange(session).await.is_err() {
                break;
            }
        }
    }

    /// Refuses messages from now on, and reports what was lost.
    fn lose(&mut self, cause: ClusterError) {
        let lost = self.queue.close();
        self.report(cause);
        self.report_lost(lost, None);
    }

    fn report_lost(&self, count: u64, cause: Option<redis::RedisError>) {
        if count > 0 {
            let error = ClusterError::new(ClusterErrorKind::Lost { count });
            self.report(match cause {
                Some(cause) => error.caused_by(cause),
                None => error,
            });
        }
    }

    fn report(&self, error: ClusterError) {
        if let Some(node) = self.receiver.as_ref().map(|receiver| &receiver.node).or(self.observer.as_ref()) {
            node.report(error);
        }
    }

    /// Opens the next session. Reports each kind of failure once. Returns `None` if the adapter is closed meanwhile.
    async fn reopen(&mut self, backoff: &mut Backoff, mut reported: Vec<ClusterErrorKind>) -> Option<Session> {
        loop {
            let next = Instant::now() + backoff.next();
            while let Ok(event) = tokio::time::timeout_at(next, self.events.recv()).await {
                self.handle_disconnected(event)?;
            }
            match self.open().await? {
                Ok(session) => {
                    self.returning.reconnected(Instant::now());
                    return Some(session);
                }
                Err(error) => {
                    let lost = self.queue.close();
                    if !reported.contains(&error.kind()) {
                        reported.push(error.kind());
                        self.report(error);
                    }
                    self.report_lost(lost, None);
                }
            }
        }
    }

    /// Connects, and answers questions meanwhile. Returns `None` if the adapter is closed.
    async fn open(&mut self) -> Option<Result<Session, ClusterError>> {
        let mut connector = self.connector.clone();
        let opening = async move {
            let opened = connector.open().await;
            (connector, opened)
        };
        let mut opening = std::pin::pin!(opening);
        loop {
            tokio::select! {
                (connector, opened) = &mut opening => {
                    self.connector = connector;
                    return Some(opened);
                }
                event = self.events.recv() => self.handle_disconnected(event)?,
            }
        }
    }

    fn handle_disconnected(&mut self, event: Option<Event>) -> Option<()> {
        match event {
            Some(Event::Start(receiver)) => self.receiver = Some(receiver),
            Some(Event::ReportTo(observer)) => self.observer = Some(observer),
            Some(Event::Changed) => {
                let hints = self.hints.take();
                if let Some(receiver) = &self.receiver {
                    receiver.converge(hints);
                }
            }
            Some(Event::Count(question)) => {
                let _ = question.answer.send(Err(ClusterError::new(ClusterErrorKind::Disconnected)));
            }
            Some(Event::Close(closed)) => {
                let _ = closed.send(());
                return None;
            }
            None => return None,
        }
        Some(())
    }
}
