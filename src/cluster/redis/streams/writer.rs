use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::cluster::{ClusterError, ClusterErrorKind, ClusterNode, Offset, backoff::Backoff};

use super::{
    super::{
        connection::{Connector, Session},
        queue::Queue,
        subscriber::Interruption,
    },
    commands::Addition,
    group::{Group, Outcome, read_tail},
    identity::{Identity, end_previous},
    pages::PageSize,
};

/// How many bytes of entries are sent at once.
const BATCH: usize = 512 << 10;

/// How long streams are not trimmed after a reconnection, so that nodes that return later find what was added meanwhile. The pauses
/// between their attempts are shorter.
const RETURN: Duration = Duration::from_secs(6);

/// How many entries are read at once at most, to find others among them.
const PAGE: usize = 1000;

/// Adds the messages of a queue to streams: each once and in order, also if a connection is lost before Redis has confirmed them.
pub(super) struct Writer {
    connector: Connector,
    queue: Arc<Queue<Addition>>,
    /// Set if the adapter is started.
    node: Arc<OnceLock<ClusterNode>>,
    max_len: usize,
    /// Distinguishes the entries of emitters, which all have the same sender.
    mark: String,
    /// A connection that was opened before the task.
    first: Option<Session>,
    /// `None` while entries are sent: if that is interrupted, the connection is replaced.
    session: Option<Session>,
    /// What was sent but not confirmed, one group for each stream.
    sent: Vec<Group>,
    /// The last entry of each stream, and when it was. Unconfirmed ones are after it.
    tails: HashMap<Arc<str>, (Offset, Instant)>,
    /// How many entries are read to find unconfirmed ones.
    pages: PageSize,
    /// The connections to all servers.
    identities: Vec<Identity>,
    untrimmed_until: Instant,
    next_check: Instant,
    backoff: Backoff,
    reported: Option<ClusterErrorKind>,
}

impl Writer {
    /// Creates a writer. `tails` are the last entries of all streams.
    pub(super) fn new(
        connector: Connector,
        session: Session,
        queue: Arc<Queue<Addition>>,
        node: Arc<OnceLock<ClusterNode>>,
        max_len: usize,
        tails: HashMap<Arc<str>, Offset>,
    ) -> Self {
        let now = Instant::now();
        Self {
            connector,
            queue,
            node,
            max_len,
            mark: format!("{:016x}", getrandom::u64().unwrap_or_default()),
            first: Some(session),
            session: None,
            sent: Vec::new(),
            tails: tails.into_iter().map(|(stream, tail)| (stream, (tail, now))).collect(),
            pages: PageSize::new(PAGE),
            identities: Vec::new(),
            untrimmed_until: now,
            next_check: now,
            backoff: Backoff::default(),
            reported: None,
        }
    }

    /// Runs until the adapter is closed or dropped. What is queued is sent after that, if it does not take longer than `limit`.
    pub(super) async fn run(mut self, mut closing: mpsc::Receiver<oneshot::Sender<()>>, limit: Duration) {
        let closed = tokio::select! {
            closed = closing.recv() => closed,
            () = self.carry(false) => None,
        };
        let _ = timeout(limit, self.carry(true)).await;
        let sent: usize = self.sent.iter().map(|group| group.additions.len()).sum();
        let lost = self.queue.close() + sent as u64;
        if lost > 0 {
            self.report(ClusterError::new(ClusterErrorKind::Lost { count: lost }));
        }
        if let Some(closed) = closed {
            let _ = closed.send(());
        }
    }

    /// Sends what is queued, and what is queued later unless it returns when the queue is empty. It can be interrupted and called
    /// again.
    async fn carry(&mut self, until_empty: bool) {
        while let Err(error) = self.serve(until_empty).await {
            self.session = None;
            // Without a connection nothing is lost, and the task for requests reports that.
            if error.kind() != ClusterErrorKind::Disconnected && self.reported != Some(error.kind()) {
                self.reported = Some(error.kind());
                self.report(error);
            }
            sleep(self.backoff.next()).await;
        }
    }

