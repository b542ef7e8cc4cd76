use std::future::Future;

use tracing::{Instrument as _, field::Empty, info_span, instrument::Instrumented};

use super::scope::{Event, Scope};

/// The maximum length of an event name in a span, in bytes. Clients choose the names.
const MAX_EVENT_NAME: usize = 128;

/// The span of a CONNECT or an event.
#[derive(Debug, Clone)]
pub(super) struct Span {
    span: tracing::Span,
    /// Whether the span was created here and has no recorded failure.
    own: bool,
    /// The beginning of the event's name, if a subscriber records errors.
    event: Option<Box<str>>,
}

impl Span {
    pub(super) fn connect(scope: &Scope<'_>) -> Self {
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

    #[inline]
    pub(super) fn event<'a>(scope: &Scope<'_>, event: impl Fn() -> Event<'a>) -> Self {
        let event = event();
        let (connection, label) = (scope.connection.get(), scope.label);
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
    #[inline]
    fn or_connections(span: tracing::Span, connection: Option<&tracing::Span>, event: Option<Box<str>>) -> Self {
        match connection {
            Some(connection) if span.is_disabled() => Self { span: connection.clone(), own: false, event },
            _ => Self { span, own: true, event },
        }
    }

    /// Returns the current span, for another handler of an event.
    pub(super) fn current(event: &str) -> Self {
        Self { span: tracing::Span::current(), own: false, event: recorded_name(event) }
    }

    pub(super) fn event_name(&self) -> &str {
        self.event.as_deref().unwrap_or_default()
    }

    pub(super) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        self.span.in_scope(f)
    }

    pub(super) fn instrument<F: Future>(&self, future: F) -> Instrumented<F> {
        future.instrument(self.span.clone())
    }

    /// Records the first failure only: a panic is followed by an error for the client.
    pub(super) fn failed(&mut self, error: &str) {
        if std::mem::take(&mut self.own) {
            self.span.record("error.type", error);
            self.span.record("otel.status_code", "ERROR");
        }
    }

    /// Records a rejection. Only rejections caused by the server are failures.
    pub(super) fn refused(&mut self, code: &str) {
        if !code.starts_with(['3', '4']) {
            self.failed(code);
        } else if self.own {
            self.span.record("error.type", code);
        }
    }
}

/// Returns the beginning of an event's name if a subscriber records errors. The request, and the name with it, is dropped before the
/// handler runs.
#[inline]
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
