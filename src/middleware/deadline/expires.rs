use std::time::{Duration, Instant, SystemTime};

use crate::util::now;

/// The moment at which a socket's token expires.
///
/// Made from a `SystemTime`, from an `Instant`, from the seconds of a token's `exp` claim ([`unix`](Self::unix)), or from the
/// time that is left ([`after`](Self::after)). Times of the wall clock are taken as what is left of them now: a clock that is
/// set later moves nothing. A time that no clock can count never comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Expires(Option<Instant>);

impl Expires {
    /// So many seconds after the beginning of 1970, UTC: the `exp` claim of a JSON Web Token.
    #[must_use]
    pub fn unix(seconds: u64) -> Self {
        match SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) {
            Some(time) => time.into(),
            None => Self(None),
        }
    }

    /// After this time.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(now().checked_add(time))
    }

    /// `None` if it never comes.
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
    fn times_that_no_clock_can_count_never_come() {
        assert_eq!(Expires::unix(u64::MAX).instant(), None);
        assert_eq!(Expires::after(Duration::MAX).instant(), None);
        assert!(Expires::after(Duration::MAX).is_after(Expires::after(Duration::ZERO)));
        assert!(!Expires::after(Duration::ZERO).is_after(Expires::after(Duration::MAX)));
    }

    #[test]
    fn the_past_is_past() {
        let hour = Duration::from_secs(3600);
        assert!(Expires::unix(0).is_past());
        assert!(Expires::from(SystemTime::now() - hour).is_past());
        assert!(!Expires::from(SystemTime::now() + hour).is_past());
    }
}
