//! Runs the examples as a user would.

use hyper::Method;
use serde_json::{Value, json as value};

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
async fn webtransport() {
    // `make interop` opens its page.
    let example = Example::start("webtransport").await;
    let hash: Vec<u8> = serde_json::from_str(get(example.address, "/certificate-hash").await.text()).unwrap();
    assert_eq!(hash.len(), 32);
    let client = Polling::join(example.address).await;
    assert_eq!(client.open["upgrades"], value!(["websocket", "webtransport"]));
    client.say(r#"420["transport"]"#).await;
    client.expect(r#"430["polling"]"#).await;
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

#[cfg(feature = "admin-ui")]
#[tokio::test]
async fn admin_ui() {
    let example = Example::start("admin-ui").await;
    let mut client = WebSocket::open(example.address).await;
    client.say(r#"40/admin,{"username":"admin","password":"wrong"}"#).await;
    client.expect(r#"44/admin,{"message":"invalid credentials"}"#).await;
    client.connect(r#"40/admin,{"username":"admin","password":"correct horse"}"#).await;
    assert!(client.text().await.starts_with(r#"42/admin,["session","#));
}

#[tokio::test]
async fn chat() {
    let example = Example::start("chat").await;
    assert!(get(example.address, "/").await.text().contains("socket.io.min.js"));
    let mut client = WebSocket::open(example.address).await;
    client.say("40/chat").await;
    client.expect(r#"44/chat,{"message":"choose a name first"}"#).await;
    assert_eq!(log_in(&example, "/user", r#"" ""#).await.status, 422);
    // No other device can reach a server on this address.
    get(example.address, "/invite").await.is(200, "null");
    let cookie = cookie(&log_in(&example, "/user", r#""Ada""#).await);
    let mut client = WebSocket::open_with(example.address, "", &[("cookie", &cookie)]).await;
    client.connect("40/chat").await;
    let rooms = json(&client.text().await);
    let names: Vec<_> = rooms[1].as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap()).collect();
    assert_eq!((&rooms[0], &*names), (&value!("rooms"), &["lobby", "garden", "kitchen"][..]));
    client.expect(r#"42/chat,["history","lobby",[]]"#).await;
    client.expect(r#"42/chat,["users",[{"id":0,"name":"Ada"}]]"#).await;
    client.say(r#"42/chat,0["message"," hi "]"#).await;
    let said = json(&client.text().await);
    assert_eq!(
        (&said[0], &said[1]["text"], &said[1]["user"]["name"]),
        (&value!("message"), &value!("hi"), &value!("Ada"))
    );
    client.expect("43/chat,0[]").await;
    client.say(r#"42/chat,1["join","cellar"]"#).await;
    client.expect(r#"43/chat,1[{"error":{"message":"there is no such room"}}]"#).await;
    // A client that reconnects names its room, and gets the last messages.
    let mut again = WebSocket::open_with(example.address, "", &[("cookie", &cookie)]).await;
    again.connect(r#"40/chat,{"room":"garden"}"#).await;
    assert_eq!(json(&again.text().await)[1][0], value!({"name": "lobby", "last": 1}));
    again.expect(r#"42/chat,["history","garden",[]]"#).await;
    again.expect(r#"42/chat,["users",[{"id":0,"name":"Ada"}]]"#).await;
    again.say(r#"42/chat,2["join","lobby"]"#).await;
    assert_eq!(json(&again.text().await)[2], value!([said[1]]));
}

#[cfg(feature = "typed")]
#[tokio::test]
async fn typed_events() {
    // The file that the client imports is the output of `cargo run -p example-typed-events -- --export`.
    assert_eq!(
        Example::output("typed-events", &["--export"]).await,
        include_str!("../examples/typed-events/events.ts")
    );
    let example = Example::start("typed-events").await;
    let (mut client, _) = WebSocket::join(example.address, "40").await;
    client.say(r#"42["join"]"#).await;
    client.expect(r#"420["who are you"]"#).await;
    client.say(r#"430["Ada"]"#).await;
    client.expect(r#"42["joined","Ada"]"#).await;
    client.say(r#"427["move",{"x":4,"y":1},{"x":4,"y":3}]"#).await;
    client.expect(r#"437["black"]"#).await;
    client.say(r#"428["move",{"x":4,"y":1},{"x":4,"y":8}]"#).await;
    client.expect(r#"438[{"error":{"message":"off the board"}}]"#).await;
    client.say(r#"429["distance",{"x":4,"y":1},{"x":2,"y":8}]"#).await;
    client.expect("439[7]").await;
}

/// Joins as a user. Returns the session and the list of users that the client receives first.
async fn visit(example: &Example, auth: Value) -> (WebSocket, Value, Value) {
    let (mut client, _) = WebSocket::join(example.address, &format!("40{auth}")).await;
    let session = json(&client.text().await);
    let users = json(&client.text().await);
    assert_eq!((&session[0], &users[0]), (&value!("session"), &value!("users")));
    (client, session[1].clone(), users[1].clone())
}

#[tokio::test]
async fn private_messaging() {
    let example = Example::start("private-messaging").await;
    let page = get(example.address, "/").await;
    assert!(page.text().contains("socket.io.min.js"));
    let mut client = WebSocket::open(example.address).await;
    client.say(r#"40{"session":"unknown"}"#).await;
    client.expect(r#"44{"message":"choose a name of 1 to 24 characters"}"#).await;

    let (mut ada, ada_session, users) = visit(&example, value!({"name": " Ada "})).await;
    let ada_id = ada_session["user"].as_str().unwrap();
    assert_eq!(users, value!([{"user": ada_id, "name": "Ada", "online": true}]));
    let (mut grace, grace_session, users) = visit(&example, value!({"name": "Grace"})).await;
    let grace_id = grace_session["user"].as_str().unwrap();
    assert_eq!(users.as_array().unwrap().len(), 2);
    let is = |name: &str, user: &str, online: bool| {
        format!("42{}", value!(["user", {"user": user, "name": name, "online": online}]))
    };
    let presence = |text: String| json(&text);
    assert_eq!(presence(ada.text().await), json(&is("Grace", grace_id, true)));
    // A second tab joins with the session: it is the same user, and other users are not notified again.
    let (mut tab, again, _) = visit(&example, value!({"session": grace_session["session"]})).await;
    assert_eq!(again, grace_session);

    // A message reaches all tabs of the recipient, and the sender's other tabs.
    ada.say(&format!("420{}", value!(["message", grace_id, "hi"]))).await;
    ada.expect("430[true]").await;
    let hi = value!(["message", {"from": ada_id, "to": grace_id, "text": "hi"}]);
    assert_eq!((json(&grace.text().await), json(&tab.text().await)), (hi.clone(), hi));
    tab.say(&format!("421{}", value!(["message", ada_id, "ho"]))).await;
    tab.expect("431[true]").await;
    let ho = value!(["message", {"from": grace_id, "to": ada_id, "text": "ho"}]);
    assert_eq!((json(&grace.text().await), json(&ada.text().await)), (ho.clone(), ho));
    for (to, text, error) in [("nobody", "x", "there is no such user"), (grace_id, "", "a message has 1 to 2000 bytes")]
    {
        ada.say(&format!("422{}", value!(["message", to, text]))).await;
        ada.expect(&format!("432{}", value!([{"error": {"message": error}}]))).await;
    }

    // The user is away after the last tab closes. Messages that are sent meanwhile are stored.
    drop(grace);
    tab.is_quiet().await;
    drop(tab);
    assert_eq!(presence(ada.text().await), json(&is("Grace", grace_id, false)));
    for number in 0..3 {
        ada.say(&format!("423{}", value!(["message", grace_id, format!("kept {number}")]))).await;
        ada.expect("433[false]").await;
    }
    let (mut grace, again, users) = visit(&example, value!({"session": grace_session["session"]})).await;
    assert_eq!(again, grace_session);
    assert!(users.as_array().unwrap().iter().all(|user| user["online"] == true));
    for number in 0..3 {
        let kept = value!(["message", {"from": ada_id, "to": grace_id, "text": format!("kept {number}")}]);
        assert_eq!(json(&grace.text().await), kept);
    }
    assert_eq!(presence(ada.text().await), json(&is("Grace", grace_id, true)));
    // They are delivered once.
    let (mut tab, ..) = visit(&example, value!({"session": grace_session["session"]})).await;
    tab.is_quiet().await;
}

#[tokio::test]
async fn recovery() {
    let mut example = Example::start("recovery").await;
    assert!(get(example.address, "/").await.text().contains("recovered"));
    let mut client = WebSocket::open(example.address).await;
    client.say("40").await;
    let ids = json(&client.text().await);
    let printed = |recovered: bool| format!("{} recovered: {recovered}", ids["sid"].as_str().unwrap());
    assert_eq!(example.line().await, printed(false));
    let first = json(&client.text().await);
    assert_eq!(first[0], "tick");
    drop(client);
    // A client that stays connected receives two ticks that the other one misses.
    let (mut other, _) = WebSocket::join(example.address, "40").await;
    assert!(example.line().await.ends_with("recovered: false"));
    let missed = [json(&other.text().await), json(&other.text().await)];
    let mut client = WebSocket::open(example.address).await;
    client.say(&format!("40{}", value!({"pid": ids["pid"], "offset": first[2]}))).await;
    assert_eq!(json(&client.text().await), ids);
    assert_eq!(example.line().await, printed(true));
    // The recovered client receives the missed ticks in order, and then at least one new tick.
    let last_missed = missed[1][1].as_u64().unwrap();
    for expected in first[1].as_u64().unwrap() + 1..=last_missed + 1 {
        assert_eq!(json(&client.text().await)[1], expected);
    }
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

/// Otherwise browsers request `/favicon.ico`, which no example has.
#[test]
fn every_page_has_an_icon() {
    let examples = std::fs::read_dir(crate::docs::folder().join("examples")).unwrap();
    let pages: Vec<_> =
        examples.map(|example| example.unwrap().path().join("index.html")).filter(|page| page.exists()).collect();
    assert!(pages.len() >= 4, "{pages:?}");
    for page in pages {
        assert!(std::fs::read_to_string(&page).unwrap().contains(r#"<link rel="icon""#), "{page:?}");
    }
}
