//! The layers that are part of the crate.

mod connection_limit;
mod deadline;
mod deduplicate;
mod event_rate_limit;
mod origin;

use tower_socketio::{Namespace, SocketIo, SocketIoConfig, SocketIoService, test::TestClient};

use crate::support::*;

/// A server with one namespace, `/`, for clients in memory.
fn server(namespace: Namespace) -> SocketIo {
    SocketIoService::new(SocketIoConfig::new().namespace("/", namespace)).io()
}

/// A client of the user whom the query names.
async fn open(io: &SocketIo, user: &str) -> Memory {
    let mut client = Memory::open_with(TestClient::builder(io).query(&format!("user={user}")));
    assert!(client.text().await.starts_with("0{"));
    client
}

/// Joins. Returns the payload of the refusal, or `None` if the client is admitted.
async fn connect(client: &mut Memory) -> Option<serde_json::Value> {
    client.say("40");
    let reply = client.text().await;
    match reply.strip_prefix("44") {
        Some(error) => Some(json(error)),
        None => {
            assert!(reply.starts_with(r#"40{"sid":"#), "{reply}");
            None
        }
    }
}

async fn joined(io: &SocketIo, user: &str) -> Memory {
    let mut client = open(io, user).await;
    assert_eq!(connect(&mut client).await, None);
    client
}

/// Checks that no packet is in flight to a client.
async fn is_quiet(client: &mut Memory) {
    client.say("40/is-it-quiet");
    client.expect(r#"44/is-it-quiet,{"message":"Invalid namespace"}"#).await;
}
