use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{exchange::Broken, line::Line};

/// A body that arrives from another node.
#[derive(Debug)]
pub(crate) struct RelayedBody {
    line: Line,
    /// The number of bytes that remain, if it is known.
    length: Option<u64>,
}

impl RelayedBody {
    pub(crate) fn new(line: Line, length: Option<u64>) -> Self {
        Self { line, length }
    }
}

impl Body for RelayedBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = self.line.poll_data(cx, usize::MAX);
        if let (Poll::Ready(Some(Ok(bytes))), Some(length)) = (&polled, &mut self.length) {
            // A node that sends more than it has announced is not trusted with the framing of the response.
            match length.checked_sub(bytes.len() as u64) {
                Some(rest) => *length = rest,
                None => return Poll::Ready(Some(Err(Broken))),
            }
        }
        polled.map(|data| data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.line.exchange().unread() == (true, 0)
    }

    fn size_hint(&self) -> SizeHint {
        match (self.line.exchange().unread(), self.length) {
            ((true, unread), _) => SizeHint::with_exact(unread as u64),
            (_, Some(length)) => SizeHint::with_exact(length),
            (_, None) => SizeHint::default(),
        }
    }
}
