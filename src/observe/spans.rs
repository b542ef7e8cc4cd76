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
            "error.type" = Empty,
        );
        Self::or_connections(span, connection.as_deref())
    }

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
            socketio.disconnect.reason = event.disconnect,
            "error.type" = Empty,
        );
        Self::or_connections(span, connection.as_deref())
    }

    /// Returns the span of the connection if the subscriber has disabled this one.
    fn or_connections(span: tracing::Span, connection: Option<&tracing::Span>) -> Self {
        match connection {
            Some(connection) if span.is_disabled() => Self { span: connection.clone(), own: false },
            _ => Self { span, own: true },
        }
    }

    pub(super) fn current() -> Self {
        Self { span: tracing::Span::current(), own: false }
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
