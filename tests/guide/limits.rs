//! The example of `docs/limits.md`.

use tower_socketio::{
    SlowClientPolicy, SocketIoConfig, SocketIoLayer,
    test::{TestClient, TestError},
};

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_seen() -> Result<(), TestError> {
    let config = SocketIoConfig::new().max_buffered_bytes(10_000).slow_client_policy(SlowClientPolicy::DropPacket);
    let io = SocketIoLayer::new(config).io();
    let mut client = TestClient::connect(&io).await?;
    let socket = client.socket().unwrap();
    assert!(socket.is_writable());

    client.stop_reading();
    socket.emit("n", &0).unwrap(); // queued: the transport is blocked
    tokio::task::yield_now().await;
    assert!(!socket.is_writable());
    let waiting = socket.buffered_bytes();
    socket.volatile().emit("position", &(1, 2)).unwrap(); // dropped without an error
    assert_eq!(socket.buffered_bytes(), waiting);

    let dropped = (1..).find_map(|number| socket.emit("n", &number).err()).unwrap();
    assert!(dropped.is_slow_client() && socket.is_connected());
    assert!(socket.buffered_bytes() > 9_900);
    assert_eq!(io.stats().slow_clients, 1);

    client.resume_reading();
    socket.drained().await;
    assert_eq!(socket.buffered_bytes(), 0);
    assert_eq!(client.next::<u8>("n").await, 0);
    assert_eq!(client.next::<u8>("n").await, 1);
    Ok(())
}
