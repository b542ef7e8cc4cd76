//! Events and acks.

use tower_socketio::{Ack, Namespace, extract::Data};

use crate::support::*;

#[tokio::test]
async fn an_event_is_answered() {
    async fn echo(Data(value): Data<serde_json::Value>) -> Ack<serde_json::Value> {
        Ack(value)
    }
    let server = serve_namespace(Namespace::new().on("echo", echo)).await;
    let (mut client, id) = WebSocket::join(server.address, "40").await;
    assert_eq!(id.len(), 20);
    client.say(r#"420["echo",{"a":[1,2]}]"#).await;
    client.expect(r#"430[{"a":[1,2]}]"#).await;
    let client = Polling::join(server.address).await;
    client.say(r#"4212["echo","é"]"#).await;
    client.expect(r#"4312["é"]"#).await;
}
