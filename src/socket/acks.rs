use std::{
    collections::HashMap,
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    mem::take,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use crate::{
    packet::Encoded,
    room::SocketId,
    server::{AckData, EmitError, Request, Socket, Waiter},
};

use super::{
    deadline::Deadline,
    error::AckError,
    remote_acks::{RemoteAcks, read_answer},
};

/// An entry in a socket's table, removed when dropped.
#[derive(Debug)]
struct Entry {
    socket: Arc<Socket>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        drop(self.socket.acks.remove(self.id));
    }
}

/// The future of an ack. Created by [`SocketRef::emit_with_ack`](super::SocketRef::emit_with_ack).
///
/// The event has already been emitted. If the future is dropped, the ack is ignored.
///
/// # Cancel safety
///
/// It can be polled by reference in a `select!`. If it is dropped, the ack is lost.
///
/// ```
/// use tower_socketio::{AckError, SocketRef};
///
/// async fn ask(socket: &SocketRef) -> Result<String, AckError> {
///     socket.emit_with_ack("what is your name?", &()).await
/// }
/// # let _ = ask;
/// ```
#[must_use = "the event is emitted, but its ack is lost unless this is awaited"]
pub struct AckFuture<T> {
    failed: Option<AckError>,
    waiting: Option<Waiting>,
    deadline: Deadline,
    marker: PhantomData<fn() -> T>,
}

#[derive(Debug)]
enum Waiting {
    Local(oneshot::Receiver<AckData>, Entry),
    /// For a socket of another node.
    Remote(Box<RemoteAcks>),
}

impl<T> AckFuture<T> {
    pub(super) fn failed(error: AckError) -> Self {
        Self { failed: Some(error), waiting: None, deadline: Deadline::never(), marker: PhantomData }
    }

    /// Emits an event that was encoded with `id`, and waits for its ack.
    pub(super) fn emit(socket: &Arc<Socket>, id: u64, packet: Encoded, volatile: bool, timeout: Duration) -> Self {
        let (sender, receiver) = oneshot::channel();
        if !socket.acks.insert(id, Waiter::One(sender)) {
            return Self::failed(AckError::disconnected());
        }
        let entry = Entry { socket: socket.clone(), id };
        socket.observe(&packet);
        if let Err(error) = socket.deliver_owned(packet, volatile) {
            return Self::failed(AckError::emit(EmitError::from(error)));
        }
        Self::new(Waiting::Local(receiver, entry), timeout)
    }

    /// Waits for the ack of a socket of another node, which the request has asked for.
    pub(super) fn remote(request: Request, timeout: Duration) -> Self {
        Self::new(Waiting::Remote(Box::new(RemoteAcks::new(request))), timeout)
    }

    fn new(waiting: Waiting, timeout: Duration) -> Self {
        Self { failed: None, waiting: Some(waiting), deadline: Deadline::after(timeout), marker: PhantomData }
    }
}

impl<T: DeserializeOwned + Send + 'static> Future for AckFuture<T> {
    type Output = Result<T, AckError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Err(error));
        }
        let result = match this.waiting.as_mut().expect("polled after completion") {
            Waiting::Local(receiver, entry) => match Pin::new(receiver).poll(cx) {
                Poll::Ready(Ok(data)) => data.read().map_err(AckError::decode),
                Poll::Ready(Err(_)) => Err(AckError::disconnected()),
                Poll::Pending => {
                    ready!(this.deadline.poll(&entry.socket, cx));
                    Err(if entry.socket.is_admitting() { AckError::not_accepted() } else { AckError::timeout() })
                }
            },
            Waiting::Remote(acks) => match ready!(acks.poll_next(&mut this.deadline, cx)) {
                Some((_, answer)) => answer.and_then(|answer| read_answer(answer.as_ref()).map_err(AckError::decode)),
                // No node has the socket.
                None => Err(AckError::disconnected()),
            },
        };
        this.waiting = None;
        Poll::Ready(result)
    }
}

impl<T> fmt::Debug for AckFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckFuture").field("waiting", &self.waiting.is_some()).finish_non_exhaustive()
    }
}

/// The stream of a broadcast's acks, in the order of arrival. Created by
/// [`BroadcastOperator::emit_with_ack`](super::BroadcastOperator::emit_with_ack).
///
/// It yields one item for each recipient: the ack, or an error. After the timeout it yields a timeout error for each recipient
/// without an ack, and ends. If the stream is dropped, further acks are ignored.
///
/// Awaiting the stream waits for all of them:
///
/// ```
/// # async fn doc(io: tower_socketio::SocketIo) -> Result<(), tower_socketio::EmitError> {
/// let responses = io.emit_with_ack::<u32>("how many?", &())?.await;
/// let sum: u32 = responses.answers.iter().map(|(_, number)| number).sum();
/// # Ok(())
/// # }
/// ```
#[must_use = "the event is emitted, but its acks are lost unless the stream is read"]
pub struct AckStream<T> {
    receiver: mpsc::UnboundedReceiver<(SocketId, Option<AckData>)>,
    waiting: HashMap<SocketId, Entry>,
    /// The acks of other nodes.
    remote: Option<Box<RemoteAcks>>,
    deadline: Deadline,
    marker: PhantomData<fn() -> T>,
}

