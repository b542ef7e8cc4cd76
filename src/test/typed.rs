//! The methods of `TestClient` for typed events.

use std::future::Future;

use serde::{Serialize, de::DeserializeOwned};

use crate::typed::{AckType, ClientEvent, DeclaredEvent, ServerEvent};

use super::{ack::TestAck, client::TestClient};

impl TestClient {
    /// Emits a typed event of clients. See [`emit`](Self::emit).
    ///
    /// ```
    /// use tower_socketio::{Ack, Namespace, SocketIoConfig, SocketIoLayer, SocketRef, test::TestClient, typed::{Fallible, Typed}};
    ///
    /// tower_socketio::events! {
    ///     pub emit ServerToClientEvents {
    ///         "moved" => Moved { x: i32, y: i32 },
    ///     }
    ///     pub on ClientToServerEvents {
    ///         "move" => Move { x: i32, y: i32 },
    ///         "divide" => Divide { a: u32, b: u32 } -> Fallible<u32>,
    ///     }
    /// }
    ///
    /// async fn moved(socket: SocketRef, Typed(Move { x, y }): Typed<Move>) {
    ///     socket.emit_event(&Moved { x, y }).ok();
    /// }
    /// async fn divide(Typed(Divide { a, b }): Typed<Divide>) -> Result<Ack<u32>, &'static str> {
    ///     a.checked_div(b).map(Ack).ok_or("division by zero")
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), tower_socketio::test::TestError> {
    /// let namespace = Namespace::new().on_event(moved).on_event(divide);
    /// let io = SocketIoLayer::new(SocketIoConfig::new().namespace("/", namespace)).io();
    ///
    /// let mut client = TestClient::connect(&io).await?;
    /// client.emit_event(Move { x: 1, y: 2 }).await;
    /// assert_eq!(client.next_typed::<Moved>().await.y, 2);
    /// assert_eq!(client.emit_event_with_ack(Divide { a: 6, b: 3 }).await?, 2);
    /// let error = client.emit_event_with_ack(Divide { a: 6, b: 0 }).await.unwrap_err();
    /// assert_eq!(error.message(), "division by zero");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// See [`emit`](Self::emit).
    #[track_caller]
    pub fn emit_event<E>(&self, event: E) -> impl Future<Output = ()> + use<E>
    where
        E: ClientEvent + DeclaredEvent,
        E::Args: Serialize,
    {
        self.emit(E::NAME, &event.into_arguments())
    }

    /// Emits a typed event of clients and returns a future that waits for its response. An [`EventError`](crate::EventError) is
    /// returned as an error. See [`emit_with_ack`](Self::emit_with_ack).
    ///
    /// # Errors
    ///
    /// See [`emit_with_ack`](Self::emit_with_ack).
    ///
    /// # Panics
    ///
    /// See [`emit_with_ack`](Self::emit_with_ack).
    #[track_caller]
    pub fn emit_event_with_ack<E>(&self, event: E) -> TestAck<<E::Ack as AckType>::Value>
    where
        E: ClientEvent + DeclaredEvent,
        E::Args: Serialize,
        E::Ack: AckType,
    {
        self.emit_with_ack(E::NAME, &event.into_arguments()).errors_first()
    }

    /// Waits for the next event, which must be `E`. See [`next`](Self::next).
    ///
    /// # Panics
    ///
    /// See [`next`](Self::next).
    #[track_caller]
    pub fn next_typed<E>(&mut self) -> impl Future<Output = E>
    where
        E: ServerEvent + DeclaredEvent,
        E::Args: DeserializeOwned + Send + 'static,
    {
        let args = self.next::<E::Args>(E::NAME);
        async move { E::from_arguments(args.await) }
    }

    /// Like [`next_typed`](Self::next_typed), but skips other events.
    ///
    /// # Panics
    ///
    /// See [`wait_for`](Self::wait_for).
    #[track_caller]
    pub fn wait_for_typed<E>(&mut self) -> impl Future<Output = E>
    where
        E: ServerEvent + DeclaredEvent,
        E::Args: DeserializeOwned + Send + 'static,
    {
        let args = self.wait_for::<E::Args>(E::NAME);
        async move { E::from_arguments(args.await) }
    }
}
