//! A TCP connection of our own HTTP server, which knows when it was last of use.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, MutexGuard};
use tokio::{net::TcpStream, time::Instant};

use crate::engine::ConnectionTimeouts;

/// A TCP connection that tells its [`Activity`] what it does.
#[derive(Debug)]
pub(crate) struct ServedIo {
    io: TokioIo<TcpStream>,
    activity: Arc<Activity>,
}

/// What a connection is waiting for, and since when.
///
/// ```text
///   accepted ──▶ no request yet ──▶ request under way ◀──▶ idle
///                                                    bytes arrive │ ▲
///                                                                 ▼ │ a request begins
///                                                           head under way
/// ```
#[derive(Debug)]
pub(crate) struct Activity {
    state: Mutex<State>,
    /// The task of the connection, which streams of HTTP/2 do not share.
    task: AtomicWaker,
}

#[derive(Debug)]
struct State {
    /// Requests that are being answered, and streams of HTTP/2 that have become WebSockets.
    in_use: usize,
    waiting: Waiting,
    since: Instant,
    /// Since when the peer has taken nothing of what is to be written.
    blocked: Option<Instant>,
    /// Over HTTP/2, bytes that arrive between two requests need not belong to a head.
    is_http2: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// For the head of a request, the first one included.
    Head,
    /// For another request.
    Request,
}

/// When a connection has been silent for too long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// It is between two requests, so that it can be closed in order.
    pub(crate) is_idle: bool,
}

/// Something that a connection is needed for, as long as this exists.
#[derive(Debug)]
pub(crate) struct InUse(Arc<Activity>);

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        let state = State { in_use: 0, waiting: Waiting::Head, since: Instant::now(), blocked: None, is_http2: false };
        Arc::new(Self { state: Mutex::new(state), task: AtomicWaker::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Wakes the task when the connection is not in use any more.
    pub(crate) fn watch(&self, task: &Waker) {
        self.task.register(task);
    }

    /// A request begins.
    pub(crate) fn begin(self: &Arc<Self>, is_http2: bool) -> InUse {
        let mut state = self.state();
        state.in_use += 1;
        state.is_http2 = is_http2;
        InUse(self.clone())
    }

    /// When the connection is to be closed if nothing happens until then. `None`: it is in use.
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

    /// How many seconds are left.
    fn left(activity: &Activity) -> Option<u64> {
        activity.deadline(&TIMEOUTS).map(|deadline| (deadline.at - Instant::now()).as_secs())
    }

    async fn second() {
        tokio::time::advance(Duration::from_secs(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_waited_for_by_what_it_is_at() {
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
        // The time for a head begins with its first byte, and does not begin again with the others.
        activity.read();
        assert_eq!(left(&activity), Some(1));
        second().await;
        activity.read();
        assert_eq!(left(&activity), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_written_counts_from_the_last_byte_that_could() {
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
    async fn between_two_requests_of_http_2_no_head_begins() {
        let activity = Activity::new();
        drop(activity.begin(true));
        second().await;
        activity.read();
        assert_eq!(left(&activity), Some(9));
    }
}
