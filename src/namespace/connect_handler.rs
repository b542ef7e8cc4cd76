use axum::handler::Handler;

/// A handler of CONNECT, as [`Namespace::on_connect`](crate::Namespace::on_connect) accepts it.
///
/// Implemented for each axum [`Handler`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of CONNECT",
    label = "not a handler of CONNECT",
    note = "`on_connect` takes an async fn of axum's extractors, `SocketRef`, `SocketIo` or `NamespaceRef`, which returns an axum \
            response: `()`, a `Result<(), E>` where `E: IntoResponse`, or `Result<(), EventError>`",
    note = "`Json<T>` extracts the client's `auth` payload; `Data` and `AckSender` are for events; an extractor of the body, such as \
            `Json`, is the last argument",
    note = "CONNECT has no `Ack`: the client is accepted if the response is a success; emit an event to send data",
    note = "the type of `State<T>` must be the type given to `with_state`, or implement `FromRef` for it; the future must be `Send`",
    note = "`#[tower_socketio::debug_handler(on_connect)]` on the function points to the mistake (feature `macros`)"
)]
pub trait ConnectHandler<T, S>: Handler<T, S> {}

#[diagnostic::do_not_recommend]
impl<H: Handler<T, S>, T, S> ConnectHandler<T, S> for H {}
