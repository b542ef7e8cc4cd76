use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::util::{Counts, Mutex, Permit, catch_panic, log};

use super::{
    Connect, Engine, EngineIoConfig,
    connection::{Budget, IdleSessions, Inspections, OpenError, Sessions, Turnstile},
    observe::EngineMeters,
    relay::Relay,
};

impl Engine {
    pub(crate) fn new(config: EngineIoConfig, handler: Box<dyn Connect>) -> Arc<Self> {
        Self::with_relay(config, handler, None)
    }

    pub(crate) fn with_relay(
        config: EngineIoConfig,
        handler: Box<dyn Connect>,
        relay: Option<Arc<Relay>>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|engine: &Weak<Self>| Self {
            cors: config.origins.as_ref().map(|origins| {
                let engine = engine.clone();
                origins.cors(move || engine.upgrade().iter().for_each(|engine| engine.count_panic()))
            }),
            idle_sessions: IdleSessions::new(config.max_idle_sessions, config.max_idle_sessions_per_address),
            openings: IdleSessions::new(config.max_idle_sessions, config.max_idle_sessions_per_address),
            input_budget: Budget::new(config.input_budget()),
            output_budget: Budget::new(config.output_budget()),
            inspections: Inspections::new(config.output_budget()),
            config,
            is_observed: handler.is_observed(),
            handler,
            sessions: Sessions::default(),
            meters: EngineMeters::new(),
            sessions_of_address: Counts::default(),
            draining: AtomicBool::new(false),
            ended: Notify::new(),
            turnstile: Turnstile::new(),
            panics: AtomicU64::new(0),
            runtime: Mutex::default(),
            relay,
            gathering: Mutex::default(),
        })
    }

    /// Returns `true` while the output budget is exceeded, so that clients must be closed before more is read.
    #[inline]
    pub(super) fn is_shedding(&self) -> bool {
        self.inspections.is_running()
    }

    /// Returns the current runtime, and stores it for callers outside of a runtime.
    pub(crate) fn runtime(&self) -> Handle {
        let current = Handle::current();
        let mut known = self.runtime.lock();
        if known.as_ref().is_none_or(|known| known.id() != current.id()) {
            *known = Some(current.clone());
        }
        current
    }

    /// Returns the current runtime, or else the one on which a connection was opened last.
    pub(crate) fn try_runtime(&self) -> Option<Handle> {
        Handle::try_current().ok().or_else(|| self.runtime.lock().clone())
    }

    /// Awaits a future until a deadline, also on a thread outside of a runtime. Returns `None` after the deadline, or if no runtime
    /// is known.
    pub(crate) fn until<F: Future>(&self, at: Instant, future: F) -> impl Future<Output = Option<F::Output>> {
        let limited = self.try_runtime().map(|runtime| {
            let _entered = runtime.enter();
            timeout_at(at, future)
        });
        async move { limited?.await.ok() }
    }

    /// Runs user code, such as a hook or the drop of a user's value. Returns `None` if it panicked, after counting the panic.
    pub(crate) fn catch_panic<R>(&self, run: impl FnOnce() -> R) -> Option<R> {
        let result = catch_panic(run);
        if result.is_none() {
            self.count_panic();
            log!(error, "user code panicked");
        }
        result
    }

    /// Counts a panic of user code.
    pub(crate) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        self.meters.panic();
    }

    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Counts a session of an address, if their number is limited.
    pub(crate) fn take_share(&self, address: Option<IpAddr>) -> Result<Option<Permit<IpAddr>>, OpenError> {
        let Some((address, max)) = address.zip(self.config.max_sessions_per_address) else {
            return Ok(None);
        };
        self.sessions_of_address.acquire(address, max).map(Some).ok_or(OpenError::TooManySessions)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("path", &self.config.path).finish_non_exhaustive()
    }
}
