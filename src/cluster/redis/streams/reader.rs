use std::{convert::Infallible, sync::Arc, time::Duration};

use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{ClusterError, ClusterErrorKind, ClusterNode, Offset, backoff::Backoff};

use super::{
    super::{
        connection::Connector,
        error::{into_error, timed_out},
        subscriber::Interruption,
    },
    commands::{self, Recorded, State},
    pages::PageSize,
};

/// After this time, a connection is considered stable: if it is lost, the next attempt follows soon.
const STABLE: Duration = Duration::from_secs(5);

/// Reads a stream, and passes its messages to the node.
pub(super) struct Reader {
    pub(super) connector: Connector,
    pub(super) node: ClusterNode,
    pub(super) stream: Arc<str>,
    /// The last entry that was read.
    pub(super) position: Offset,
    pub(super) pages: PageSize,
    pub(super) block_time: Duration,
    /// Whether the last reply did not arrive in time.
    pub(super) is_late: bool,
}

impl Reader {
    /// Reads until the task is aborted.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut reported = None;
        while self.node.is_alive() {
            let opened = Instant::now();
            let Err(error) = self.serve().await;
            if opened.elapsed() > STABLE {
                backoff.reset();
                reported = None;
            }
            // Without a connection nothing is lost yet, and others report that.
            if error.kind() != ClusterErrorKind::Disconnected && reported != Some(error.kind()) {
                reported = Some(error.kind());
                self.node.report(error);
            }
            sleep(backoff.next()).await;
        }
    }

    async fn serve(&mut self) -> Result<Infallible, ClusterError> {
        let mut session = self.connector.open().await?;
        let mut connection = session.commands(&self.stream)?;
        self.find_gap(&mut connection, true).await?;
        loop {
            let entries = self.read(&mut connection).await?;
            let may_have_more = self.pages.adapt(&entries);
            if entries.is_empty() {
                session.check(&self.connector).await.map_err(Interruption::into_error)?;
            }
            // If there is nothing to read, the stream may have been deleted. If there is much, it may have been trimmed too far before
            // these entries were read.
            if entries.is_empty() || may_have_more {
                self.find_gap(&mut connection, false).await?;
            }
            for entry in entries {
                // An entry that cannot be handled is not read again.
                self.position = entry.offset;
                self.handle(&entry);
            }
        }
    }

    async fn read(&mut self, connection: &mut MultiplexedConnection) -> Result<Vec<Recorded>, ClusterError> {
        let command = commands::read(&self.stream, self.position, self.pages.count(), self.block_time);
        let limit = self.block_time + self.connector.reply_timeout;
        let Ok(reply) = timeout(limit, connection.send_packed_command(&command)).await else {
            self.pages.halve();
            if !std::mem::replace(&mut self.is_late, true) {
                let cause = "the entries of a stream did not arrive in time";
                self.node.report(ClusterError::new(ClusterErrorKind::Disconnected).caused_by(cause));
            }
            return Err(into_error(timed_out()));
        };
        self.is_late = false;
        commands::read_entries(reply.map_err(into_error)?)
    }

    /// Reports if entries after the position were removed before they were read, and goes on after the gap.
    async fn find_gap(
        &mut self,
        connection: &mut MultiplexedConnection,
        is_reopened: bool,
    ) -> Result<(), ClusterError> {
        if self.position == Offset::default() {
            return Ok(());
        }
        let info = commands::info(&self.stream);
        let reply = self.connector.reply(connection.send_packed_command(&info)).await?;
        let cause = match commands::state(reply)? {
            Some(State { first, last }) if last >= self.position => {
                if first.is_some_and(|first| first <= self.position) || last == self.position {
                    return Ok(());
                }
                self.position = first.map_or(last, |_| self.position);
                "entries of a stream were removed before they were read"
            }
            // The server has started with older data, or was a replica that had not received everything. What is left was read before.
            Some(State { last, .. }) if is_reopened => {
                self.position = last;
                "a stream has lost its newest entries"
            }
            // The ids of its entries may be smaller than the position.
            _ => {
                self.position = Offset::default();
                "a stream was deleted"
            }
        };
        self.node.report(ClusterError::new(ClusterErrorKind::Missed).caused_by(cause));
        Ok(())
    }

    fn handle(&self, entry: &Recorded) {
        if entry.is_from(self.node.id()) && !self.node.uses_journal() {
            return;
        }
        match entry.message() {
            Ok(message) => self.node.deliver_recorded(message, entry.offset),
            Err(error) => self.node.report(ClusterError::new(ClusterErrorKind::Malformed).caused_by(error)),
        }
    }
}
