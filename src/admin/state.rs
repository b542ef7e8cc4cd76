//! The state of an instrumented server: who watches, and telling them.

use std::{
    env, fs,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{sync::Semaphore, time::MissedTickBehavior};

use crate::{
    NamespaceRef, SocketIo,
    server::Socket,
    util::{Mutex, now},
};

use super::{
    config::{AdminConfig, Mode},
    figures::{Figures, ServerStats},
};

/// The interval of figures.
const STATS_INTERVAL: Duration = Duration::from_secs(2);

/// How long another node's admins count as watching after they were announced. Longer than several intervals.
const WATCHED_FOR: Duration = Duration::from_secs(10);

/// The bytes in the send buffer of an admin above which events are not told.
const LAGGING: usize = 64 << 10;

/// Announces to the other nodes of a cluster that an admin watches.
pub(super) const WATCH: &str = "tower-socketio:watch";

#[derive(Debug)]
pub(super) struct Admin {
    pub(super) config: AdminConfig,
    server_id: String,
    hostname: String,
    started: Instant,
    pub(super) figures: Figures,
    /// One login at a time.
    pub(super) logins: Arc<Semaphore>,
    /// The number of admins on this node.
    admins: AtomicUsize,
    /// Until when admins on other nodes watch, in milliseconds since the start.
    watched_until: AtomicU64,
    /// Until when there is known to be a server of Node.js with an admin UI, in milliseconds since the start.
    node_until: AtomicU64,
    /// Whether the task that tells figures is running.
    is_telling: AtomicBool,
    /// The current second since the start, and the events told in it.
    told: Mutex<(u64, u32)>,
    hasher: RandomState,
}

impl Admin {
    pub(super) fn new(config: AdminConfig) -> Self {
        let hostname = hostname();
        let default_id = || format!("{hostname}#{}", std::process::id());
        Self {
            server_id: config.server_id.clone().unwrap_or_else(default_id),
            config,
            hostname,
            started: now(),
            figures: Figures::default(),
            logins: Arc::new(Semaphore::new(1)),
            admins: AtomicUsize::new(0),
            watched_until: AtomicU64::new(0),
            node_until: AtomicU64::new(0),
            is_telling: AtomicBool::new(false),
            told: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    fn stats(&self, io: &SocketIo) -> ServerStats<'_> {
        ServerStats::take(&self.figures, io, &self.server_id, &self.hostname, self.uptime())
    }

    fn uptime(&self) -> Duration {
        now().saturating_duration_since(self.started)
    }

    /// Returns what the UI supports with this server.
    pub(super) fn features(&self) -> Vec<&'static str> {
        const REQUESTS: [&str; 7] = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"];
        let mut features = if self.config.read_only { Vec::new() } else { REQUESTS.to_vec() };
        features.push("AGGREGATED_EVENTS");
        if self.is_development() {
            features.push("ALL_EVENTS");
        }
        features
    }

    pub(super) fn is_development(&self) -> bool {
        self.config.mode == Mode::Development
    }

    pub(super) fn hash(&self, text: &str) -> u64 {
        self.hasher.hash_one(text)
    }

    pub(super) fn namespace(&self, io: &SocketIo) -> Option<NamespaceRef> {
        io.of(&self.config.namespace)
    }

    // Who watches.

    /// Counts an admin on this node.
    pub(super) fn enter(self: &Arc<Self>, socket: &Arc<Socket>) {
        self.admins.fetch_add(1, Ordering::SeqCst);
        let io = SocketIo::new(socket.client.server.clone());
        self.announce(&io, true);
        let _entered = socket.client.connection.runtime.enter();
        self.tell_figures(io);
    }

    pub(super) fn leave(&self) {
        self.admins.fetch_sub(1, Ordering::SeqCst);
    }

    /// Tells the other nodes that an admin watches, and whether that is new.
    fn announce(&self, io: &SocketIo, is_new: bool) {
        if let Some(namespace) = self.namespace(io) {
            namespace.server_side_emit(WATCH, &is_new).ok();
        }
    }

    /// An admin on another node watches. One who has just connected asks for the sockets.
    pub(super) fn watched_by_others(self: &Arc<Self>, io: &SocketIo, is_new: bool) {
        let was_watched = self.is_watched();
        self.extend(&self.watched_until);
        if let Some(runtime) = io.server().try_runtime() {
            let _entered = runtime.enter();
            self.tell_figures(io.clone());
            if self.is_development() && !is_new && !was_watched {
                let (admin, io) = (self.clone(), io.clone());
                runtime.spawn(async move { admin.tell_sockets(&io) });
            }
        }
    }

    fn extend(&self, until: &AtomicU64) {
        let end = self.uptime() + WATCHED_FOR;
        until.fetch_max(u64::try_from(end.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    fn is_before(&self, until: &AtomicU64) -> bool {
        u128::from(until.load(Ordering::SeqCst)) > self.uptime().as_millis()
    }

    fn is_watched_here(&self) -> bool {
        self.admins.load(Ordering::SeqCst) > 0
    }

    /// Returns `true` if an admin on any node is told what happens on this node.
    pub(super) fn is_watched(&self) -> bool {
        self.is_watched_here() || self.is_before(&self.watched_until)
    }

    /// A server of Node.js has told its figures, as it always does.
    pub(super) fn heard_node(&self) {
        self.extend(&self.node_until);
    }

    /// Returns `true` if there is a server of Node.js whose admins may see sockets of this node.
    pub(super) fn knows_node(&self) -> bool {
        self.is_before(&self.node_until)
    }

    // Telling.

    /// Tells all admins something that changes what they show.
    pub(super) fn tell<T: Serialize>(&self, io: &SocketIo, event: &str, args: &T) {
        if let Some(namespace) = self.namespace(io) {
            namespace.emit(event, args).ok();
        }
    }

    /// Tells the admins who keep up something that they can do without.
    pub(super) fn mention<T: Serialize>(&self, io: &SocketIo, event: &str, args: &T) {
        if let Some(namespace) = self.namespace(io) {
            let admins = namespace.sockets().into_iter();
            let lagging = admins.filter(|admin| admin.buffered_bytes() > LAGGING).map(|admin| admin.id().clone());
            namespace.except(lagging.collect::<Vec<_>>()).emit(event, args).ok();
        }
    }

    /// Returns `true` if an event may be told within the limit per second.
    pub(super) fn may_mention(&self) -> bool {
        let second = self.uptime().as_secs();
        let mut told = self.told.lock();
        if told.0 != second {
            *told = (second, 0);
        }
        told.1 += 1;
        told.1 <= self.config.max_events_per_second
    }

    /// Starts the task that tells figures, unless it is running. It ends when no admin watches.
    fn tell_figures(self: &Arc<Self>, io: SocketIo) {
        if self.is_telling.swap(true, Ordering::SeqCst) {
            return;
        }
        // From now on only.
        drop(self.figures.take());
        let admin = self.clone();
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(STATS_INTERVAL);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut is_first = true;
            loop {
                interval.tick().await;
                if !admin.is_watched() {
                    admin.is_telling.store(false, Ordering::SeqCst);
                    // An admin may have come in between.
                    if !admin.is_watched() || admin.is_telling.swap(true, Ordering::SeqCst) {
                        break;
                    }
                }
                // An admin who has just connected was announced as new, which must not be overtaken.
                if !std::mem::take(&mut is_first) && admin.is_watched_here() {
                    admin.announce(&io, false);
                }
                admin.mention(&io, "server_stats", &admin.stats(&io));
            }
        });
    }
}

fn hostname() -> String {
    let of_kernel = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = of_kernel.or_else(|| env::var("HOSTNAME").ok()).unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}
