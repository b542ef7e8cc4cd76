use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);

/// How long to wait before each attempt to connect. Nodes that lost the same broker do not return at the same time.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Returns the next delay: twice the previous one up to five seconds, shortened by up to a half.
    pub(super) fn next(&mut self) -> Duration {
        // Without randomness, all nodes wait for the same time.
        self.after(getrandom::u32().unwrap_or_default())
    }

    fn after(&mut self, random: u32) -> Duration {
        let full = LAST.min(FIRST * 2u32.saturating_pow(self.attempts).min(1000));
        self.attempts = self.attempts.saturating_add(1);
        FIRST.max(full - full.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_differ_between_nodes() {
        let delays = |random| {
            let mut backoff = Backoff::default();
            [(); 9].map(|()| backoff.after(random).as_millis())
        };
        assert_eq!(delays(0), [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!(delays(u32::MAX), [100, 100, 200, 400, 800, 1600, 2500, 2500, 2500]);
        let mut backoff = Backoff { attempts: u32::MAX };
        assert_eq!(backoff.after(0), LAST);
        assert_eq!(backoff.attempts, u32::MAX);
    }
}
