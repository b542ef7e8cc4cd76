use std::{collections::HashSet, sync::Arc};

use crate::util::Mutex;

/// The name of a namespace, and of a room in it, that may have been created or dropped.
pub(super) type Hint = (Arc<str>, Option<Arc<str>>);

/// Names that may have been created or dropped, each once.
#[derive(Debug, Default)]
pub(super) struct Hints(Mutex<HashSet<Hint>>);

impl Hints {
    /// Returns `true` if there were none.
    pub(super) fn add(&self, hint: Hint) -> bool {
        let mut hints = self.0.lock();
        let was_empty = hints.is_empty();
        hints.insert(hint);
        was_empty
    }

    pub(super) fn take(&self) -> HashSet<Hint> {
        std::mem::take(&mut *self.0.lock())
    }
}
