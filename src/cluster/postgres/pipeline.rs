use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use tokio_postgres::Error;

use crate::util::BoxFuture;

/// Requests over one connection, whose responses arrive in their order.
pub(super) struct Pipeline<T, R> {
    requests: VecDeque<(T, Request<R>)>,
    /// The number of requests that have been sent.
    started: usize,
}

enum Request<R> {
    Pending(BoxFuture<Result<R, Error>>),
    Done(Result<R, Error>),
}

impl<R> Request<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Pending(future) = self {
            match future.as_mut().poll(cx) {
                Poll::Ready(result) => *self = Self::Done(result),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

impl<T, R> Pipeline<T, R> {
    pub(super) fn new() -> Self {
        Self { requests: VecDeque::new(), started: 0 }
    }

    /// Adds a request. The first poll of its future must send it.
    pub(super) fn push(&mut self, tag: T, request: impl Future<Output = Result<R, Error>> + Send + 'static) {
        self.requests.push_back((tag, Request::Pending(Box::pin(request))));
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = &T> {
        self.requests.iter().map(|(tag, _)| tag)
    }

    /// Sends the requests that were added since.
    pub(super) fn start(&mut self, cx: &mut Context<'_>) {
        for (_, request) in self.requests.range_mut(self.started..) {
            let _ = request.poll(cx);
        }
        self.started = self.requests.len();
    }

    /// Puts a request that has failed back.
    pub(super) fn return_first(&mut self, tag: T, error: Error) {
        self.requests.push_front((tag, Request::Done(Err(error))));
        self.started += 1;
    }

    /// Returns the response to the oldest request.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(T, Result<R, Error>)> {
        let Some((_, request)) = self.requests.front_mut() else { return Poll::Pending };
        if request.poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.started = self.started.saturating_sub(1);
        match self.requests.pop_front() {
            Some((tag, Request::Done(result))) => Poll::Ready((tag, result)),
            _ => unreachable!("the oldest request is done"),
        }
    }
}
