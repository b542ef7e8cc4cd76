use std::time::{Duration, Instant, SystemTime};

use crate::util::now;

/// The time at which a socket's token expires.
///
/// Created from the seconds of a token's `exp` claim ([`unix`](Self::unix)), from a duration ([`after`](Self::after)), from a
/// `SystemTime` or from an `Instant`. Wall clock times are converted at once, so later changes of the clock have no effect. Times
/// that the clock cannot represent never come.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_socketio::middleware::Expires;
///
/// let from_claim = Expires::unix(1_900_000_000);
/// let in_an_hour = Expires::after(Duration::from_secs(3600));
/// let at: Expires = (SystemTime::now() + Duration::from_secs(3600)).into();
/// # let _ = (from_claim, in_an_hour, at);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Expires(Option<Instant>);

impl Expires {
    /// Creates the time from seconds since the Unix epoch, as in the `exp` claim of a JSON Web Token.
    #[must_use]
    pub fn unix(seconds: u64) -> Self {
        match SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
            Some(time) => time.into(),
            None => Self(None),
        }
    }

    /// Creates the time that is a duration from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(now().checked_add(time))
    }

    /// Returns the instant, or `None` if it never comes.
    pub(super) fn instant(self) -> Option<Instant> {
        self.0
    }

    pub(super) fn is_past(self) -> bool {
        self.0.is_some_and(|at| at <= now())
    }

    pub(super) fn is_after(self, other: Self) -> bool {
        match (self.0, other.0) {
            (Some(this), Some(other)) => this > other,
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }
}

impl From<SystemTime> for Expires {
    fn from(time: SystemTime) -> Self {
        Self::after(time.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

impl From<Instant> for Expires {
    fn from(time: Instant) -> Self {
        Self(Some(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_the_clock_cannot_represent_never_come() {
        assert_eq!(Expires::unix(u64::MAX).instant(), None);
        assert_eq!(Expires::after(Duration::MAX).instant(), None);
        assert!(Expires::after(Duration::MAX).is_after(Expires::after(Duration::ZERO)));
        assert!(!Expires::after(Duration::ZERO).is_after(Expires::after(Duration::MAX)));
    }

    #[test]
    fn times_in_the_past_are_past() {
        let hour = Duration::from_secs(3600);
        assert!(Expires::unix(0).is_past());
        assert!(Expires::from(SystemTime::now() - hour).is_past());
        assert!(!Expires::from(SystemTime::now() + hour).is_past());
    }
}
