//! The TCP connections of [`SocketIoService::serve`](crate::SocketIoService::serve), with the times of their last activity.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

use crate::{
    engine::ConnectionTimeouts,
    util::{Mutex, MutexGuard},
};

/// A TCP connection that reports to its [`Activity`].
#[derive(Debug)]
pub(crate) struct ServedIo {
    io: TokioIo<TcpStream>,
    activity: Arc<Activity>,
}

/// What an HTTP connection waits for, and since when.
///
/// ```text
///   accepted ──▶ no request yet ──▶ request in progress ◀──▶ idle
///                                                    bytes arrive │ ▲
///                                                                 ▼ │ request begins
///                                                          head in progress
/// ```
#[derive(Debug)]
pub(crate) struct Activity {
    state: Mutex<ActivityState>,
    /// The task of the connection. Streams of HTTP/2 have other tasks.
    task: AtomicWaker,
}

#[derive(Debug)]
struct ActivityState {
    /// The number of requests in progress, and of HTTP/2 streams that have become WebSockets.
    in_use: usize,
    waiting: Waiting,
    since: Instant,
    /// The time since which the peer accepts no bytes.
    blocked: Option<Instant>,
    /// Over HTTP/2, bytes between two requests need not belong to a head.
    is_http2: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// For the head of a request, the first one included.
    Head,
    /// For another request.
    Request,
}

/// The time at which a silent connection is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// The connection is between two requests, so that it can be shut down gracefully.
    pub(crate) is_idle: bool,
}

/// Marks the connection as in use until dropped.
#[derive(Debug)]
pub(crate) struct InUse(Arc<Activity>);

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        let state =
            ActivityState { in_use: 0, waiting: Waiting::Head, since: Instant::now(), blocked: None, is_http2: false };
        Arc::new(Self { state: Mutex::new(state), task: AtomicWaker::new() })
    }

    fn state(&self) -> MutexGuard<'_, ActivityState> {
        self.state.lock()
    }

    /// Registers the task, which is woken when the connection is no longer in use.
    pub(crate) fn watch(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Records the beginning of a request.
    pub(crate) fn begin(self: &Arc<Self>, is_http2: bool) -> InUse {
        let mut state = self.state();
        state.in_use += 1;
        state.is_http2 = is_http2;
        InUse(self.clone())
    }

    /// Returns the time at which the connection is closed if nothing happens before, or `None` if it is in use.
    pub(crate) fn deadline(&self, timeouts: &ConnectionTimeouts) -> Option<Deadline> {
        let state = self.state();
        match (state.blocked, state.waiting) {
            (Some(since), _) => Some(Deadline { at: since + timeouts.write, is_idle: false }),
            _ if state.in_use > 0 => None,
            (None, Waiting::Head) => Some(Deadline { at: state.since + timeouts.header, is_idle: false }),
            (None, Waiting::Request) => Some(Deadline { at: state.since + timeouts.idle, is_idle: true }),
        }
    }

    fn read(&self) {
        let mut state = self.state();
        if state.in_use == 0 && state.waiting == Waiting::Request && !state.is_http2 {
            state.waiting = Waiting::Head;
            state.since = Instant::now();
        }
    }

    fn wrote<T>(&self, result: Poll<T>) -> Poll<T> {
        let mut state = self.state();
        match result {
            Poll::Ready(_) => state.blocked = None,
            Poll::Pending if state.blocked.is_none() => state.blocked = Some(Instant::now()),
            Poll::Pending => {}
        }
        drop(state);
        result
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_use -= 1;
        if state.in_use == 0 {
            state.waiting = Waiting::Request;
            state.since = Instant::now();
            drop(state);
            self.0.task.wake();
        }
    }
}

impl ServedIo {
    pub(crate) fn new(tcp: TcpStream, activity: Arc<Activity>) -> Self {
        Self { io: TokioIo::new(tcp), activity }
    }

    pub(super) fn into_tcp(self) -> TcpStream {
        self.io.into_inner()
    }
}

impl Read for ServedIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if read.is_ready() {
            self.activity.read();
        }
        read
    }
}

impl Write for ServedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.activity.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, buffers);
        self.activity.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIMEOUTS: ConnectionTimeouts = ConnectionTimeouts {
        header: Duration::from_secs(1),
        idle: Duration::from_secs(10),
        write: Duration::from_secs(100),
    };

    /// Returns the seconds that are left.
    fn left(activity: &Activity) -> Option<u64> {
        activity.deadline(&TIMEOUTS).map(|deadline| (deadline.at - Instant::now()).as_secs())
    }

    async fn second() {
        tokio::time::advance(Duration::from_secs(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_timeout_depends_on_what_the_connection_waits_for() {
        let activity = Activity::new();
        activity.read();
        assert_eq!(left(&activity), Some(1));
        let first = activity.begin(false);
        activity.read();
        let second_request = activity.begin(false);
        second().await;
        assert_eq!(left(&activity), None);
        drop(first);
        assert_eq!(left(&activity), None);
        drop(second_request);
        assert_eq!(left(&activity), Some(10));
        second().await;
        assert_eq!(left(&activity), Some(9));
        // The timeout for a head begins with its first byte, and is not restarted by the others.
        activity.read();
        assert_eq!(left(&activity), Some(1));
        second().await;
        activity.read();
        assert_eq!(left(&activity), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_write_timeout_begins_with_the_last_byte_that_was_written() {
        let activity = Activity::new();
        let _request = activity.begin(false);
        assert!(activity.wrote(Poll::<()>::Pending).is_pending());
        second().await;
        assert!(activity.wrote(Poll::<()>::Pending).is_pending());
        assert_eq!(left(&activity), Some(99));
        assert!(activity.wrote(Poll::Ready(())).is_ready());
        assert_eq!(left(&activity), None);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_between_two_requests_of_http_2_are_not_a_head() {
        let activity = Activity::new();
        drop(activity.begin(true));
        second().await;
        activity.read();
        assert_eq!(left(&activity), Some(9));
    }
}
