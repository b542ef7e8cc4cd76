use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::util::now;

/// How often to look whether the broker still responds.
const INTERVAL: Duration = Duration::from_secs(1);

/// Notices that a broker does not respond.
///
/// Poll it after what has arrived was taken: a connection is not silent because this process has not read it.
pub(crate) struct Silence {
    interval: Interval,
    /// The longest silence.
    timeout: Duration,
    heard: Instant,
    ticked: Instant,
}

impl Silence {
    pub(crate) fn new(timeout: Duration) -> Self {
        let mut interval = interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, timeout, heard: now(), ticked: now() }
    }

    /// Notes that the broker has responded, or that a response is expected from now on.
    pub(crate) fn heard(&mut self) {
        self.heard = now();
    }

    /// Completes if the broker has been silent for too long while a response is expected.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, is_expected: bool) -> Poll<()> {
        while self.interval.poll_tick(cx).is_ready() {
            let now = now();
            // This process was suspended. What has arrived meanwhile may be in the buffers of a task that has not run yet.
            if now.duration_since(self.ticked) > INTERVAL * 3 {
                self.heard = now;
            }
            self.ticked = now;
            if is_expected && now.duration_since(self.heard) > self.timeout {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, sleep};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    async fn is_silent(silence: &mut Silence, is_expected: bool) -> bool {
        poll_fn(|cx| Poll::Ready(silence.poll(cx, is_expected).is_ready())).await
    }

    /// Polls for some seconds.
    async fn passes(silence: &mut Silence, is_expected: bool, seconds: u32) -> bool {
        for _ in 0..seconds {
            sleep(Duration::from_secs(1)).await;
            if is_silent(silence, is_expected).await {
                return true;
            }
        }
        false
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_is_silent_from_when_a_response_is_expected() {
        let mut silence = Silence::new(TIMEOUT);
        assert!(!passes(&mut silence, false, 60).await);
        silence.heard();
        assert!(!passes(&mut silence, true, 9).await);
        assert!(passes(&mut silence, true, 3).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_broker_is_not_silent() {
        let mut silence = Silence::new(TIMEOUT);
        for _ in 0..10 {
            assert!(!passes(&mut silence, true, 8).await);
            silence.heard();
        }
        assert!(passes(&mut silence, true, 12).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_is_not_silent_because_this_process_was_suspended() {
        let mut silence = Silence::new(TIMEOUT);
        assert!(!is_silent(&mut silence, true).await);
        advance(Duration::from_secs(60)).await;
        assert!(!is_silent(&mut silence, true).await);
        assert!(passes(&mut silence, true, 12).await);
    }
}
