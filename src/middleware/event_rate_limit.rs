use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{
    EventError, EventRequest, EventResponse, IntoEventResponse,
    server::LayerId,
    util::{log, now},
};

use super::EventResponseFuture;

/// Caps the events that one socket emits in a time.
///
/// tower's `RateLimit` holds all sockets of a namespace back together, by not being ready. This layer counts each socket's own
/// events, and deals with those that are too many as its [policy](ExcessPolicy) says.
///
/// ```
/// use std::time::Duration;
/// use tower_socketio::{EventHandler, Namespace, middleware::{EventRateLimitLayer, ExcessPolicy}};
///
/// async fn search() {}
///
/// let chat = Namespace::new()
///     .on("search", search.layer(EventRateLimitLayer::new(1, Duration::from_secs(2))))
///     .event_layer(EventRateLimitLayer::new(20, Duration::from_secs(1)).burst(50).policy(ExcessPolicy::Disconnect));
/// # let _: Namespace = chat;
/// ```
///
/// It is a token bucket: a socket that has been quiet may emit [`burst`](Self::burst) events at once, and then as many as the
/// rate allows. Events that are too many take no token. Clones of a layer share each socket's bucket: put clones on several
/// handlers to cap their events together.
///
/// The bucket belongs to the socket. It is made by the socket's first event, and goes when the socket does; a client that
/// connects again has a new one. [`ConnectionLimitLayer`](super::ConnectionLimitLayer) bounds how many sockets it has at a
/// time.
#[derive(Debug, Clone)]
pub struct EventRateLimitLayer {
    id: LayerId,
    rate: Rate,
    policy: ExcessPolicy,
}

/// What becomes of an event that is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ExcessPolicy {
    /// The event is not handled. A client that waits for an ack gets `{"error":{"message":"too many events"}}`.
    #[default]
    Reject,
    /// The event is not handled, and not answered: a client that waits for an ack keeps waiting.
    Drop,
    /// The socket is disconnected from its namespace. If the client has sent more for it already, that ends the connection:
    /// the namespace is not joined any more.
    Disconnect,
}

impl EventRateLimitLayer {
    /// `events` in a time, for each socket, and as many at once. What is too many is [rejected](ExcessPolicy::Reject).
    ///
    /// # Panics
    ///
    /// If `events` is 0.
    #[must_use]
    #[track_caller]
    pub fn new(events: u32, per: Duration) -> Self {
        assert!(events > 0, "a rate limit of no events: let it allow one at least");
        let rate = Rate { interval: (per / events).min(MAX_INTERVAL), burst: events };
        Self { id: LayerId::new(), rate, policy: ExcessPolicy::default() }
    }

    /// How many events a socket that has been quiet may emit at once. Default: as many as in the time of the rate.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn burst(mut self, events: u32) -> Self {
        assert!(events > 0, "a burst of no events: let it be one at least");
        self.rate.burst = events;
        self
    }

    /// What becomes of events that are too many. Default: [`ExcessPolicy::Reject`].
    #[must_use]
    pub fn policy(mut self, policy: ExcessPolicy) -> Self {
        self.policy = policy;
        self
    }
}

/// A year: as long as anybody waits, and short enough for any clock, however large the burst.
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(Debug, Clone, Copy)]
struct Rate {
    /// The time in which one token comes back.
    interval: Duration,
    burst: u32,
}

/// A socket's tokens, as the moment at which all of them are back.
#[derive(Debug)]
struct Bucket {
    full: Instant,
}

impl Bucket {
    /// Takes a token, if there is one.
    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let missing = self.full.saturating_duration_since(now);
        if missing > rate.interval.saturating_mul(rate.burst - 1) {
            return false;
        }
        self.full = now + missing + rate.interval;
        true
    }
}

impl<S> Layer<S> for EventRateLimitLayer {
    type Service = EventRateLimit<S>;

    fn layer(&self, inner: S) -> EventRateLimit<S> {
        EventRateLimit { inner, layer: self.clone() }
    }
}

/// Caps the events of a socket. Made by [`EventRateLimitLayer`].
#[derive(Debug, Clone)]
pub struct EventRateLimit<S> {
    inner: S,
    layer: EventRateLimitLayer,
}

impl<S> EventRateLimit<S> {
    fn allows(&self, request: &EventRequest) -> bool {
        let EventRateLimitLayer { id, rate, .. } = self.layer;
        // A disconnection is not the client's to ration.
        request.disconnect_reason().is_some() || {
            let now = now();
            request.socket().inner().with_kept(id, || Bucket { full: now }, |bucket| bucket.take(rate, now))
        }
    }
}

impl<S> Service<EventRequest> for EventRateLimit<S>
where
    S: Service<EventRequest>,
    S::Response: IntoEventResponse,
{
    type Response = EventResponse;
    type Error = S::Error;
    type Future = EventResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: EventRequest) -> Self::Future {
        if self.allows(&request) {
            return EventResponseFuture::inner(self.inner.call(request));
        }
        log!(debug, event = %request.event(), "too many events of one socket");
        EventResponseFuture::refused(match self.layer.policy {
            ExcessPolicy::Reject => EventError::new("too many events").into(),
            ExcessPolicy::Drop => EventResponse::none(),
            ExcessPolicy::Disconnect => {
                request.socket().disconnect();
                EventResponse::none()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, rate: Rate, now: Instant, attempts: u32) -> u32 {
        (0..attempts).filter(|_| bucket.take(rate, now)).count().try_into().unwrap()
    }

    #[test]
    fn a_bucket_fills_with_time_up_to_the_burst() {
        let rate = Rate { interval: Duration::from_millis(100), burst: 3 };
        let start = Instant::now();
        let mut bucket = Bucket { full: start };
        assert_eq!(taken(&mut bucket, rate, start, 10), 3);
        assert_eq!(taken(&mut bucket, rate, start + Duration::from_millis(99), 10), 0);
        assert_eq!(taken(&mut bucket, rate, start + Duration::from_millis(100), 10), 1);
        assert_eq!(taken(&mut bucket, rate, start + Duration::from_millis(350), 10), 2);
        assert_eq!(taken(&mut bucket, rate, start + Duration::from_secs(60), 10), 3);
    }

    #[test]
    fn rates_that_no_clock_can_count_do_no_harm() {
        let start = Instant::now();
        let slowest = EventRateLimitLayer::new(2, Duration::MAX).rate;
        assert_eq!(taken(&mut Bucket { full: start }, slowest, start, 10), 2);
        let fastest = EventRateLimitLayer::new(1, Duration::ZERO).rate;
        assert_eq!(taken(&mut Bucket { full: start }, fastest, start, 10), 10);
        let mut bucket = Bucket { full: start + MAX_INTERVAL * (u32::MAX - 1) };
        assert_eq!(taken(&mut bucket, EventRateLimitLayer::new(2, Duration::MAX).burst(u32::MAX).rate, start, 2), 1);
    }
}