    async fn serve(&mut self, until_empty: bool) -> Result<(), ClusterError> {
        loop {
            if self.session.is_none() {
                let session = self.open().await?;
                self.session = Some(session);
            }
            if self.sent.is_empty() {
                self.sent = Group::collect(self.queue.take(BATCH));
            }
            if !self.sent.is_empty() {
                self.send().await?;
            } else if until_empty {
                return Ok(());
            } else {
                tokio::select! {
                    () = self.queue.ready() => {}
                    () = sleep_until(self.next_check) => self.check().await?,
                }
            }
        }
    }

    /// Connects, and finds out which of the unconfirmed entries have been added.
    async fn open(&mut self) -> Result<Session, ClusterError> {
        let session = match self.first.take() {
            Some(session) => session,
            None => {
                let session = self.connector.open().await?;
                self.untrimmed_until = Instant::now() + RETURN;
                session
            }
        };
        self.identities = end_previous(&self.identities, &session, &self.connector).await?;
        let mut index = 0;
        while let Some(group) = self.sent.get_mut(index) {
            if !group.is_sent {
                index += 1;
                continue;
            }
            let (tail, _) = self.tails.get(&group.stream).copied().unwrap_or((Offset::default(), Instant::now()));
            let mut connection = session.commands(&group.stream)?;
            let (mark, pages) = (&self.mark, &mut self.pages);
            match group.find(tail, self.max_len, mark, pages, &mut connection, &self.connector).await? {
                Outcome::NotAdded => group.is_sent = false,
                Outcome::Added(last) => {
                    let group = self.sent.remove(index);
                    self.tails.insert(group.stream, (last, Instant::now()));
                }
                Outcome::Unknown => {
                    let count = self.sent.remove(index).additions.len() as u64;
                    let cause = "it is unknown whether they were added to the stream, which was trimmed meanwhile";
                    self.report(ClusterError::new(ClusterErrorKind::Lost { count }).caused_by(cause));
                }
            }
        }
        Ok(session)
    }

    async fn send(&mut self) -> Result<(), ClusterError> {
        let Some(session) = self.session.take() else { return Ok(()) };
        self.renew_tails(&session).await?;
        let max_len = (Instant::now() >= self.untrimmed_until).then_some(self.max_len);
        let (mark, connector) = (&self.mark, &self.connector);
        let added = self.sent.iter_mut().map(|group| {
            let connection = session.commands(&group.stream);
            group.is_sent = connection.is_ok();
            let group = &*group;
            async move { group.add(max_len, mark, &mut connection?, connector).await }
        });
        let added = join_all(added).await;
        let mut failure = None;
        for (mut group, added) in std::mem::take(&mut self.sent).into_iter().zip(added) {
            match added {
                Ok(last) => drop(self.tails.insert(group.stream, (last, Instant::now()))),
                Err(error) => {
                    // What was rejected was not added.
                    group.is_sent &= error.kind() != ClusterErrorKind::Rejected;
                    failure = Some(error);
                    self.sent.push(group);
                }
            }
        }
        match failure {
            Some(error) => Err(error),
            None => {
                self.session = Some(session);
                self.succeed();
                Ok(())
            }
        }
    }

    /// Reads the last entries of streams for which they have not been known lately. The older they are, the less is known later about
    /// entries that are not confirmed.
    async fn renew_tails(&mut self, session: &Session) -> Result<(), ClusterError> {
        for group in &self.sent {
            let now = Instant::now();
            if self.tails.get(&group.stream).is_none_or(|(_, read)| now > *read + self.connector.reply_timeout) {
                let mut connection = session.commands(&group.stream)?;
                let tail = read_tail(&group.stream, &mut connection, &self.connector).await?;
                self.tails.insert(group.stream.clone(), (tail, now));
            }
        }
        Ok(())
    }

    /// Checks that the servers reply, and that they are still responsible.
    async fn check(&mut self) -> Result<(), ClusterError> {
        let Some(mut session) = self.session.take() else { return Ok(()) };
        session.check(&self.connector).await.map_err(Interruption::into_error)?;
        self.session = Some(session);
        self.succeed();
        Ok(())
    }

    fn succeed(&mut self) {
        self.next_check = Instant::now() + self.connector.reply_timeout;
        self.backoff.reset();
        self.reported = None;
    }

    fn report(&self, error: ClusterError) {
        if let Some(node) = self.node.get() {
            node.report(error);
        }
    }
}
