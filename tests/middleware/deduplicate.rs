use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tower::timeout::TimeoutLayer;
use tower_socketio::{
    Ack, EventError, Namespace, SocketIoConfig, SocketIoService,
    event::EventRequest,
    extract::{AckSender, Data},
    handler::EventHandler,
    middleware::DeduplicateLayer,
};

use super::*;

/// A handler that answers with the number of its calls.
fn counting() -> Namespace {
    let calls = Arc::new(AtomicUsize::new(0));
    Namespace::new().on("count", move || {
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ack(call) }
    })
}

fn user(request: &EventRequest) -> Option<String> {
    let user = request.socket().handshake().query_param("user")?;
    (!user.is_empty()).then(|| user.into_owned())
}

/// Sends events, each of which is answered by the text beside it.
async fn talk(client: &mut Memory, lines: &[(&str, &str)]) {
    for (event, answer) in lines {
        client.say(event);
        client.expect(answer).await;
    }
}

#[tokio::test]
async fn a_retry_gets_the_response_of_the_first() {
    let io = server(counting().event_layer(DeduplicateLayer::by_argument(0)));
    let mut client = joined(&io, "").await;
    let lines = [
        (r#"420["count","a"]"#, "430[1]"),
        (r#"421["count","a"]"#, "431[1]"),
        (r#"422["count","b"]"#, "432[2]"),
        (r#"423["count",7,"more"]"#, "433[3]"),
        (r#"424["count",7]"#, "434[3]"),
        // Values that are not valid keys.
        (r#"425["count"]"#, "435[4]"),
        (r#"426["count",null]"#, "436[5]"),
        (r#"427["count",1.5]"#, "437[6]"),
        (r#"428["count",{"id":1}]"#, "438[7]"),
        (r#"429["count",{"id":1}]"#, "439[8]"),
    ];
    talk(&mut client, &lines).await;
    let long = "x".repeat(600);
    for (id, call) in [(10, 9), (11, 10)] {
        client.say(&format!(r#"42{id}["count","{long}"]"#));
        client.expect(&format!("43{id}[{call}]")).await;
    }
}

#[tokio::test]
async fn the_key_may_be_an_argument_or_a_field_or_computed() {
    let layers: [(DeduplicateLayer, &str); 3] = [
        (DeduplicateLayer::by_argument(1), r#""x","a""#),
        (DeduplicateLayer::by_field("id"), r#"{"id":"a"},"x""#),
        (DeduplicateLayer::new(|event| event.args::<(u8, u8)>().ok().map(|(a, b)| a + b)), "3,4"),
    ];
    for (layer, args) in layers {
        let io = server(counting().event_layer(layer));
        let mut client = joined(&io, "").await;
        for id in 0..3 {
            client.say(&format!(r#"42{id}["count",{args}]"#));
            client.expect(&format!("43{id}[1]")).await;
        }
        talk(&mut client, &[(r#"423["count","other"]"#, "433[2]"), (r#"424["count","other"]"#, "434[3]")]).await;
    }
}

#[tokio::test]
async fn a_repetition_waits_while_the_first_is_handled() {
    let (gate, calls) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (waiting, count) = (gate.clone(), calls.clone());
    let namespace = Namespace::new()
        .on("wait", move || {
            let gate = waiting.clone();
            let call = count.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                gate.notified().await;
                Ack(call)
            }
        })
        .event_layer(DeduplicateLayer::by_argument(0));
    let io = server(namespace.with_state(()));
    let mut client = joined(&io, "").await;
    for id in 0..3 {
        client.say(&format!(r#"42{id}["wait","a"]"#));
    }
    is_quiet(&mut client).await;
    gate.notify_one();
    let mut answers = [client.text().await, client.text().await, client.text().await];
    answers.sort();
    assert_eq!(answers, ["430[1]", "431[1]", "432[1]"]);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_event_that_was_given_up_is_handled_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let namespace = Namespace::new()
        .on("panic", move || {
            let call = count.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                tokio::task::yield_now().await;
                assert!(call > 1, "on purpose");
                Ack(call)
            }
        })
        .on("fail", {
            let calls = AtomicUsize::new(0);
            let fail = Arc::new(move || calls.fetch_add(1, Ordering::SeqCst) + 1);
            move || {
                let call = fail();
                async move { if call > 1 { Ok(Ack(call)) } else { Err(EventError::new("try again")) } }
            }
        })
        .event_layer(DeduplicateLayer::by_argument(0));
    let io = server(namespace.with_state(()));
    let mut client = joined(&io, "").await;
    // The second event waits for the first, which ends without an answer.
    client.say(r#"420["panic","a"]"#);
    client.say(r#"421["panic","a"]"#);
    client.expect(r#"430[{"error":{"message":"internal error"}}]"#).await;
    client.expect("431[2]").await;
    let lines = [
        (r#"420["fail","a"]"#, r#"430[{"error":{"message":"try again"}}]"#),
        (r#"421["fail","a"]"#, "431[2]"),
        (r#"422["fail","a"]"#, "432[2]"),
    ];
    talk(&mut client, &lines).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_on_either_side_gives_the_event_up() {
    let once = DeduplicateLayer::by_argument(0);
    let timeout = || TimeoutLayer::new(Duration::from_secs(5));
    let slow_at_first = || {
        let calls = Arc::new(AtomicUsize::new(0));
        move || {
            let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                tokio::time::sleep(Duration::from_secs(if call < 3 { 10 } else { 1 })).await;
                Ack(call)
            }
        }
    };
    let namespaces = [
        Namespace::new().on("slow", slow_at_first()).event_layer(timeout()).event_layer(once.clone()),
        Namespace::new().on("slow", slow_at_first()).event_layer(once).event_layer(timeout()),
    ];
    for namespace in namespaces {
        let io = server(namespace.with_state(()));
        let mut client = joined(&io, "").await;
        let lines = [
            (r#"420["slow","a"]"#, r#"430[{"error":{"message":"request timed out"}}]"#),
            (r#"421["slow","a"]"#, r#"431[{"error":{"message":"request timed out"}}]"#),
            (r#"422["slow","a"]"#, "432[3]"),
            (r#"423["slow","a"]"#, "433[3]"),
        ];
        talk(&mut client, &lines).await;
    }
}

#[tokio::test]
async fn an_answer_that_comes_later_is_remembered_too() {
    let acks: Arc<Mutex<Vec<AckSender>>> = Arc::default();
    let held = acks.clone();
    let namespace = Namespace::new()
        .on("later", move |ack: AckSender| {
            held.lock().unwrap().push(ack);
            async {}
        })
        .event_layer(DeduplicateLayer::by_argument(0));
    let io = server(namespace.with_state(()));
    let mut client = joined(&io, "").await;
    client.say(r#"420["later","a"]"#);
    client.say(r#"421["later","a"]"#);
    is_quiet(&mut client).await;
    let ack = acks.lock().unwrap().pop().unwrap();
    ack.send(&("x", 1)).unwrap();
    client.expect(r#"430["x",1]"#).await;
    client.expect(r#"431["x",1]"#).await;
    talk(&mut client, &[(r#"422["later","a"]"#, r#"432["x",1]"#)]).await;
    assert!(acks.lock().unwrap().is_empty());
    // An event without an answer is not handled again.
    client.say(r#"423["later","b"]"#);
    is_quiet(&mut client).await;
    acks.lock().unwrap().clear();
    client.say(r#"424["later","b"]"#);
    is_quiet(&mut client).await;
    assert!(acks.lock().unwrap().is_empty());
}

#[tokio::test]
async fn binary_answers_are_remembered() {
    let namespace = Namespace::new()
        .on("file", |Data((_, data)): Data<(String, bytes::Bytes)>| async move { Ack(data) })
        .event_layer(DeduplicateLayer::by_argument(0));
    let io = server(namespace.with_state(()));
    let mut client = joined(&io, "").await;
    for (id, content) in [(0, "one"), (1, "two")] {
        client.say(&format!(r#"451-{id}["file","a",{{"_placeholder":true,"num":0}}]"#));
        client.send(tower_socketio::engine::Packet::binary(content));
        client.expect(&format!(r#"461-{id}[{{"_placeholder":true,"num":0}}]"#)).await;
        assert_eq!(client.packet().await, Some(tower_socketio::engine::Packet::binary("one")));
    }
}

#[tokio::test]
async fn sockets_do_not_share_a_memory_unless_they_are_one_users() {
    let io = server(counting().event_layer(DeduplicateLayer::by_argument(0)));
    for call in 1..3 {
        let mut client = joined(&io, "ann").await;
        talk(&mut client, &[(r#"420["count","a"]"#, &format!("430[{call}]"))]).await;
    }
    let io = server(counting().event_layer(DeduplicateLayer::by_argument(0).scope(user)));
    for (name, call) in [("ann", 1), ("bob", 2), ("ann", 1), ("", 3), ("", 4)] {
        let mut client = joined(&io, name).await;
        for _ in 0..2 {
            talk(&mut client, &[(r#"420["count","a"]"#, &format!("430[{call}]"))]).await;
        }
    }
}

#[tokio::test]
async fn a_recovered_client_gets_events_emitted_to_its_lost_socket() {
    let gate = Arc::new(Notify::new());
    let waiting = gate.clone();
    let namespace = Namespace::new()
        .on("wait", move || {
            let gate = waiting.clone();
            async move {
                gate.notified().await;
                Ack("done")
            }
        })
        .event_layer(DeduplicateLayer::by_argument(0).scope(user));
    let io = server(namespace.with_state(()));
    let mut client = joined(&io, "ann").await;
    client.say(r#"420["wait","a"]"#);
    is_quiet(&mut client).await;
    drop(client);
    until(|| io.stats().connections == 0).await;
    let mut client = joined(&io, "ann").await;
    client.say(r#"421["wait","a"]"#);
    is_quiet(&mut client).await;
    gate.notify_one();
    client.expect(r#"431["done"]"#).await;
}

#[tokio::test]
async fn events_and_namespaces_have_separate_keys() {
    let once = DeduplicateLayer::by_argument(0).scope(user);
    let answers = |name: &'static str| move || async move { Ack(name) };
    let (a, b) = (answers("a").layer(once.clone()), answers("b").layer(once.clone()));
    let config = SocketIoConfig::new()
        .namespace("/", Namespace::new().on("a", a).on("b", b))
        .namespace("/c", Namespace::new().on("a", answers("c").layer(once)));
    let io = SocketIoService::new(config).io();
    let mut client = joined(&io, "ann").await;
    client.say("40/c");
    assert!(client.text().await.starts_with("40/c,"));
    let lines =
        [(r#"420["a",1]"#, r#"430["a"]"#), (r#"421["b",1]"#, r#"431["b"]"#), (r#"42/c,2["a",1]"#, r#"43/c,2["c"]"#)];
    talk(&mut client, &lines).await;
}

#[tokio::test(start_paused = true)]
async fn a_memory_is_bounded_by_count_and_age() {
    let once = DeduplicateLayer::by_argument(0).capacity(2).max_age(Duration::from_secs(15)).max_scopes(1).scope(user);
    let io = server(counting().event_layer(once));
    let mut client = joined(&io, "ann").await;
    let lines = [
        (r#"420["count","a"]"#, "430[1]"),
        (r#"421["count","b"]"#, "431[2]"),
        (r#"422["count","c"]"#, "432[3]"),
        (r#"423["count","b"]"#, "433[2]"),
        (r#"424["count","a"]"#, "434[4]"),
    ];
    talk(&mut client, &lines).await;
    tokio::time::advance(Duration::from_secs(14)).await;
    talk(&mut client, &[(r#"425["count","a"]"#, "435[4]")]).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    talk(&mut client, &[(r#"426["count","a"]"#, "436[5]")]).await;
    // The events of two other users evict this one.
    for (name, call) in [("bob", 6), ("eve", 7)] {
        let mut other = joined(&io, name).await;
        talk(&mut other, &[(r#"420["count","a"]"#, &format!("430[{call}]"))]).await;
    }
    talk(&mut client, &[(r#"427["count","a"]"#, "437[8]")]).await;
}

#[tokio::test]
async fn malformed_arguments_end_the_connection_as_ever() {
    let once = DeduplicateLayer::by_argument(0);
    let io = server(Namespace::new().on("count", (|| async { Ack(()) }).layer(once)).with_state(()));
    let mut client = joined(&io, "").await;
    client.say(r#"420["count","a",}]"#);
    assert_eq!(client.packet().await, None);
}

#[tokio::test]
async fn failures_do_not_crowd_answers_out() {
    let calls = Arc::new(AtomicUsize::new(0));
    let namespace = Namespace::new().on("pay", move |Data(key): Data<String>| {
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        async move { if key == "good" { Ok(Ack(call)) } else { Err(EventError::new("no")) } }
    });
    let io = server(namespace.event_layer(DeduplicateLayer::by_argument(0).capacity(2)));
    let mut client = joined(&io, "").await;
    talk(&mut client, &[(r#"420["pay","good"]"#, "430[1]")]).await;
    for id in 1..9 {
        let answer = format!(r#"43{id}[{{"error":{{"message":"no"}}}}]"#);
        talk(&mut client, &[(&format!(r#"42{id}["pay","bad{id}"]"#), &answer)]).await;
    }
    talk(&mut client, &[(r#"429["pay","good"]"#, "439[1]")]).await;
}
