use super::commands::Recorded;

/// How many bytes a reply may have, approximately.
const BYTES: usize = 4 << 20;

/// How many entries are read at first.
const FIRST: usize = 16;

/// How many entries are read at once: as many as their sizes permit, so that a reply takes neither much memory nor much time. Pure.
#[derive(Debug, Clone)]
pub(super) struct PageSize {
    count: usize,
    max: usize,
}

impl PageSize {
    /// At most `max` entries, which is not 0.
    pub(super) fn new(max: usize) -> Self {
        Self { count: max.min(FIRST), max }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Adapts to the entries that were read. Returns whether there may be more.
    pub(super) fn adapt(&mut self, page: &[Recorded]) -> bool {
        self.adapt_to(page.len(), page.iter().map(Recorded::size).sum())
    }

    fn adapt_to(&mut self, entries: usize, bytes: usize) -> bool {
        let is_full = entries >= self.count;
        if bytes > BYTES {
            self.count = (entries.saturating_mul(BYTES) / bytes).max(1);
        } else if is_full && bytes <= BYTES / 2 {
            self.count = self.count.saturating_mul(2).min(self.max);
        }
        is_full
    }

    /// The reply did not arrive in time.
    pub(super) fn halve(&mut self) {
        self.count = (self.count / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_while_they_are_small() {
        let mut pages = PageSize::new(100);
        for count in [16, 32, 64, 100, 100] {
            assert_eq!(pages.count(), count);
            assert!(pages.adapt_to(count, count * 1000));
        }
        assert!(!pages.adapt_to(99, 99_000));
        assert_eq!(pages.count(), 100);
        assert_eq!(PageSize::new(3).count(), 3);
    }

    #[test]
    fn pages_are_limited_in_bytes() {
        let mut pages = PageSize::new(100);
        assert!(pages.adapt_to(16, 16 * BYTES));
        assert_eq!(pages.count(), 1);
        assert!(pages.adapt_to(1, 2 * BYTES));
        assert_eq!(pages.count(), 1);
        assert!(pages.adapt_to(1, BYTES));
        assert_eq!(pages.count(), 1);
        assert!(pages.adapt_to(1, BYTES / 2));
        assert_eq!(pages.count(), 2);
    }

    #[test]
    fn pages_that_do_not_arrive_are_halved() {
        let mut pages = PageSize::new(100);
        let counts: Vec<_> = (0..6)
            .map(|_| {
                pages.halve();
                pages.count()
            })
            .collect();
        assert_eq!(counts, [8, 4, 2, 1, 1, 1]);
    }
}
