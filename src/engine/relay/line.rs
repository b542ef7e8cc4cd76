use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::{exchange::Broken, message::ResponseHead, shared::Exchange};

/// One end of an exchange: reads and writes its streams. A tunnel is used as a connection.
#[derive(Debug)]
pub(crate) struct Line {
    exchange: Arc<Exchange>,
    watch: Option<Watch>,
}

/// The asker's check that the owner of the session lives. The owner needs none: sessions have their heartbeat.
#[derive(Debug)]
pub(crate) struct Watch {
    exchange: Arc<Exchange>,
    timer: Pin<Box<Sleep>>,
    /// The owner must respond before the timer fires.
    must_respond: bool,
}

impl Line {
    /// The end of the owner.
    pub(crate) fn of_owner(exchange: Arc<Exchange>) -> Self {
        Self { exchange, watch: None }
    }

    /// The end of the asker, which has just sent the request.
    pub(super) fn of_asker(exchange: Arc<Exchange>) -> Self {
        let timer = Box::pin(sleep(exchange.relay.timeout));
        let watch = Watch { exchange: exchange.clone(), timer, must_respond: true };
        Self { exchange, watch: Some(watch) }
    }

    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Takes the check out, for a caller that does not always read.
    pub(crate) fn take_watch(&mut self) -> Option<Watch> {
        self.watch.take()
    }

    /// Returns an error if the owner has not responded in time.
    fn check(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        let is_late = self.watch.as_mut().is_some_and(|watch| watch.poll(cx).is_ready());
        if is_late { Err(Broken) } else { Ok(()) }
    }

    /// Returns the head of the response.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Broken>> {
        if let Poll::Ready(head) = self.exchange.poll_head(cx) {
            return Poll::Ready(head);
        }
        self.check(cx).map_or_else(|broken| Poll::Ready(Err(broken)), |()| Poll::Pending)
    }

    /// Returns the next bytes of the stream, at most `max`.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Poll::Ready(data) = self.exchange.poll_data(cx, max) {
            return Poll::Ready(data);
        }
        self.check(cx).map_or_else(|broken| Poll::Ready(Some(Err(broken))), |()| Poll::Pending)
    }
}

impl Watch {
    /// Ready if the owner has not responded in time. Asks it after it has been silent for a while.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let exchange = &self.exchange;
            let (timeout, quiet) = (exchange.relay.timeout, exchange.relay.quiet);
            let next_check = exchange.state.lock().heard.take().map(|heard| heard + quiet);
            match next_check {
                Some(at) => {
                    self.must_respond = false;
                    self.timer.as_mut().reset(at);
                }
                None if self.must_respond => return Poll::Ready(()),
                None => {
                    self.must_respond = true;
                    exchange.check();
                    self.timer.as_mut().reset(Instant::now() + timeout);
                }
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match ready!(self.get_mut().poll_data(cx, buffer.remaining())) {
            None => Poll::Ready(Ok(())),
            Some(Ok(bytes)) => {
                buffer.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            Some(Err(broken)) => Poll::Ready(Err(reset(broken))),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.exchange.poll_room(cx)).map_err(reset)?;
        let length = bytes.len().min(room);
        let sent = self.exchange.poll_write(cx, &mut Bytes::copy_from_slice(&bytes[..length]));
        sent.map(|sent| sent.map(|()| length).map_err(reset))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.exchange.end();
        Poll::Ready(Ok(()))
    }
}

fn reset(broken: Broken) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, broken)
}
