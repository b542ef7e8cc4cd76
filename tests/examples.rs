//! The examples, run as a user would run them.

use hyper::Method;

use crate::support::*;

#[tokio::test]
async fn echo() {
    let example = Example::start("echo").await;
    let (mut client, _) = WebSocket::join(example.address, "40").await;
    client.say(r#"420["echo",1,"two"]"#).await;
    client.expect(r#"430[1,"two"]"#).await;
}

#[tokio::test]
async fn hyper_without_axum() {
    let example = Example::start("hyper").await;
    let (mut client, _) = WebSocket::join(example.address, "40").await;
    client.say(r#"420["echo",1]"#).await;
    client.expect("430[1]").await;
    let client = Polling::join(example.address).await;
    client.say(r#"420["echo",1]"#).await;
    client.expect("430[1]").await;
    get(example.address, "/").await.is(200, "everything else\n");
}

async fn log_in(example: &Example, path: &str, body: &'static str) -> Reply {
    send(example.address, Method::POST, path, &[("content-type", "application/json")], body).await
}

fn cookie(reply: &Reply) -> String {
    assert!(reply.status.is_success(), "{}", reply.text());
    reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn auth() {
    let example = Example::start("auth").await;
    let mut client = WebSocket::open(example.address).await;
    client.say("40/members").await;
    client.expect(r#"44/members,{"message":"Unauthorized"}"#).await;
    let wrong = log_in(&example, "/login", r#"{"name":"ada","password":"babbage"}"#).await;
    assert_eq!(wrong.status, 401);
    let cookie = cookie(&log_in(&example, "/login", r#"{"name":"ada","password":"lovelace"}"#).await);
    let mut client = WebSocket::open_with(example.address, "", &[("cookie", &cookie)]).await;
    client.connect("40/members").await;
    client.expect(r#"42/members,["welcome","ada"]"#).await;
    client.say(r#"42/members,0["who am i?"]"#).await;
    client.expect(r#"43/members,0["ada"]"#).await;
}

#[tokio::test]
async fn chat() {
    let example = Example::start("chat").await;
    assert!(get(example.address, "/").await.text().contains("socket.io.min.js"));
    let mut client = WebSocket::open(example.address).await;
    client.say("40/chat").await;
    client.expect(r#"44/chat,{"message":"choose a name first"}"#).await;
    assert_eq!(log_in(&example, "/name", r#"" ""#).await.status, 422);
    let cookie = cookie(&log_in(&example, "/name", r#""Ada""#).await);
    let mut client = WebSocket::open_with(example.address, "", &[("cookie", &cookie)]).await;
    client.connect("40/chat").await;
    client.expect(r#"42/chat,["rooms",["lobby","garden","kitchen"]]"#).await;
    client.expect(r#"42/chat,["names",["Ada"]]"#).await;
    client.say(r#"42/chat,0["message"," hi "]"#).await;
    client.expect(r#"42/chat,["message","Ada","hi"]"#).await;
    client.expect("43/chat,0[]").await;
    client.say(r#"42/chat,1["join","cellar"]"#).await;
    client.expect(r#"43/chat,1[{"error":{"message":"there is no such room"}}]"#).await;
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn metrics() {
    let example = Example::start("metrics").await;
    let (mut client, _) = WebSocket::join(example.address, "40").await;
    client.say(r#"420["echo",1]"#).await;
    client.expect("430[1]").await;
    client.connect("40/room/7,").await;
    let reply = get(example.address, "/metrics").await;
    assert!(reply.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "# HELP socketio_connections Connections that are open",
        r#"socketio_connections{transport="websocket",protocol="4"} 1"#,
        r#"socketio_events_received_total{namespace="/",event="echo"} 1"#,
        r#"socketio_event_duration_seconds_bucket{namespace="/",event="echo",le="+Inf"} 1"#,
        r#"socketio_sockets{namespace="/room/{id}"} 1"#,
        r#"socketio_rooms{namespace="/"} 1"#,
    ] {
        assert!(reply.text().lines().any(|found| found == line), "no {line} in\n{}", reply.text());
    }
}
