//! Acks that the server awaits.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tower_socketio::{
    AckError, EventError, Namespace, SocketIoConfig, SocketIoService, SocketRef,
    extract::AckSender,
    operators::{AckResponses, AckSource},
    test::TestClient,
};

use crate::support::*;

async fn joined() -> (TestServer, WebSocket, SocketRef) {
    let server = serve_namespace(Namespace::new()).await;
    let (client, id) = WebSocket::join(server.address, "40").await;
    let socket = server.io.socket(&id).unwrap();
    (server, client, socket)
}

#[tokio::test]
async fn an_ack_is_deserialized_as_the_requested_type() {
    let (_server, mut client, socket) = joined().await;
    let answer = tokio::spawn(socket.emit_with_ack::<(String, Option<u8>)>("ask", &(1, "a")));
    client.expect(r#"420["ask",1,"a"]"#).await;
    client.say(r#"430["x",7,"more"]"#).await;
    assert_eq!(soon(answer).await.unwrap().unwrap(), ("x".to_owned(), Some(7)));

    let answer = tokio::spawn(socket.emit_with_ack::<Option<u8>>("ask", &()));
    client.expect(r#"421["ask"]"#).await;
    client.say("431").await;
    assert_eq!(soon(answer).await.unwrap().unwrap(), None);

    let answer = tokio::spawn(socket.emit_with_ack::<Bytes>("ask", &Bytes::from_static(b"q")));
    client.expect(r#"451-2["ask",{"_placeholder":true,"num":0}]"#).await;
    client.expect_binary(b"q").await;
    client.say(r#"461-2[{"_placeholder":true,"num":0}]"#).await;
    client.say_binary(b"answer").await;
    assert_eq!(soon(answer).await.unwrap().unwrap(), "answer");

    let answer = tokio::spawn(socket.emit_with_ack::<u8>("ask", &()));
    client.expect(r#"423["ask"]"#).await;
    client.say(r#"433["no number"]"#).await;
    assert!(soon(answer).await.unwrap().unwrap_err().is_decode());
    assert_eq!(socket.pending_acks(), 0);
}

#[tokio::test]
async fn an_ack_that_times_out_leaves_the_table() {
    let (_server, mut client, socket) = joined().await;
    let error = socket.timeout(Duration::from_millis(10)).emit_with_ack::<()>("ask", &()).await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(socket.pending_acks(), 0);
    client.expect(r#"420["ask"]"#).await;
    client.say("430[]").await;
    client.is_quiet().await;
}

#[tokio::test]
async fn the_default_timeout_is_the_configured_one() {
    let server = serve_config(SocketIoConfig::new().ack_timeout(Duration::from_millis(10))).await;
    let (_client, id) = WebSocket::join(server.address, "40").await;
    let socket = server.io.socket(&id).unwrap();
    assert!(soon(socket.emit_with_ack::<()>("ask", &())).await.unwrap_err().is_timeout());
    let answers = soon(server.io.emit_with_ack::<()>("ask", &()).unwrap().responses()).await;
    assert!(answers.missing[0].1.is_timeout());
}

#[tokio::test]
async fn an_ack_whose_future_is_dropped_leaves_the_table() {
    let (_server, mut client, socket) = joined().await;
    let answer = socket.emit_with_ack::<()>("ask", &());
    assert_eq!(socket.pending_acks(), 1);
    drop(answer);
    assert_eq!(socket.pending_acks(), 0);
    client.expect(r#"420["ask"]"#).await;
    // Acks with an unknown id or without one are ignored.
    for packet in ["430[]", "4399[1]", "43[1]"] {
        client.say(packet).await;
    }
    client.is_quiet().await;
}

#[tokio::test]
async fn a_socket_that_leaves_ends_its_acks() {
    let (server, client, socket) = joined().await;
    let answer = socket.emit_with_ack::<()>("ask", &());
    let answers = server.io.emit_with_ack::<()>("ask", &()).unwrap();
    drop(client);
    assert!(soon(answer).await.unwrap_err().is_disconnected());
    let answers = soon(answers.responses()).await;
    assert!(answers.missing[0].1.is_disconnected());
    assert!(socket.emit_with_ack::<()>("ask", &()).await.unwrap_err().is_disconnected());
    assert_eq!(socket.pending_acks(), 0);
}

#[tokio::test]
async fn an_ack_that_on_connect_asks_for_comes_after_the_acceptance() {
    async fn joined(socket: SocketRef) {
        let impatient = socket.timeout(Duration::from_millis(10));
        let error: AckError = impatient.emit_with_ack::<()>("in vain", &()).await.unwrap_err();
        assert!(error.to_string().contains("on_connect"), "{error}");
        // A spawned task may await the ack.
        let answer = socket.emit_with_ack::<String>("who?", &());
        tokio::spawn(async move { socket.emit("hello", &answer.await.unwrap()).unwrap() });
    }
    let server = serve_namespace(Namespace::new().on_connect(joined).with_state(())).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.expect(r#"420["in vain"]"#).await;
    client.expect(r#"421["who?"]"#).await;
    client.say(r#"431["ada"]"#).await;
    client.expect(r#"42["hello","ada"]"#).await;
    assert_eq!(server.io.stats().panics, 0);
}

#[tokio::test]
async fn a_broadcast_collects_acks_and_reports_recipients_without_one() {
    let (server, mut a, _) = joined().await;
    let (mut b, id_b) = WebSocket::join(server.address, "40").await;
    let (mut c, id_c) = WebSocket::join(server.address, "40").await;
    let (d, id_d) = WebSocket::join(server.address, "40").await;
    let operator = server.io.timeout(PATIENCE);
    let mut answers = operator.emit_with_ack::<u8>("vote", "?").unwrap();
    assert_eq!(answers.remaining(), 4);
    a.expect(r#"420["vote","?"]"#).await;
    b.expect(r#"420["vote","?"]"#).await;
    a.say("430[1]").await;
    let (first, answer) = soon(answers.next()).await.unwrap();
    assert_ne!(id_of(&first), id_b);
    assert_eq!(answer.unwrap(), 1);
    b.say("430[2]").await;
    c.expect(r#"420["vote","?"]"#).await;
    c.say(r#"430["no number"]"#).await;
    b.is_quiet().await;
    c.is_quiet().await;
    skip(PATIENCE).await;
    let rest = soon(answers.responses()).await;
    assert_eq!(rest.answers.iter().map(|(source, vote)| (id_of(source), *vote)).collect::<Vec<_>>(), [(&*id_b, 2)]);
    let missing: Vec<_> = rest.missing.iter().map(|(source, error)| (id_of(source), error.is_timeout())).collect();
    assert_eq!(missing, [(&*id_c, false), (&*id_d, true)]);
    assert!(rest.missing[0].1.is_decode());
    drop(d);
    assert!(server.io.sockets().iter().all(|socket| socket.pending_acks() == 0));
}

fn id_of(source: &AckSource) -> &str {
    source.socket_id().expect("a socket of this node")
}

#[tokio::test]
async fn the_acks_of_a_broadcast_may_be_awaited() {
    let io = SocketIoService::new(SocketIoConfig::new()).io();
    let (mut a, b) = (Memory::join(&io).await, Memory::join(&io).await);
    let answers = io.emit_with_ack::<u8>("ask", &()).unwrap();
    let answers = tokio::spawn(async move { answers.await });
    a.expect(r#"420["ask"]"#).await;
    a.say("430[7]");
    drop(b);
    let AckResponses { answers, missing, .. } = soon(answers).await.unwrap();
    let [(AckSource::Local(id), 7)] = &answers[..] else { panic!("one answer, by a socket of this node: {answers:?}") };
    assert!(io.socket(id).is_some());
    assert!(missing.len() == 1 && missing[0].1.is_disconnected());
    let none = io.to("nowhere").emit_with_ack::<u8>("ask", &()).unwrap().await;
    assert!(none.answers.is_empty() && none.missing.is_empty());
}

#[tokio::test]
async fn a_broadcast_without_recipients_has_no_acks() {
    let (server, _client, _) = joined().await;
    let answers = soon(server.io.to("nowhere").emit_with_ack::<()>("ask", &()).unwrap().responses()).await;
    assert!(answers.answers.is_empty() && answers.missing.is_empty());
}

#[tokio::test]
async fn a_stream_of_answers_that_is_dropped_leaves_the_tables() {
    let (server, _client, socket) = joined().await;
    let answers = server.io.emit_with_ack::<()>("ask", &()).unwrap();
    assert_eq!(socket.pending_acks(), 1);
    drop(answers);
    assert_eq!(socket.pending_acks(), 0);
}

#[tokio::test]
async fn only_the_first_answer_to_an_ack_is_sent() {
    async fn fails(ack: AckSender) -> Result<(), EventError> {
        ack.send(&1).unwrap();
        Err(EventError::new("late"))
    }
    async fn panics(ack: AckSender) {
        ack.send(&2).unwrap();
        panic!("on purpose");
    }
    let server = serve_namespace(Namespace::new().on("fails", fails).on("panics", panics).with_state(())).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(r#"420["fails"]"#).await;
    client.expect("430[1]").await;
    client.say(r#"421["panics"]"#).await;
    client.expect("431[2]").await;
    client.is_quiet().await;
}

/// The effect of back-pressure: an ack that is not read does not complete its request.
#[tokio::test(start_paused = true)]
async fn an_ack_after_a_held_event_is_not_read() {
    let (sender, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let ask = move |socket: SocketRef| {
        let sender = sender.clone();
        async move { sender.send(socket.emit_with_ack::<u8>("question", &()).await).unwrap() }
    };
    let namespace = Namespace::new().on("ask", ask).with_state(());
    let config = SocketIoConfig::new().max_concurrent_events(1).namespace("/", namespace);
    let io = SocketIoService::new(config).io();
    let mut client = TestClient::connect(&io).await.unwrap();
    client.emit("ask", &()).await;
    client.next_event().await.ack(&1);
    assert_eq!(answers.recv().await.unwrap().unwrap(), 1);
    client.emit("ask", &()).await;
    let held = client.emit("ask", &());
    let question = client.next_event().await;
    question.ack(&2);
    assert!(answers.recv().await.unwrap().unwrap_err().is_timeout());
    held.await;
    client.next_event().await.ack(&3);
    assert_eq!(answers.recv().await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn an_ack_can_be_awaited_on_a_thread_without_a_runtime() {
    let (_server, mut client, socket) = joined().await;
    let asking = socket.clone();
    let asked = tokio::task::spawn_blocking(move || {
        std::thread::spawn(move || {
            let answer = block_on(asking.emit_with_ack::<u8>("ask", &()));
            let late = block_on(asking.timeout(Duration::from_millis(10)).emit_with_ack::<u8>("ask", &()));
            let many = asking.within(asking.id()).timeout(Duration::from_millis(10));
            let none = block_on(many.emit_with_ack::<u8>("ask", &()).unwrap().responses());
            (answer, late, none)
        })
        .join()
        .unwrap()
    });
    client.expect(r#"420["ask"]"#).await;
    client.say("430[7]").await;
    let (answer, late, none) = soon(asked).await.unwrap();
    assert_eq!(answer.unwrap(), 7);
    assert!(late.unwrap_err().is_timeout());
    assert!(none.missing[0].1.is_timeout());
}
