use std::future::Future;

use tracing::{
    Instrument as _, field::Empty, info_span, instrument::Instrumented, level_filters::LevelFilter, span::Entered,
};

use super::scope::{Event, Scope};

/// The maximum length of an event name in a span, in bytes. Clients choose the names.
const MAX_EVENT_NAME: usize = 128;

/// The span of a CONNECT or an event. `None` if there is no subscriber.
#[derive(Debug, Clone)]
pub(super) struct Span(Option<Recorded>);

#[derive(Debug, Clone)]
struct Recorded {
    span: tracing::Span,
    /// Whether the span was created here and has no recorded failure.
    own: bool,
    /// The beginning of the event's name, if a subscriber records errors.
    event: Option<Box<str>>,
}

impl Span {
    /// Returns `true` if there is a subscriber.
    #[inline]
    pub(super) fn is_recorded() -> bool {
        LevelFilter::current() != LevelFilter::OFF
    }

    pub(super) fn connect(scope: &Scope<'_>) -> Self {
        if !Self::is_recorded() {
            return Self(None);
        }
        let (connection, label) = (scope.connection.get(), scope.label);
        let span = info_span!(
            target: "tower_socketio::connect",
            parent: connection.as_deref().and_then(tracing::Span::id),
            "connect",
            otel.name = %format_args!("connect {label}"),
            otel.kind = "server",
            otel.status_code = Empty,
            messaging.system = "socketio",
            messaging.operation.name = "connect",
            messaging.destination.name = scope.namespace,
            messaging.destination.template = scope.is_dynamic.then_some(label),
            socketio.socket.id = scope.socket.as_str(),
            "error.type" = Empty,
        );
        Self::or_connections(span, connection.as_deref(), None)
    }

    pub(super) fn event<'a>(scope: &Scope<'_>, event: impl FnOnce() -> Event<'a>) -> Self {
        if !Self::is_recorded() {
            return Self(None);
        }
        let (event, connection, label) = (event(), scope.connection.get(), scope.label);
        let operation = if event.disconnect.is_some() { event.name } else { "event" };
        let span = info_span!(
            target: "tower_socketio::event",
            parent: connection.as_deref().and_then(tracing::Span::id),
            "event",
            otel.name = %format_args!("{operation} {label}"),
            otel.kind = "consumer",
            otel.status_code = Empty,
            messaging.system = "socketio",
            messaging.operation.name = operation,
            messaging.operation.type = "process",
            messaging.destination.name = scope.namespace,
            messaging.destination.template = scope.is_dynamic.then_some(label),
            messaging.message.id = event.ack,
            socketio.event = cut(event.name),
            socketio.socket.id = scope.socket.as_str(),
            socketio.disconnect.reason = event.disconnect,
            "error.type" = Empty,
        );
        Self::or_connections(span, connection.as_deref(), recorded_name(event.name))
    }

    /// Returns the span of the connection if the subscriber has disabled this one.
    fn or_connections(span: tracing::Span, connection: Option<&tracing::Span>, event: Option<Box<str>>) -> Self {
        Self(Some(match connection {
            Some(connection) if span.is_disabled() => Recorded { span: connection.clone(), own: false, event },
            _ => Recorded { span, own: true, event },
        }))
    }

    /// Returns the current span, for another handler of an event.
    pub(super) fn current(event: &str) -> Self {
        if !Self::is_recorded() {
            return Self(None);
        }
        let (span, event) = (tracing::Span::current(), recorded_name(event));
        Self(Some(Recorded { span, own: false, event }))
    }

    pub(super) fn event_name(&self) -> &str {
        self.0.as_ref().and_then(|recorded| recorded.event.as_deref()).unwrap_or_default()
    }

    /// Enters the span until the result is dropped.
    pub(super) fn enter(&self) -> Option<Entered<'_>> {
        self.0.as_ref().map(|recorded| recorded.span.enter())
    }

    pub(super) fn instrument<F: Future>(&self, future: F) -> Instrumented<F> {
        future.instrument(self.0.as_ref().map_or_else(tracing::Span::none, |recorded| recorded.span.clone()))
    }

    /// Records the first failure only: a panic is followed by an error for the client.
    pub(super) fn failed(&mut self, error: &str) {
        if let Some(recorded) = &mut self.0
            && std::mem::take(&mut recorded.own)
        {
            recorded.span.record("error.type", error);
            recorded.span.record("otel.status_code", "ERROR");
        }
    }

    /// Records a rejection. Only rejections caused by the server are failures.
    pub(super) fn refused(&mut self, code: &str) {
        if !code.starts_with(['3', '4']) {
            return self.failed(code);
        }
        if let Some(recorded) = self.0.as_ref().filter(|recorded| recorded.own) {
            recorded.span.record("error.type", code);
        }
    }
}

/// Returns the beginning of an event's name if a subscriber records errors. The request, and the name with it, is dropped before the
/// handler runs.
fn recorded_name(name: &str) -> Option<Box<str>> {
    tracing::enabled!(target: "tower_socketio", tracing::Level::ERROR).then(|| cut(name).into())
}

/// Returns the beginning of a name, cut at a character boundary.
fn cut(name: &str) -> &str {
    let mut end = name.len().min(MAX_EVENT_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_two_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(100)), "é".repeat(64));
        assert_eq!(cut(&format!("a{}", "é".repeat(100))), format!("a{}", "é".repeat(63)));
    }
}
