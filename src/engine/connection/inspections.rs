use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Decides when the outboxes are inspected.
///
/// The packets of a broadcast are shared, but charged to each recipient. So an inspection counts each buffer once. From then on, the
/// outboxes hold at most as much more as the sum of charges has grown since it was smallest.
#[derive(Debug)]
pub(crate) struct Inspections {
    /// The sum of charges above which the next inspection begins.
    due: AtomicUsize,
    /// How far the sum may grow.
    slack: AtomicUsize,
    is_running: AtomicBool,
}

impl Inspections {
    pub(crate) fn new(limit: usize) -> Self {
        Self { due: AtomicUsize::new(limit), slack: AtomicUsize::new(limit), is_running: AtomicBool::new(false) }
    }

    /// Returns `true` while an inspection is in progress or about to begin.
    #[inline]
    pub(in crate::engine) fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Relaxed)
    }

    /// Returns `true` if an inspection is due and none is running. The caller must begin it.
    pub(super) fn begin(&self, used: usize) -> bool {
        let due = used.saturating_add(self.slack.load(Ordering::Relaxed));
        let due = self.due.fetch_min(due, Ordering::Relaxed).min(due);
        used > due && !self.is_running.swap(true, Ordering::Relaxed)
    }

    /// Sets when the next inspection is due, from the current sum of charges and how far it may grow.
    pub(super) fn plan(&self, used: usize, slack: usize) {
        self.slack.store(slack, Ordering::Relaxed);
        self.due.store(used.saturating_add(slack), Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.is_running.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_inspection_runs_at_a_time_and_the_next_is_due_when_charges_have_grown() {
        let inspections = Inspections::new(100);
        assert!(!inspections.begin(100));
        assert!(inspections.begin(101));
        assert!(!inspections.begin(1000) && inspections.is_running());
        // Most of the charges are for shared packets.
        inspections.plan(1000, 60);
        inspections.end();
        assert!(!inspections.begin(1060) && !inspections.is_running());
        assert!(inspections.begin(1061));
        inspections.end();
    }

    #[test]
    fn charges_that_have_shrunk_may_not_grow_further_than_before() {
        let inspections = Inspections::new(100);
        assert!(inspections.begin(500));
        inspections.plan(500, 60);
        inspections.end();
        assert!(!inspections.begin(200));
        assert!(!inspections.begin(260));
        assert!(inspections.begin(261));
    }
}
