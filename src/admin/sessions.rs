use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use crate::util::{BoxFuture, Mutex, now};

/// Stores the sessions of admins. See [`AdminConfig::sessions`](super::AdminConfig::sessions).
///
/// An implementation for several nodes stores the ids where all of them find them:
///
/// ```
/// use std::{pin::Pin, sync::Arc};
/// use tower_socketio::admin::SessionStore;
///
/// # #[derive(Clone)] struct Database;
/// # impl Database {
/// #     async fn insert(&self, key: String, seconds: u64) {}
/// #     async fn exists(&self, key: String) -> bool { true }
/// # }
/// struct Shared(Database);
///
/// impl SessionStore for Shared {
///     fn add(&self, id: &str) -> Pin<Box<dyn Future<Output = ()> + Send>> {
///         let (database, key) = (self.0.clone(), format!("admin:{id}"));
///         Box::pin(async move { database.insert(key, 86_400).await })
///     }
///
///     fn contains(&self, id: &str) -> Pin<Box<dyn Future<Output = bool> + Send>> {
///         let (database, key) = (self.0.clone(), format!("admin:{id}"));
///         Box::pin(async move { database.exists(key).await })
///     }
/// }
/// ```
pub trait SessionStore: Send + Sync + 'static {
    /// Adds a session. The store decides how long it is valid.
    fn add(&self, id: &str) -> BoxFuture<()>;

    /// Returns `true` if a session is valid. The id comes from a client, and may have any content and up to 64 characters.
    fn contains(&self, id: &str) -> BoxFuture<bool>;
}

/// Sessions in the memory of the process. They are valid for 24 hours. Above 1,000 sessions, the oldest one ends.
#[derive(Default)]
pub struct MemorySessions {
    /// With the time at which each ends, in the order in which they were added.
    sessions: Mutex<VecDeque<(Box<str>, Instant)>>,
}

const VALID: Duration = Duration::from_secs(24 * 3600);
const MAX_SESSIONS: usize = 1000;

impl MemorySessions {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl SessionStore for MemorySessions {
    fn add(&self, id: &str) -> BoxFuture<()> {
        let now = now();
        let mut sessions = self.sessions.lock();
        while sessions.len() >= MAX_SESSIONS || sessions.front().is_some_and(|(_, end)| *end <= now) {
            sessions.pop_front();
        }
        sessions.push_back((id.into(), now + VALID));
        drop(sessions);
        Box::pin(std::future::ready(()))
    }

    fn contains(&self, id: &str) -> BoxFuture<bool> {
        let now = now();
        let known = self.sessions.lock().iter().any(|(known, end)| **known == *id && *end > now);
        Box::pin(std::future::ready(known))
    }
}

impl fmt::Debug for MemorySessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySessions").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sessions_end_after_a_day_and_their_number_is_limited() {
        let sessions = MemorySessions::new();
        sessions.add("a").await;
        tokio::time::advance(VALID / 2).await;
        sessions.add("b").await;
        assert!(sessions.contains("a").await && sessions.contains("b").await && !sessions.contains("c").await);
        tokio::time::advance(VALID / 2).await;
        assert!(!sessions.contains("a").await && sessions.contains("b").await);
        for number in 0..MAX_SESSIONS {
            sessions.add(&number.to_string()).await;
        }
        assert!(!sessions.contains("b").await && sessions.contains("0").await);
        assert_eq!(sessions.sessions.lock().len(), MAX_SESSIONS);
    }
}
