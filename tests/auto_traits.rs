//! Public types can be moved to and shared between tasks. A type that loses an auto trait does not compile here.

use tower_socketio as io;

fn is_send<T: Send>() {}
fn is_send_and_sync<T: Send + Sync>() {}

macro_rules! assert_all {
    ($check:ident: $($ty:ty),* $(,)?) => {
        $($check::<$ty>();)*
    };
}

#[test]
fn public_types_are_send_and_sync() {
    assert_all!(is_send_and_sync:
        io::AckError,
        io::Args,
        io::operators::BroadcastOperator,
        io::client::Client,
        io::engine::ClientAddress,
        io::client::Conn,
        io::engine::ConnectionRequest,
        io::DisconnectReason,
        io::EmitError,
        io::operators::EmitOperator,
        io::EventError,
        io::event::EventResponse,
        io::client::Handshake<'static>,
        io::NamespaceRef,
        io::observer::Recorder,
        io::observer::Script,
        io::Origins,
        io::engine::Packet,
        io::engine::PacketType,
        io::engine::ProtocolVersion,
        io::Room,
        io::SocketId,
        io::SocketIo,
        io::SocketIoConfig,
        io::SocketIoLayer,
        io::SocketRef,
        io::Transport,
        io::engine::TransportError,
        io::Value,
        io::engine::CloseReason,
        io::engine::EngineIo,
        io::engine::EngineIoConfig,
        io::engine::EngineIoLayer,
        io::engine::EngineIoService,
        io::engine::EngineSendError,
        io::engine::EngineSocket,
        io::engine::Frame,
        io::engine::Message,
        io::engine::ParseTransportError,
        io::middleware::ConnectionLimitLayer,
        io::middleware::DeadlineHandle,
        io::middleware::DeadlineLayer,
        io::middleware::DeduplicateLayer,
        io::middleware::EventRateLimitLayer,
        io::middleware::Expires,
        io::middleware::OriginLayer,
        io::parser::Limits,
        io::parser::ParserError,
        io::parser::SocketIoPacket,
        io::value::Map,
        io::value::Number,
    );
    #[cfg(feature = "typed")]
    assert_all!(is_send_and_sync: io::typed::Binary, io::typed::Typed<u8>);
    #[cfg(feature = "msgpack")]
    is_send_and_sync::<io::parser::MsgpackParser>();
    is_send_and_sync::<io::test::TestClient>();
    is_send_and_sync::<io::test::TestClientBuilder>();
    is_send_and_sync::<io::test::TestError>();
    is_send_and_sync::<io::test::TestEvent>();
}

#[test]
fn futures_and_requests_are_send() {
    type Inner = std::future::Ready<Result<http::Response<axum::body::Body>, std::convert::Infallible>>;
    assert_all!(is_send:
        io::future::AckFuture<u8>,
        io::operators::AckStream<u8>,
        io::future::EventFuture,
        io::event::EventRequest,
        io::engine::ResponseBody<axum::body::Body>,
        io::future::ResponseFuture<Inner, axum::body::Body>,
        io::engine::EngineIoFuture<Inner, axum::body::Body>,
        io::middleware::future::HttpResponseFuture<Inner>,
        io::test::TestAck<u8>,
    );
}
