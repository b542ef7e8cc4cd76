//! Observability: spans with the feature `tracing`, metrics with the feature `metrics`.
//!
//! Without its feature, each half is replaced by a module of empty types and functions, so that call sites need no conditions.
//! `docs/observability.md` describes the names.

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
    meters::{NamespaceMeters, RoomCount, ServerMeters},
    scope::{Event, Scope},
};

/// The span and metrics of a CONNECT, until the services of its namespace have decided.
#[derive(Debug, Clone)]
pub(crate) struct ConnectWatch {
    span: Span,
    meter: ConnectMeter,
}

impl ConnectWatch {
    pub(crate) fn start(scope: &Scope<'_>) -> Self {
        Self { span: Span::connect(scope), meter: ConnectMeter::start(scope.meters) }
    }

    /// Runs a future in the span.
    pub(crate) fn instrument<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.span.instrument(future)
    }

    /// Like [`instrument`](Self::instrument), for a closure.
    pub(crate) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        let _entered = self.span.enter();
        f()
    }

    pub(crate) fn accepted(&self) {
        self.meter.decided("accepted");
    }

    /// `code` is the status of the response or another reason.
    pub(crate) fn refused(mut self, code: &str) {
        self.span.refused(code);
        self.meter.decided(code);
    }
}

/// The span and metrics of an event, until it has been handled. `None` if it is not observed.
#[derive(Debug)]
pub(crate) struct EventWatch(Option<Box<ObservedEvent>>);

#[derive(Debug)]
struct ObservedEvent {
    span: Span,
    meter: EventMeter,
}

impl EventWatch {
    /// `scope` and `event` are called only if the event is observed.
    #[inline]
    pub(crate) fn start<'a>(
        meters: &NamespaceMeters,
        scope: impl FnOnce() -> Scope<'a>,
        event: impl Fn() -> Event<'a>,
    ) -> Self {
        if !Span::is_recorded() && !meters.is_recorded() {
            return Self(None);
        }
        Self::start_observed(&scope(), event)
    }

    #[inline(never)]
    fn start_observed<'a>(scope: &Scope<'_>, event: impl Fn() -> Event<'a>) -> Self {
        let meter = EventMeter::start(scope.meters, || event().of_client());
        Self(Some(Box::new(ObservedEvent { span: Span::event(scope, &event), meter })))
    }

    /// Creates a watch for a handler that runs in addition to another one. It shares the span of that one and is not measured.
    pub(crate) fn unmeasured(event: &str) -> Self {
        let observe = || Box::new(ObservedEvent { span: Span::current(event), meter: EventMeter::none() });
        Self(Span::is_recorded().then(observe))
    }

    /// Returns the beginning of the event's name, for logs. Empty if no subscriber records errors.
    pub(crate) fn event_name(&self) -> &str {
        self.0.as_ref().map_or("", |observed| observed.span.event_name())
    }

    #[inline]
    pub(crate) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        // One call, so that it can be inlined.
        let _entered = self.0.as_ref().map(|observed| observed.span.enter());
        f()
    }

    pub(crate) fn panicked(&mut self) {
        if let Some(observed) = &mut self.0 {
            observed.span.failed("panic");
        }
    }

    /// Records that the handler has completed.
    #[inline]
    pub(crate) fn end(&mut self, failed: bool) {
        if let Some(observed) = &mut self.0 {
            observed.end(failed);
        }
    }
}

impl ObservedEvent {
    #[inline(never)]
    fn end(&mut self, failed: bool) {
        if failed {
            self.span.failed("error");
        }
        self.meter.end(failed);
    }
}
