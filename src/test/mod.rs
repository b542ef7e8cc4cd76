//! An in-process client, to test handlers without a network. Requires the feature `test-util`.
//!
//! A [`TestClient`] speaks the protocol with a server over an in-memory transport. Namespaces and their layers, extractors, rooms,
//! acks, limits and heartbeats work as over a WebSocket. No port is opened, and with tokio's paused clock, timers take no time.
//!
//! ```
//! use tower_socketio::{Ack, Namespace, SocketIoConfig, SocketIoLayer, SocketRef, extract::Data, test::TestClient};
//!
//! async fn message(socket: SocketRef, Data((room, text)): Data<(String, String)>) -> Ack<&'static str> {
//!     socket.to(room).emit("message", &text).ok();
//!     Ack("delivered")
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_socketio::test::TestError> {
//! let chat = Namespace::new()
//!     .on_connect(async |socket: SocketRef| socket.join("lobby"))
//!     .on("message", message);
//! let io = SocketIoLayer::new(SocketIoConfig::new().namespace("/", chat)).io();
//!
//! let (ada, mut grace) = (TestClient::connect(&io).await?, TestClient::connect(&io).await?);
//! let answer: String = ada.emit_with_ack("message", &("lobby", "hi")).await?;
//! assert_eq!(answer, "delivered");
//! assert_eq!(grace.next::<String>("message").await, "hi");
//! # Ok(())
//! # }
//! ```
//!
//! [The guide](crate::guide::testing) tests a whole chat.

mod ack;
mod builder;
mod client;
mod connect;
mod error;
mod event;
mod incoming;
mod replay;
#[cfg(feature = "typed")]
mod typed;
mod wire;

pub use self::{
    ack::TestAck,
    builder::TestClientBuilder,
    client::{Disconnected, TestClient},
    error::TestError,
    event::TestEvent,
    replay::play,
};
