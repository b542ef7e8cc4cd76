//! Namespaces that are added to a running server and removed from it, while clients come and go.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;
use tower_socketio::{
    Ack, DisconnectReason, Namespace, NamespaceRef, RecoveryConfig, SocketIo, SocketIoConfig, SocketIoService,
    SocketRef, namespace::NamespaceRequest,
};

use crate::support::*;

const REFUSED: &str = r#"44/x,{"message":"Invalid namespace"}"#;

fn configs() -> [SocketIoConfig; 2] {
    [SocketIoConfig::new(), SocketIoConfig::new().recovery(RecoveryConfig::new())]
}

fn service(config: SocketIoConfig) -> SocketIo {
    SocketIoService::new(config).io()
}

async fn opened(io: &SocketIo) -> Memory {
    let mut client = Memory::open(io);
    assert!(client.text().await.starts_with("0{"));
    client
}

async fn joins(client: &mut Memory) {
    client.say("40/x");
    assert!(client.text().await.starts_with("40/x,{"));
}

/// A server with a predicate that accepts `/x` or not, once the semaphore has a permit.
fn asked(accepts: bool) -> (SocketIo, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (gate, calls) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (waits, counts) = (gate.clone(), calls.clone());
    let predicate = move |_: NamespaceRequest| {
        counts.fetch_add(1, Ordering::Relaxed);
        let waits = waits.clone();
        async move {
            waits.acquire().await.unwrap().forget();
            accepts
        }
    };
    (service(SocketIoConfig::new().namespace_async_fn(predicate, Namespace::new())), gate, calls)
}

