//! The example of `docs/recovery.md`.

use tower_socketio::{
    Namespace, RecoveryConfig, SocketIoConfig, SocketIoLayer, SocketRef,
    test::{TestClient, TestError},
};

#[tokio::test(start_paused = true)]
async fn a_client_comes_back() -> Result<(), TestError> {
    let counter = Namespace::new().on_connect(async |socket: SocketRef| socket.join("counter"));
    let config = SocketIoConfig::new().recovery(RecoveryConfig::new()).namespace("/", counter);
    let io = SocketIoLayer::new(config).io();

    let mut client = TestClient::connect(&io).await?;
    io.to("counter").emit("tick", &1).unwrap();
    assert_eq!(client.next::<u64>("tick").await, 1);

    io.to("counter").emit("tick", &2).unwrap(); // not read before the connection is closed
    let mut client = client.reconnect().await?;
    assert!(client.is_recovered());
    assert_eq!(client.next::<u64>("tick").await, 2);
    Ok(())
}
