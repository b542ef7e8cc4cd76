//! What a server tells of itself: spans with the feature `tracing`, figures with the feature `metrics`.
//!
//! Without its feature, each half is a twin of empty types and functions: nothing is stored, nothing is done, and no call
//! site has to know. `docs/observability.md` says what the names mean.

#[cfg(feature = "metrics")]
mod meters;
#[cfg(not(feature = "metrics"))]
#[path = "no_meters.rs"]
mod meters;
mod scope;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(not(feature = "tracing"))]
#[path = "no_spans.rs"]
mod spans;

use std::future::Future;

use self::{
    meters::{ConnectMeter, EventMeter},
    spans::Span,
};
pub(crate) use self::{
    meters::{NamespaceMeters, RoomCount, SentKind, ServerMeters},
    scope::{Event, Scope},
};

/// A client's CONNECT, while the services of its namespace decide.
#[derive(Debug, Clone)]
pub(crate) struct ConnectWatch {
    span: Span,
    meter: ConnectMeter,
}

impl ConnectWatch {
    pub(crate) fn start(scope: &Scope<'_>) -> Self {
        Self { span: Span::connect(scope), meter: ConnectMeter::start(scope.meters) }
    }

    /// Runs what decides in the span.
    pub(crate) fn instrument<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.span.instrument(future)
    }

    /// As [`instrument`](Self::instrument), for what does not wait.
    pub(crate) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        self.span.in_scope(f)
    }

    pub(crate) fn accepted(&self) {
        self.meter.decided("accepted");
    }

    /// `code` is the status of the answer, or says what came in its place.
    pub(crate) fn refused(mut self, code: &str) {
        self.span.refused(code);
        self.meter.decided(code);
    }
}

/// An event, while it is handled.
#[derive(Debug)]
pub(crate) struct EventWatch {
    span: Span,
    meter: EventMeter,
}

impl EventWatch {
    /// `event` is called only if something is told of it.
    #[inline]
    pub(crate) fn start<'a>(scope: &Scope<'_>, event: impl Fn() -> Event<'a>) -> Self {
        Self { span: Span::event(scope, &event), meter: EventMeter::start(scope.meters, || event().of_client()) }
    }

    /// For a handler that runs beside another one: it shares the span, and is not measured.
    pub(crate) fn beside() -> Self {
        Self { span: Span::current(), meter: EventMeter::none() }
    }

    pub(crate) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        self.span.in_scope(f)
    }

    pub(crate) fn panicked(&mut self) {
        self.span.failed("panic");
    }

    /// The handler has answered.
    pub(crate) fn end(&mut self, failed: bool) {
        if failed {
            self.span.failed("error");
        }
        self.meter.end(failed);
    }
}
