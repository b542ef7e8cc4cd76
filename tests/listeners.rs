//! Listeners on single sockets.

use std::sync::{Arc, Mutex};

use tower_socketio::{
    Ack, Args, DisconnectReason, Namespace, SocketIo, SocketIoConfig, SocketIoService, SocketRef, Value,
    event::OutgoingEvent,
    extract::{Data, EventName},
    test::TestClient,
};

use crate::support::*;

fn service(namespace: Namespace) -> SocketIo {
    SocketIoService::new(SocketIoConfig::new().namespace("/", namespace)).io()
}

#[tokio::test]
async fn listeners_can_be_added_to_one_socket() {
    async fn joined(socket: SocketRef) {
        let id = socket.id().clone();
        socket.on("who", async move || Ack(id.to_string()));
    }
    let io = service(Namespace::new().on_connect(joined).with_state(()));
    let mut a = Memory::join(&io).await;
    let mut b = Memory::join(&io).await;
    a.say(r#"420["who"]"#);
    b.say(r#"420["who"]"#);
    let (of_a, of_b) = (a.text().await, b.text().await);
    assert_ne!(of_a, of_b);
    assert!(io.sockets().iter().all(|socket| [&of_a, &of_b].iter().any(|answer| answer.contains(&**socket.id()))));
}

#[tokio::test]
async fn several_listeners_run_in_order_and_the_first_responds() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let notes = notes.clone();
        async move || {
            notes.lock().unwrap().push(what);
            Ack(what)
        }
    };
    let namespace = Namespace::new().on("both", note("namespace")).on_any(note("any of all"));
    let io = service(namespace.with_state(()));
    let mut client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    socket.on("both", note("first"));
    socket.on("both", note("second"));
    socket.on("own", note("first"));
    socket.on("own", note("second"));
    socket.on_any(note("any"));
    client.say(r#"420["both"]"#);
    client.expect(r#"430["namespace"]"#).await;
    client.say(r#"421["own"]"#);
    client.expect(r#"431["first"]"#).await;
    client.say(r#"422["else"]"#);
    client.expect(r#"432["any of all"]"#).await;
    let expected = [
        "any of all",
        "any",
        "namespace",
        "first",
        "second",
        "any of all",
        "any",
        "first",
        "second",
        "any",
        "any of all",
    ];
    assert_eq!(*notes.lock().unwrap(), expected);
}

#[tokio::test]
async fn listeners_can_be_removed_and_are_dropped_with_their_socket() {
    let io = service(Namespace::new());
    let mut client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    let kept = Arc::new(());
    let held = kept.clone();
    let forever = socket.on("event", async move || {
        let _held = &held;
        Ack("forever")
    });
    socket.once("event", async || Ack("once"));
    for expected in ["forever", "forever"] {
        client.say(r#"420["event"]"#);
        client.expect(&format!(r#"430["{expected}"]"#)).await;
    }
    socket.off(forever);
    assert_eq!(Arc::strong_count(&kept), 1);
    socket.once("event", async || Ack("once"));
    client.say(r#"421["event"]"#);
    client.expect(r#"431["once"]"#).await;
    client.say(r#"422["event"]"#);
    socket.on("last", async || Ack("last"));
    client.say(r#"423["last"]"#);
    client.expect(r#"433["last"]"#).await;
    socket.off_event("last");
    let any = socket.on_any(|EventName(name): EventName, Data(_): Data<Args>| async move { drop(name) });
    socket.off(any);
    socket.off_any();
    client.say(r#"424["last"]"#);
    let held = kept.clone();
    socket.on("held", async move || drop(held.clone()));
    assert_eq!(Arc::strong_count(&kept), 2);
    client.say("41");
    until(|| Arc::strong_count(&kept) == 1).await;
}

#[tokio::test]
async fn outgoing_events_are_observed() {
    let io = service(Namespace::new().on("ask", async || Ack(1)).with_state(()));
    let mut client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    let notes = Arc::new(Mutex::new(Vec::new()));
    let log = notes.clone();
    let observer = socket.on_any_outgoing(move |event: &OutgoingEvent| {
        log.lock().unwrap().push((event.name().to_owned(), event.args::<Args>().unwrap()));
    });
    socket.emit("one", &(1, "two")).unwrap();
    io.emit("all", &bytes::Bytes::from_static(&[7])).unwrap();
    io.to("elsewhere").emit("not for it", &()).unwrap();
    socket.volatile().emit("volatile", &()).unwrap();
    client.say(r#"420["ask"]"#);
    client.expect(r#"42["one",1,"two"]"#).await;
    let names: Vec<_> = notes.lock().unwrap().iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["one", "all", "volatile"]);
    assert_eq!(notes.lock().unwrap()[1].1.0[0], bytes::Bytes::from_static(&[7]));
    drop((socket.emit_with_ack::<()>("asked", &()), io.emit_with_ack::<()>("all asked", &()).unwrap()));
    assert_eq!(notes.lock().unwrap().split_off(3).len(), 2);
    socket.off(observer);
    socket.off_any_outgoing();
    socket.emit("two", &()).unwrap();
    assert_eq!(notes.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_listener_added_after_the_end_is_dropped() {
    let io = service(Namespace::new());
    let client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    drop(client);
    until(|| io.stats().sockets == 0).await;
    let kept = Arc::new(());
    let held = kept.clone();
    socket.on("event", async move || drop(held.clone()));
    let held = kept.clone();
    socket.on_any(async move || drop(held.clone()));
    let held = kept.clone();
    socket.on_any_outgoing(move |_| drop(held.clone()));
    assert_eq!(Arc::strong_count(&kept), 1);
}

#[tokio::test]
async fn listeners_run_although_the_handler_of_all_panics() {
    async fn panics() {
        panic!("on purpose");
    }
    let io = service(Namespace::new().on("event", panics).with_state(()));
    let mut client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    socket.on("event", |socket: SocketRef| async move { socket.emit("heard", &()).unwrap() });
    client.say(r#"42["event"]"#);
    client.expect(r#"42["heard"]"#).await;
    assert_eq!(io.stats().panics, 1);
}

#[tokio::test]
async fn malformed_arguments_reach_no_listener() {
    let io = service(Namespace::new());
    let mut client = Memory::join(&io).await;
    let heard = Arc::new(Mutex::new(0));
    for socket in io.sockets() {
        let heard = heard.clone();
        socket.on("event", move || {
            *heard.lock().unwrap() += 1;
            async {}
        });
        drop(socket);
    }
    client.say(r#"42["event",nul]"#);
    assert_eq!(client.packet().await, None);
    until(|| io.stats().connections == 0).await;
    assert_eq!(*heard.lock().unwrap(), 0);
}

/// A panic in one observer affects neither the other observers nor the emitting task.
#[tokio::test]
async fn a_panic_in_an_observer_is_contained() {
    let io = service(Namespace::new().on_connect(|socket: SocketRef| async move {
        if socket.handshake().query_param("panics").is_some() {
            socket.on_any_outgoing(|_| panic!("on purpose"));
        }
        let seen = Arc::new(Mutex::new(0));
        socket.extensions().insert(seen.clone());
        socket.on_any_outgoing(move |_| *seen.lock().unwrap() += 1);
    }));
    let mut clients = Vec::new();
    for query in ["", "panics=1", ""] {
        let mut client = Memory::open_with(TestClient::builder(&io).query(query));
        client.text().await;
        client.say("40");
        client.text().await;
        clients.push(client);
    }
    io.emit("hello", &1).unwrap();
    io.sockets().iter().for_each(|socket| socket.emit("hello", &2).unwrap());
    for client in &mut clients {
        client.expect(r#"42["hello",1]"#).await;
        client.expect(r#"42["hello",2]"#).await;
    }
    for socket in io.sockets() {
        assert_eq!(*socket.extensions().get::<Arc<Mutex<i32>>>().unwrap().lock().unwrap(), 2);
    }
    assert_eq!(io.stats().panics, 2);
}

#[tokio::test]
async fn events_from_an_observer_are_not_observed() {
    let io = service(Namespace::new().on_connect(|socket: SocketRef, io: SocketIo| async move {
        socket.on_any_outgoing(move |event| io.emit("copy", event.name()).unwrap());
    }));
    let mut clients = [Memory::join(&io).await, Memory::join(&io).await];
    io.sockets()[0].emit("hello", &()).unwrap();
    let [a, b] = &mut clients;
    a.expect(r#"42["copy","hello"]"#).await;
    a.expect(r#"42["hello"]"#).await;
    b.expect(r#"42["copy","hello"]"#).await;
    assert_eq!(io.stats().panics, 0);
}

#[tokio::test]
async fn listeners_of_the_end_run_once_with_the_reason_after_the_namespaces_handler() {
    type Notes = Arc<Mutex<Vec<String>>>;
    let notes = Notes::default();
    let log = notes.clone();
    let left = |reason: DisconnectReason, socket: SocketRef| async move {
        tokio::task::yield_now().await;
        assert!(socket.handshake().auth::<Value>().is_ok());
        log.lock().unwrap().push(format!("namespace: {reason}"));
    };
    let io = service(Namespace::new().on_disconnect(left).with_state(()));
    let client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    let listen = |name: &'static str| {
        let log = notes.clone();
        socket.on_disconnect(async move |reason: DisconnectReason, socket: SocketRef| {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            // The auth payload is kept until the last handler has ended.
            assert!(socket.handshake().auth::<Value>().is_ok());
            log.lock().unwrap().push(format!("{name}: {reason}"));
        })
    };
    let (_, removed, _) = (listen("first"), listen("removed"), listen("second"));
    socket.off(removed);
    client.say("41");
    until(|| notes.lock().unwrap().len() == 3).await;
    let reason = "client namespace disconnect";
    let expected = [format!("namespace: {reason}"), format!("first: {reason}"), format!("second: {reason}")];
    assert_eq!(*notes.lock().unwrap(), expected);
    until(|| socket.handshake().auth::<Value>().is_err()).await;
    // Too late.
    let kept = Arc::new(());
    let held = kept.clone();
    socket.on_disconnect(async move || drop(held.clone()));
    assert_eq!(Arc::strong_count(&kept), 1);
}

#[tokio::test]
async fn a_listener_of_the_end_is_not_called_if_the_socket_is_refused() {
    let called = Arc::new(Mutex::new(0));
    let log = called.clone();
    let joined = async move |socket: SocketRef| {
        let log = log.clone();
        socket.on_disconnect(async move || *log.lock().unwrap() += 1);
        Err::<(), _>((axum::http::StatusCode::FORBIDDEN, "no"))
    };
    let io = service(Namespace::new().on_connect(joined).with_state(()));
    let before = Arc::strong_count(&called);
    let mut client = Memory::open(&io);
    assert!(client.text().await.starts_with("0{"));
    client.say("40");
    client.expect(r#"44{"message":"no"}"#).await;
    assert_eq!(*called.lock().unwrap(), 0);
    until(|| Arc::strong_count(&called) == before).await;
}

/// Listeners of the end that handlers of the end add come too late: they are dropped without a call.
#[tokio::test]
async fn handlers_of_the_end_cannot_add_listeners_of_it() {
    let (calls, kept) = (Arc::new(Mutex::new(0)), Arc::new(()));
    let listener = {
        let (calls, kept) = (calls.clone(), kept.clone());
        move |socket: &SocketRef| {
            let (calls, kept) = (calls.clone(), kept.clone());
            socket.on_disconnect(async move || {
                let _ = &kept;
                *calls.lock().unwrap() += 1;
            });
        }
    };
    let late = listener.clone();
    let ends = move |socket: SocketRef| {
        late(&socket);
        std::future::ready(())
    };
    let io = service(Namespace::new().on_disconnecting(ends.clone()).on_disconnect(ends).with_state(()));
    let client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    let again = listener.clone();
    socket.on_disconnect(async move |socket: SocketRef| {
        again(&socket);
        tokio::task::yield_now().await;
        again(&socket);
    });
    listener(&socket);
    let before = Arc::strong_count(&kept);
    client.say("41");
    until(|| *calls.lock().unwrap() == 1 && Arc::strong_count(&kept) < before).await;
    assert_eq!(*calls.lock().unwrap(), 1);
    assert_eq!(io.stats().panics, 0);
}

/// A listener of the end that panics, or that never ends, does not keep the others from running.
#[tokio::test]
async fn listeners_of_the_end_do_not_depend_on_one_another() {
    let io = service(Namespace::new());
    let client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    let calls = Arc::new(Mutex::new(Vec::new()));
    async fn panics() {
        panic!("on purpose");
    }
    socket.on_disconnect(panics);
    let log = calls.clone();
    socket.on_disconnect(async move || {
        log.lock().unwrap().push("pends");
        std::future::pending::<()>().await;
    });
    let log = calls.clone();
    socket.on_disconnect(async move |socket: SocketRef| {
        log.lock().unwrap().push("last");
        // It may disconnect the socket that has ended, and remove listeners.
        socket.disconnect_all();
        socket.off_any();
    });
    client.say("41");
    until(|| calls.lock().unwrap().len() == 2 && io.stats().connections == 0).await;
    assert_eq!(*calls.lock().unwrap(), ["pends", "last"]);
    assert_eq!((io.stats().panics, io.stats().sockets), (1, 0));
}

#[tokio::test]
async fn a_listener_for_disconnect_is_a_mistake_that_names_the_method() {
    let io = service(Namespace::new());
    let _client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    for (event, method) in
        [("connection", "`on_connect`"), ("disconnect", "`on_disconnect`"), ("disconnecting", "on_disconnecting")]
    {
        for once in [false, true] {
            let listen = std::panic::AssertUnwindSafe(|| match once {
                false => socket.on(event, async || {}),
                true => socket.once(event, async || {}),
            });
            let panic = std::panic::catch_unwind(listen).expect_err("a panic");
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(text.contains(method), "{text}");
        }
    }
}