impl<T> AckStream<T> {
    /// Emits an event that was encoded with `id` to each recipient, and waits for their acks.
    pub(super) fn emit<'a>(
        recipients: impl Iterator<Item = &'a Arc<Socket>>,
        id: u64,
        packet: &Encoded,
        timeout: Duration,
    ) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut waiting = HashMap::new();
        for socket in recipients.filter(|socket| socket.is_connected()) {
            let waiter = Waiter::Many(socket.id.clone(), sender.clone());
            if socket.acks.insert(id, waiter) {
                let entry = Entry { socket: socket.clone(), id };
                socket.observe(packet);
                if socket.deliver(packet, false).is_err() {
                    drop(sender.send((socket.id.clone(), None)));
                }
                waiting.insert(socket.id.clone(), entry);
            }
        }
        Self { receiver, waiting, remote: None, deadline: Deadline::after(timeout), marker: PhantomData }
    }

    /// Adds the acks of other nodes, which the request has asked for.
    pub(super) fn with_remote(mut self, request: Option<Request>) -> Self {
        self.remote = request.map(|request| Box::new(RemoteAcks::new(request)));
        self
    }

    /// Returns the number of recipients that have not been yielded. Those of other nodes are included when their number is known.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.waiting.len() + self.remote.as_ref().map_or(0, |remote| remote.remaining())
    }

    /// Returns the next ack of a socket of this node, or `None` if each has been returned.
    pub(crate) fn poll_local(&mut self, cx: &mut Context<'_>) -> Poll<Option<(SocketId, Result<AckData, AckError>)>> {
        while !self.waiting.is_empty()
            && let Poll::Ready(Some((socket, data))) = self.receiver.poll_recv(cx)
        {
            // A client that was disconnected during the broadcast may be reported twice.
            if self.waiting.remove(&socket).is_some() {
                return Poll::Ready(Some((socket, data.ok_or_else(AckError::disconnected))));
            }
        }
        let Some((late, entry)) = self.waiting.iter().next() else {
            return Poll::Ready(None);
        };
        ready!(self.deadline.poll(&entry.socket, cx));
        let late = late.clone();
        self.waiting.remove(&late);
        Poll::Ready(Some((late, Err(AckError::timeout()))))
    }
}

impl<T: DeserializeOwned + Send + 'static> AckStream<T> {
    /// Waits for all acks or the timeout. Awaiting the stream does the same.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the acks that have arrived are lost.
    pub fn responses(self) -> AckResponsesFuture<T> {
        AckResponsesFuture { stream: self, responses: AckResponses { answers: Vec::new(), missing: Vec::new() } }
    }
}

impl<T: DeserializeOwned + Send + 'static> IntoFuture for AckStream<T> {
    type Output = AckResponses<T>;
    type IntoFuture = AckResponsesFuture<T>;

    fn into_future(self) -> AckResponsesFuture<T> {
        self.responses()
    }
}

/// Waits for the acks of all recipients. Created by awaiting an [`AckStream`], or by [`AckStream::responses`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct AckResponsesFuture<T> {
    stream: AckStream<T>,
    responses: AckResponses<T>,
}

/// Nothing in it is pinned.
impl<T> Unpin for AckResponsesFuture<T> {}

impl<T: DeserializeOwned + Send + 'static> Future for AckResponsesFuture<T> {
    type Output = AckResponses<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AckResponses<T>> {
        let Self { stream, responses } = self.get_mut();
        while let Some((source, answer)) = ready!(Pin::new(&mut *stream).poll_next(cx)) {
            match answer {
                Ok(answer) => responses.answers.push((source, answer)),
                Err(error) => responses.missing.push((source, error)),
            }
        }
        Poll::Ready(AckResponses { answers: take(&mut responses.answers), missing: take(&mut responses.missing) })
    }
}

impl<T> fmt::Debug for AckResponsesFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckResponsesFuture").field("remaining", &self.stream.remaining()).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned + Send + 'static> Stream for AckStream<T> {
    type Item = (AckSource, Result<T, AckError>);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let local = this.poll_local(cx);
        if let Poll::Ready(Some((socket, data))) = local {
            let answer = data.and_then(|data| data.read().map_err(AckError::decode));
            return Poll::Ready(Some((AckSource::Local(socket), answer)));
        }
        let Some(remote) = &mut this.remote else {
            return local.map(|_| None);
        };
        match remote.poll_next(&mut this.deadline, cx) {
            Poll::Ready(Some((node, answer))) => {
                let answer = answer.and_then(|answer| read_answer(answer.as_ref()).map_err(AckError::decode));
                Poll::Ready(Some((AckSource::Remote { node }, answer)))
            }
            Poll::Ready(None) => {
                // Ends the request.
                this.remote = None;
                local.map(|_| None)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> fmt::Debug for AckStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckStream").field("remaining", &self.waiting.len()).finish_non_exhaustive()
    }
}

/// The acks of a broadcast. Returned by [`AckStream::responses`].
#[derive(Debug)]
#[non_exhaustive]
pub struct AckResponses<T> {
    /// The acks with their sockets, in the order of arrival.
    pub answers: Vec<(AckSource, T)>,
    /// The sockets without an ack, with the reason.
    pub missing: Vec<(AckSource, AckError)>,
}

/// A recipient of a broadcast that requested acks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AckSource {
    /// A socket of this node.
    Local(SocketId),
    /// A socket of another node of the cluster. Nodes send the acks of their sockets without the ids of the sockets.
    #[non_exhaustive]
    Remote {
        /// The id of the node. `None` if the adapter does not know it.
        node: Option<Arc<str>>,
    },
}

impl AckSource {
    /// Returns the id of a socket of this node.
    #[must_use]
    pub fn socket_id(&self) -> Option<&SocketId> {
        match self {
            Self::Local(id) => Some(id),
            Self::Remote { .. } => None,
        }
    }
}