#[tokio::test]
async fn a_namespace_that_is_added_while_a_predicate_is_asked_is_joined() {
    for accepts in [false, true] {
        let (io, gate, calls) = asked(accepts);
        let mut client = opened(&io).await;
        client.say("40/x");
        until(|| calls.load(Ordering::Relaxed) == 1).await;
        io.add_namespace("/x", Namespace::new().on("here", async || Ack(true)).with_state(())).unwrap();
        gate.add_permits(1);
        assert!(client.text().await.starts_with("40/x,{"), "{accepts}");
        client.say(r#"42/x,0["here"]"#);
        client.expect("43/x,0[true]").await;
    }
}

#[tokio::test]
async fn a_predicate_may_add_the_namespace_that_it_is_asked_for() {
    let handle: Arc<Mutex<Option<SocketIo>>> = Arc::default();
    let io_of = handle.clone();
    let adds = move |name: &str| {
        let io = io_of.lock().unwrap().clone().unwrap();
        io.add_namespace(name, Namespace::new().on("here", async || Ack(true)).with_state(())).is_ok()
    };
    let io = service(SocketIoConfig::new().namespace_fn(adds, Namespace::new()));
    *handle.lock().unwrap() = Some(io.clone());
    let mut client = opened(&io).await;
    joins(&mut client).await;
    client.say(r#"42/x,0["here"]"#);
    client.expect("43/x,0[true]").await;
    assert!(io.remove_namespace("/x"));
    client.expect("41/x,").await;
}

#[tokio::test]
async fn a_namespace_may_be_removed_by_its_own_handlers() {
    async fn remove(io: SocketIo) -> Ack<bool> {
        Ack(io.remove_namespace("/x"))
    }
    for config in configs() {
        let io = service(config);
        // By an event: DISCONNECT is the last packet, so the client gets no ack.
        io.add_namespace("/x", Namespace::new().on("remove", remove).with_state(())).unwrap();
        let mut client = opened(&io).await;
        joins(&mut client).await;
        client.say(r#"42/x,0["remove"]"#);
        client.expect("41/x,").await;
        // By `on_connect`.
        let joined = async |io: SocketIo| assert!(io.remove_namespace("/x"));
        io.add_namespace("/x", Namespace::new().on_connect(joined).with_state(())).unwrap();
        client.say("40/x");
        client.expect(REFUSED).await;
        // By `on_disconnect`, which adds another in its place.
        let left = async |io: SocketIo| {
            assert!(io.remove_namespace("/x"));
            io.add_namespace("/x", Namespace::new().on("here", async || Ack(true)).with_state(())).unwrap();
        };
        io.add_namespace("/x", Namespace::new().on_disconnect(left).with_state(())).unwrap();
        let mut other = opened(&io).await;
        joins(&mut client).await;
        joins(&mut other).await;
        io.namespace("/x").sockets()[0].disconnect();
        client.expect("41/x,").await;
        other.expect("41/x,").await;
        joins(&mut client).await;
        client.say(r#"42/x,0["here"]"#);
        client.expect("43/x,0[true]").await;
        assert_eq!((io.stats().connections, io.stats().sockets), (2, 1));
    }
}

#[tokio::test]
async fn a_handle_to_a_removed_namespace_selects_no_sockets() {
    for config in configs() {
        let io = service(config);
        let old = io.add_namespace("/x", Namespace::new()).unwrap();
        let mut client = opened(&io).await;
        joins(&mut client).await;
        assert!(io.remove_namespace("/x"));
        client.expect("41/x,").await;
        io.add_namespace("/x", Namespace::new()).unwrap();
        joins(&mut client).await;
        let new = io.namespace("/x");
        old.emit("n", &1).unwrap();
        old.to("room").emit("n", &2).unwrap();
        old.sockets_join("room");
        old.disconnect_sockets(true);
        assert!(old.emit_with_ack::<()>("n", &3).unwrap().await.missing.is_empty());
        new.emit("n", &4).unwrap();
        assert!(client.text().await.starts_with(r#"42/x,["n",4"#));
        assert_eq!((old.socket_count(), new.socket_count(), new.room_count()), (0, 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_may_be_added_while_the_server_drains() {
    let io = service(SocketIoConfig::new());
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(opened(&io).await);
    }
    let draining = tokio::spawn({
        let io = io.clone();
        async move { io.drain(Duration::from_secs(10)).await }
    });
    until(|| io.stats().connections < 4).await;
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let log = reasons.clone();
    let left = move |reason: DisconnectReason| {
        log.lock().unwrap().push(reason);
        std::future::ready(())
    };
    io.add_namespace("/x", Namespace::new().on_disconnect(left).with_state(())).unwrap();
    clients.iter().for_each(|client| client.say("40/x"));
    let mut joined = 0;
    for mut client in clients {
        // Those that have been disconnected get nothing.
        if client.packet().await.is_some() {
            joined += 1;
            while client.packet().await.is_some() {}
        }
    }
    draining.await.unwrap();
    assert!((1..4).contains(&joined));
    assert_eq!(*reasons.lock().unwrap(), vec![DisconnectReason::ServerShuttingDown; joined]);
    assert!(io.remove_namespace("/x"));
}

/// Clients join again and again, on several threads, while their namespace is removed and added. Each CONNECT is answered, each
/// accepted socket is disconnected once, and whatever has reached `on_connect` reaches `on_disconnect`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_client_of_a_namespace_that_comes_and_goes_is_told_so() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 200;
    for (number, config) in configs().into_iter().enumerate() {
        let io = service(config.ping_interval(Duration::from_secs(3600)));
        let (came, left, done) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let namespace = || {
            let (came, left) = (came.clone(), left.clone());
            let joined = move |socket: SocketRef, namespace: NamespaceRef| {
                came.fetch_add(1, Ordering::Relaxed);
                async move {
                    socket.join("room");
                    tokio::task::yield_now().await;
                    namespace.to("room").emit("n", &()).unwrap();
                }
            };
            let leaves = move |_: SocketRef| {
                left.fetch_add(1, Ordering::Relaxed);
                std::future::ready(())
            };
            Namespace::new().on_connect(joined).on_disconnect(leaves).with_state(())
        };
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (io, done) = (io.clone(), done.clone());
                tokio::spawn(async move {
                    let (mut client, mut accepted) = (opened(&io).await, 0);
                    while !done.load(Ordering::Acquire) {
                        client.say("40/x");
                        let mut is_in = false;
                        loop {
                            let text = client.text().await;
                            match &*text {
                                "41/x," if is_in => break,
                                REFUSED if !is_in => break,
                                text if text.starts_with("40/x,{") && !is_in => is_in = true,
                                text if text.starts_with("42/x,[") && is_in => {}
                                text => panic!("{text} to a client that is in: {is_in}"),
                            }
                        }
                        accepted += usize::from(is_in);
                        tokio::task::yield_now().await;
                    }
                    accepted
                })
            })
            .collect();
        for round in 0..ROUNDS {
            let added = io.add_namespace("/x", namespace()).unwrap();
            if round % 2 == number {
                until(|| added.socket_count() > 0).await;
            }
            assert!(io.remove_namespace("/x"));
            assert_eq!(added.socket_count(), 0);
        }
        done.store(true, Ordering::Release);
        let mut accepted = 0;
        for client in clients {
            accepted += soon(client).await.unwrap();
        }
        assert!(accepted > 0 && accepted <= came.load(Ordering::Relaxed));
        until(|| came.load(Ordering::Relaxed) == left.load(Ordering::Relaxed)).await;
        until(|| io.stats().connections == 0).await;
        assert_eq!((io.stats().sockets, io.stats().panics), (0, 0));
    }
}
