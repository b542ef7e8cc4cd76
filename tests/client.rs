//! The client, the connection and the request of a socket.

use tower_socketio::{DisconnectReason, Namespace, SocketIoConfig, Transport, engine::ProtocolVersion};

use crate::support::*;

#[tokio::test]
async fn the_sockets_of_a_client_share_its_connection_and_its_request() {
    let config = SocketIoConfig::new().namespace("/a", Namespace::new());
    let server = serve_config(config).await;
    let mut client = WebSocket::open_with(server.address, "&x=1", &[("user-agent", "test")]).await;
    client.connect("40").await;
    client.connect("40/a").await;
    let socket = server.io.sockets().remove(0);
    assert_eq!(socket.conn().id(), client.sid);
    assert_eq!(socket.conn().protocol(), ProtocolVersion::V4);
    assert_eq!(socket.conn().transport(), Transport::WebSocket);
    assert!(socket.conn().remote_addr().unwrap().ip().is_loopback());
    assert_eq!(socket.conn().request().method(), "GET");
    assert_eq!(socket.client().request().uri().query(), Some("EIO=4&transport=websocket&x=1"));
    assert_eq!(socket.request().headers()["user-agent"], "test");
    let mut namespaces: Vec<_> = socket.client().sockets().iter().map(|s| s.namespace().name().to_owned()).collect();
    namespaces.sort();
    assert_eq!(namespaces, ["/", "/a"]);
    assert_eq!(socket.client().conn().request().remote_addr(), socket.handshake().remote_addr());
    for debug in [format!("{:?}", socket.client()), format!("{:?}", socket.conn()), format!("{:?}", socket.request())] {
        assert!(!debug.contains(&client.sid) && !debug.contains("x=1"), "{debug}");
    }
}

#[tokio::test]
async fn a_client_is_disconnected_from_all_namespaces() {
    let server = serve_config(SocketIoConfig::new().namespace("/a", Namespace::new())).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.connect("40/a").await;
    server.io.sockets()[0].client().disconnect();
    let mut said = [client.text().await, client.text().await];
    said.sort();
    assert_eq!(said, ["41", "41/a,"]);
    client.expect_close().await;
}

#[tokio::test]
async fn a_connection_is_closed_after_its_queued_packets() {
    let (sender, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    let namespace = Namespace::new().on_disconnect(move |reason: DisconnectReason| {
        sender.send(reason).unwrap();
        async {}
    });
    let server = serve_namespace(namespace.with_state(())).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    let socket = server.io.sockets().remove(0);
    let conn = socket.conn();
    assert!(conn.is_open());
    socket.emit("last", &()).unwrap();
    conn.close();
    assert!(!conn.is_open());
    client.expect(r#"42["last"]"#).await;
    client.expect_close().await;
    let reason = soon(reasons.recv()).await.unwrap();
    assert_eq!((reason.as_str(), reason.detail()), ("forced close", Some("closed by the server")));
}

#[tokio::test]
async fn a_connection_is_aborted_without_its_queued_packets() {
    let (sender, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    let namespace = Namespace::new().on_disconnect(move |reason: DisconnectReason| {
        sender.send(reason).unwrap();
        async {}
    });
    let server = serve_namespace(namespace.with_state(())).await;
    let client = Polling::join(server.address).await;
    let conn = server.io.sockets()[0].conn();
    server.io.emit("lost", &()).unwrap();
    conn.abort();
    assert!(!conn.is_open());
    let reason = soon(reasons.recv()).await.unwrap();
    assert_eq!((reason.as_str(), reason.detail()), ("forced close", Some("closed by the server")));
    client.is_gone().await;
    // With `close`, the next poll gets what is queued.
    let client = Polling::join(server.address).await;
    server.io.emit("kept", &()).unwrap();
    server.io.sockets()[0].conn().close();
    client.expect(r#"42["kept"]"#).await;
}

#[tokio::test]
async fn connections_are_found_by_the_id_of_their_session() {
    let server = serve_config(SocketIoConfig::new()).await;
    let idle = WebSocket::open(server.address).await;
    let (client, id) = WebSocket::join(server.address, "40").await;
    let polling = Polling::open(server.address).await;
    let mut ids: Vec<_> = server.io.conns().iter().map(|conn| conn.id().to_owned()).collect();
    ids.sort();
    let mut expected = [idle.sid.clone(), client.sid.clone(), polling.sid.clone()];
    expected.sort();
    assert_eq!(ids, expected);
    let conn = server.io.conn(&client.sid).unwrap();
    assert_eq!(conn.client().sockets()[0].id().as_str(), id);
    assert_eq!(server.io.conn(&polling.sid).unwrap().transport(), Transport::Polling);
    assert!(server.io.conn(&idle.sid).unwrap().client().sockets().is_empty());
    // Neither the id of a socket nor that of a session that has ended.
    assert!(server.io.conn(&id).is_none());
    drop(client);
    until(|| server.io.conns().len() == 2).await;
    assert!(server.io.conn(conn.id()).is_none() && !conn.is_open());
    // One that has joined nothing can be closed, too.
    let mut idle = idle;
    server.io.conn(&idle.sid).unwrap().close();
    idle.expect_close().await;
}
