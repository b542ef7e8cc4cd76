use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::timeout;

use super::{
    TestError,
    incoming::{Incoming, IncomingKind, contains, take},
    wire::Wire,
};

/// A future that waits for the server's ack. Returned by [`TestClient::emit_with_ack`](super::TestClient::emit_with_ack).
///
/// The event has already been emitted. The future does not borrow from the client, so several can be awaited concurrently.
#[must_use = "the event has been emitted, but its ack is lost unless this is awaited"]
pub struct TestAck<R> {
    answer: Pin<Box<dyn Future<Output = Result<Incoming, TestError>> + Send>>,
    /// Whether an answer of the form of an `EventError` is an error even if it matches `R`.
    errors_first: bool,
    marker: PhantomData<fn() -> R>,
}

impl<R> TestAck<R> {
    /// `what` names the ack in the error of a timeout.
    pub(super) fn new(wire: Arc<Wire>, namespace: String, id: u64, limit: Duration, what: String) -> Self {
        let answer = Box::pin(async move {
            let is_ack = |message: &Incoming| {
                message.kind == IncomingKind::Ack && message.id == Some(id) && message.namespace == namespace
            };
            let is_end =
                |message: &Incoming| message.kind == IncomingKind::Disconnect && message.namespace == namespace;
            let ack = wire.take(|queue, closed| match take(queue, is_ack) {
                Some(ack) => Some(Some(ack)),
                None => (closed || contains(queue, is_end)).then_some(None),
            });
            timeout(limit, ack).await.map_err(|_| TestError::timeout(what))?.ok_or_else(TestError::closed)
        });
        Self { answer, errors_first: size_of::<R>() == 0, marker: PhantomData }
    }

    /// Reads an answer of the form of an `EventError` as an error, even if it matches `R`.
    #[cfg(feature = "typed")]
    pub(super) fn errors_first(self) -> Self {
        Self { errors_first: true, ..self }
    }
}

impl<R: DeserializeOwned + Send + 'static> Future for TestAck<R> {
    type Output = Result<R, TestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ack = ready!(self.answer.as_mut().poll(cx))?;
        let answered = match event_error(&ack) {
            Some(error) if self.errors_first => return Poll::Ready(Err(error)),
            error => error,
        };
        Poll::Ready(ack.args().map_err(|error| answered.unwrap_or_else(|| TestError::mismatch(ack.text(), error))))
    }
}

/// Reads an ack of the form of an [`EventError`](crate::EventError).
fn event_error(ack: &Incoming) -> Option<TestError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Answer {
        error: Details,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Details {
        message: String,
        data: Option<Value>,
    }
    let Answer { error } = ack.args().ok()?;
    Some(TestError::answered(error.message, error.data))
}

impl<R> fmt::Debug for TestAck<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestAck").finish_non_exhaustive()
    }
}
