//! Sessions that move from long-polling.

use super::*;

#[tokio::test]
async fn handshakes_offer_it_as_an_upgrade_if_it_is_listed() {
    async fn upgrades(config: SocketIoConfig, query: &str) -> serde_json::Value {
        let server = server(config.allow_eio3(true)).await;
        let reply = get(server.address, &format!("/socket.io/?transport=polling&{query}")).await;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        serde_json::Deserializer::from_str(&text[text.find('{').unwrap()..])
            .into_iter::<serde_json::Value>()
            .next()
            .unwrap()
            .unwrap()["upgrades"]
            .take()
    }
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let without = [Transport::Polling, Transport::WebTransport];
    assert_eq!(upgrades(SocketIoConfig::new(), "EIO=4").await, json(r#"["websocket"]"#));
    assert_eq!(upgrades(config(), "EIO=4").await, json(r#"["websocket","webtransport"]"#));
    assert_eq!(upgrades(config(), "EIO=3").await, json(r#"["websocket"]"#));
    assert_eq!(upgrades(config().transports(without), "EIO=4").await, json(r#"["webtransport"]"#));
    assert_eq!(upgrades(config().transports(without), "EIO=3").await, json("[]"));
    assert_eq!(upgrades(config().allow_upgrades(false), "EIO=4").await, json("[]"));
}

#[tokio::test]
async fn a_session_moves_from_long_polling() {
    let server = server(config()).await;
    let client = Polling::join(server.address).await;
    let socket = server.io.sockets().remove(0);
    let (mut stream, served) = WebTransport::upgrade(&server.io, &client.sid).await;
    let (poll, ()) = tokio::join!(client.poll(), async {
        let polled = socket.clone();
        until(move || polled.is_writable()).await;
        stream.say("2probe").await;
        stream.expect("3probe").await;
    });
    poll.is(200, "6");
    assert_eq!(socket.transport(), Transport::Polling);
    client.say(r#"42["echo",1]"#).await;
    stream.say("5").await;
    stream.expect(r#"42["echo",1]"#).await;
    assert_eq!(socket.transport(), Transport::WebTransport);
    client.poll().await.refused(400, 3, "Bad request");
    // Frames may be as large as those of a new session.
    let long = "x".repeat(100_000);
    stream.say(&format!(r#"42["echo","{long}"]"#)).await;
    stream.expect(&format!(r#"42["echo","{long}"]"#)).await;
    stream.say("1").await;
    stream.expect_end().await;
    soon(served).await.unwrap().unwrap();
    server.is_empty().await;
}

#[tokio::test]
async fn sessions_that_cannot_be_upgraded_are_left_alone() {
    async fn refuse(io: &SocketIo, sid: &str, error: AcceptError) {
        let (client, served) = WebTransport::upgrade(io, sid).await;
        refused(client, served, error).await;
    }
    let server = server(config().allow_eio3(true)).await;
    // On a WebSocket.
    let (mut websocket, _) = WebSocket::join(server.address, "40").await;
    refuse(&server.io, &websocket.sid.clone(), AcceptError::CannotUpgrade).await;
    websocket.say(r#"42["echo",1]"#).await;
    websocket.expect(r#"42["echo",1]"#).await;
    // In revision 3.
    let reply = get(server.address, "/socket.io/?EIO=3&transport=polling").await;
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let sid = text.split(r#""sid":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    refuse(&server.io, &sid, AcceptError::CannotUpgrade).await;
    // On WebTransport: opened there, being upgraded, and upgraded.
    let (mut direct, _served) = WebTransport::stream(&server.io);
    let opened = direct.open_session().await;
    refuse(&server.io, opened["sid"].as_str().unwrap(), AcceptError::CannotUpgrade).await;
    let client = Polling::join(server.address).await;
    let (mut stream, _served) = WebTransport::upgrade(&server.io, &client.sid).await;
    stream.say("2probe").await;
    stream.expect("3probe").await;
    refuse(&server.io, &client.sid, AcceptError::CannotUpgrade).await;
    stream.say("5").await;
    stream.say(r#"42["echo",1]"#).await;
    stream.expect(r#"42["echo",1]"#).await;
    refuse(&server.io, &client.sid, AcceptError::CannotUpgrade).await;
    stream.say("1").await;
    stream.expect_end().await;
    refuse(&server.io, &client.sid, AcceptError::UnknownSession).await;
    // Upgrades are turned off.
    let server = self::server(config().allow_upgrades(false)).await;
    let client = Polling::join(server.address).await;
    refuse(&server.io, &client.sid, AcceptError::CannotUpgrade).await;
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
}

#[tokio::test]
async fn a_probe_that_fails_leaves_the_session_on_long_polling() {
    let server = server(config()).await;
    let client = Polling::join(server.address).await;
    for nonsense in ["4hello", "2wrong", "3", "x", ""] {
        let (mut stream, served) = WebTransport::upgrade(&server.io, &client.sid).await;
        stream.say(nonsense).await;
        stream.expect_end().await;
        assert_eq!(soon(served).await.unwrap(), Ok(()));
        client.say(r#"42["echo",1]"#).await;
        client.expect(r#"42["echo",1]"#).await;
    }
    let (mut stream, served) = WebTransport::upgrade(&server.io, &client.sid).await;
    stream.say("2probe").await;
    stream.expect("3probe").await;
    served.abort();
    stream.expect_end().await;
    // The next one may begin.
    let (mut stream, _served) = WebTransport::upgrade(&server.io, &client.sid).await;
    stream.say("2probe").await;
    stream.expect("3probe").await;
}

#[tokio::test]
async fn a_probe_that_falls_silent_ends_and_the_session_lives() {
    let config = config().upgrade_timeout(PATIENCE).ping_interval(100 * PATIENCE);
    let server = server(config).await;
    let client = Polling::join(server.address).await;
    let (mut stream, served) = WebTransport::upgrade(&server.io, &client.sid).await;
    stream.say("2probe").await;
    stream.expect("3probe").await;
    skip(PATIENCE).await;
    assert_eq!(soon(served).await.unwrap(), Ok(()));
    stream.expect_end().await;
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
}

#[tokio::test]
async fn a_client_may_probe_both_streams_and_take_either() {
    for takes_webtransport in [true, false] {
        let server = server(config()).await;
        let client = Polling::join(server.address).await;
        let (mut stream, served) = WebTransport::upgrade(&server.io, &client.sid).await;
        let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
        let mut websocket = WebSocket::raw(server.address, &target, &[]).await.unwrap();
        stream.say("2probe").await;
        websocket.say("2probe").await;
        stream.expect("3probe").await;
        websocket.expect("3probe").await;
        client.say(r#"42["echo",1]"#).await;
        let socket = server.io.sockets().remove(0);
        if takes_webtransport {
            stream.say("5").await;
            stream.expect(r#"42["echo",1]"#).await;
            websocket.expect_close().await;
            assert_eq!(socket.transport(), Transport::WebTransport);
        } else {
            websocket.say("5").await;
            websocket.expect(r#"42["echo",1]"#).await;
            stream.expect_end().await;
            assert_eq!(soon(served).await.unwrap(), Ok(()));
            assert_eq!(socket.transport(), Transport::WebSocket);
        }
    }
}
