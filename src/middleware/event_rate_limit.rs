use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{
    EventError,
    event::{EventRequest, EventResponse, IntoEventResponse},
    server::LayerId,
    util::{log, now},
};

use super::future::EventResponseFuture;

/// Limits the rate of events from each socket.
///
/// tower's `RateLimit` limits all sockets of a namespace together, by not being ready. This layer limits each socket, and applies
/// a [policy](RateLimitPolicy) to excess events.
///
/// ```
/// use std::time::Duration;
/// use tower_socketio::{
///     Namespace,
///     handler::EventHandler,
///     middleware::{EventRateLimitLayer, RateLimitPolicy},
/// };
///
/// async fn search() {}
///
/// let chat = Namespace::new()
///     .on("search", search.layer(EventRateLimitLayer::new(1, Duration::from_secs(2))))
///     .event_layer(EventRateLimitLayer::new(20, Duration::from_secs(1)).burst(50).policy(RateLimitPolicy::Disconnect));
/// # let _: Namespace = chat;
/// ```
///
/// It is a token bucket: after a pause a socket may emit [`burst`](Self::burst) events at once, then as many as the rate allows.
/// Excess events do not take a token. Clones of a layer share each socket's bucket: use clones on several handlers to limit their
/// events together.
///
/// The bucket is created by the socket's first event and dropped with the socket, so a client that reconnects gets a new one. Use
/// [`ConnectionLimitLayer`](super::ConnectionLimitLayer) to limit the number of sockets.
#[derive(Debug, Clone)]
pub struct EventRateLimitLayer {
    id: LayerId,
    rate: Rate,
    policy: RateLimitPolicy,
}

/// What happens to excess events. See [`EventRateLimitLayer::policy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RateLimitPolicy {
    /// The event is not handled. If the client requested an ack, it gets `{"error":{"message":"too many events"}}`.
    #[default]
    Reject,
    /// The event is not handled. If the client requested an ack, it does not get one.
    Drop,
    /// The socket is disconnected from its namespace. If further packets for the namespace are already on the way, they close the
    /// connection, because the client is no longer in the namespace.
    Disconnect,
}

impl EventRateLimitLayer {
    /// Creates a layer that allows `events` per period for each socket, and as many at once. Excess events are
    /// [rejected](RateLimitPolicy::Reject).
    ///
    /// # Panics
    ///
    /// Panics if `events` is 0.
    #[must_use]
    #[track_caller]
    pub fn new(events: u32, per: Duration) -> Self {
        assert!(events > 0, "a rate limit must allow at least one event");
        let rate = Rate { interval: (per / events).min(MAX_INTERVAL), burst: events };
        Self { id: LayerId::new(), rate, policy: RateLimitPolicy::default() }
    }

    /// Sets how many events a socket may emit at once after a pause. Default: the number of events of the rate.
    ///
    /// # Panics
    ///
    /// Panics if `events` is 0.
    #[must_use]
    #[track_caller]
    pub fn burst(mut self, events: u32) -> Self {
        assert!(events > 0, "a burst must allow at least one event");
        self.rate.burst = events;
        self
    }

    /// Sets what happens to excess events. Default: [`RateLimitPolicy::Reject`].
    #[must_use]
    pub fn policy(mut self, policy: RateLimitPolicy) -> Self {
        self.policy = policy;
        self
    }
}

/// A year. Short enough that the largest burst does not overflow the clock.
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(Debug, Clone, Copy)]
struct Rate {
    /// The time in which one token is added.
    interval: Duration,
    burst: u32,
}

/// The tokens of a socket, represented by the time at which the bucket is full.
#[derive(Debug)]
struct Bucket {
    full: Instant,
}

impl Bucket {
    /// Takes a token. Returns `false` if there is none.
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

/// Limits the rate of a socket's events. Created by [`EventRateLimitLayer`].
#[derive(Debug, Clone)]
pub struct EventRateLimit<S> {
    inner: S,
    layer: EventRateLimitLayer,
}

impl<S> EventRateLimit<S> {
    fn allows(&self, request: &EventRequest) -> bool {
        let EventRateLimitLayer { id, rate, .. } = self.layer;
        // Disconnections do not count.
        request.disconnect_reason().is_some() || {
            let now = now();
            request.socket().inner().with_layer_data(id, || Bucket { full: now }, |bucket| bucket.take(rate, now))
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
        log!(debug, event = %request.event(), "too many events from a socket");
        EventResponseFuture::rejected(match self.layer.policy {
            RateLimitPolicy::Reject => EventError::new("too many events").into(),
            RateLimitPolicy::Drop => EventResponse::none(),
            RateLimitPolicy::Disconnect => {
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
    fn extreme_rates_do_not_overflow() {
        let start = Instant::now();
        let slowest = EventRateLimitLayer::new(2, Duration::MAX).rate;
        assert_eq!(taken(&mut Bucket { full: start }, slowest, start, 10), 2);
        let fastest = EventRateLimitLayer::new(1, Duration::ZERO).rate;
        assert_eq!(taken(&mut Bucket { full: start }, fastest, start, 10), 10);
        let mut bucket = Bucket { full: start + MAX_INTERVAL * (u32::MAX - 1) };
        assert_eq!(taken(&mut bucket, EventRateLimitLayer::new(2, Duration::MAX).burst(u32::MAX).rate, start, 2), 1);
    }
}
