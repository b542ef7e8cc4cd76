//! The methods that emit typed events.

use serde::de::DeserializeOwned;

use crate::{
    io::{NamespaceRef, SocketIo},
    server::EmitError,
    socket::{AckFuture, AckStream, BroadcastOperator, EmitOperator, RemoteSocket, SocketRef},
};

use super::ServerEvent;

macro_rules! emit_event {
    ($($ty:ident)*) => {$(
        impl $ty {
            #[doc = concat!("Emits a typed event. See [`", stringify!($ty), "::emit`].")]
            ///
            /// # Errors
            ///
            /// See [`emit`](Self::emit).
            pub fn emit_event<E: ServerEvent>(&self, event: &E) -> Result<(), EmitError> {
                self.emit(E::NAME, &event.args())
            }
        }
    )*};
}

emit_event!(SocketRef EmitOperator RemoteSocket BroadcastOperator SocketIo NamespaceRef);

macro_rules! ask_one {
    ($($ty:ident)*) => {$(
        impl $ty {
            #[doc = concat!("Emits a typed event and requests an ack. See [`", stringify!($ty), "::emit_with_ack`].")]
            pub fn emit_event_with_ack<E>(&self, event: &E) -> AckFuture<E::Ack>
            where
                E: ServerEvent,
                E::Ack: DeserializeOwned,
            {
                self.emit_with_ack(E::NAME, &event.args())
            }
        }
    )*};
}

ask_one!(SocketRef EmitOperator);

macro_rules! ask_many {
    ($($ty:ident)*) => {$(
        impl $ty {
            #[doc = concat!(
                "Emits a typed event and requests an ack from every recipient. See [`", stringify!($ty), "::emit_with_ack`]."
            )]
            ///
            /// # Errors
            ///
            /// See [`emit`](Self::emit).
            pub fn emit_event_with_ack<E>(&self, event: &E) -> Result<AckStream<E::Ack>, EmitError>
            where
                E: ServerEvent,
                E::Ack: DeserializeOwned,
            {
                self.emit_with_ack(E::NAME, &event.args())
            }
        }
    )*};
}

ask_many!(BroadcastOperator SocketIo NamespaceRef);
