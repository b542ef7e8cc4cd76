//! The driver over a link that does what the test says, with virtual time.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep},
};

use super::*;
use crate::{
    cluster::{
        adapter::Peers,
        error::{ClusterError, ClusterErrorKind, PublishError},
        journal::Offset,
        message::{ClusterCommand, ClusterMessage, RequestId},
        node::{ClusterNode, Node},
        wire::WireError,
    },
    util::Mutex,
};

const LOST_LINK: ClusterError = ClusterError::new(ClusterErrorKind::Disconnected);

/// A broker that confirms a frame when it is told to.
#[derive(Default)]
struct Fake(Mutex<State>);

#[derive(Default)]
struct State {
    /// When each attempt to connect was made.
    attempts: Vec<Instant>,
    refuses: bool,
    /// The commands that were sent, in one word each, and subscriptions.
    log: Vec<String>,
    /// The frames of the current link that are not confirmed, and whether each counts.
    unconfirmed: Vec<bool>,
    events: Option<UnboundedSender<Event>>,
}

impl Fake {
    /// Returns what has happened since the last call, once all tasks are idle.
    async fn log(&self) -> String {
        sleep(Duration::from_millis(1)).await;
        std::mem::take(&mut self.0.lock().log).join(" ")
    }

    fn happens(&self, event: Event) {
        self.0.lock().events.as_ref().unwrap().send(event).ok().unwrap();
    }

    fn subscribed(&self, namespace: &str) {
        self.happens(Event::Subscribed(namespace.into()));
    }

    fn receives(&self, sender: &str, command: ClusterCommand) {
        self.happens(Event::Received("/".into(), Ok(ClusterMessage::new(sender, "/", command))));
    }

    fn confirms(&self, frames: usize) {
        self.0.lock().unconfirmed.drain(..frames);
        self.happens(Event::Confirmed);
    }
}

struct FakeLink {
    broker: Arc<Fake>,
    events: UnboundedReceiver<Event>,
}

impl Link for FakeLink {
    type Config = Arc<Fake>;
    type Frame = String;

    fn check(_: &Arc<Fake>, namespace: &str) -> Result<(), WireError> {
        match namespace {
            "/bad" => Err(WireError::Message("bad")),
            _ => Ok(()),
        }
    }

    fn encode(broker: &Arc<Fake>, message: &ClusterMessage) -> Result<(String, usize), WireError> {
        Self::check(broker, &message.namespace)?;
        let command = match &message.command {
            ClusterCommand::Hello => "hello",
            ClusterCommand::Heartbeat => "heartbeat",
            ClusterCommand::Goodbye => "goodbye",
            ClusterCommand::Disconnect { .. } => "message",
            _ => "other",
        };
        Ok((format!("{command}:{}", message.namespace), 10))
    }

    fn encode_relayed(_: &Arc<Fake>, node: &str, message: Bytes) -> Option<(String, usize)> {
        Some((format!("relayed:{node}"), message.len()))
    }

    async fn connect(broker: &Arc<Arc<Fake>>, _: &Options) -> Result<Self, ClusterError> {
        let (sender, events) = unbounded_channel();
        let mut state = broker.0.lock();
        state.attempts.push(Instant::now());
        if state.refuses {
            return Err(ClusterError::new(ClusterErrorKind::Rejected));
        }
        state.events = Some(sender);
        state.unconfirmed.clear();
        Ok(Self { broker: (**broker).clone(), events })
    }

    fn identify(&mut self, _: &Arc<str>, _: bool) {
        self.broker.0.lock().log.push("identify".to_owned());
    }

    fn subscribe(&mut self, namespace: &Arc<str>) {
        self.broker.0.lock().log.push(format!("subscribe:{namespace}"));
    }

    fn unsubscribe(&mut self, namespace: &str) {
        self.broker.0.lock().log.push(format!("unsubscribe:{namespace}"));
    }

    fn send(&mut self, frame: String, _: usize, is_counted: bool) {
        let mut state = self.broker.0.lock();
        state.log.push(frame);
        state.unconfirmed.push(is_counted);
    }

    fn has_room(&self) -> bool {
        self.broker.0.lock().unconfirmed.len() < 4
    }

    fn unconfirmed(&self) -> u64 {
        self.broker.0.lock().unconfirmed.iter().filter(|is_counted| **is_counted).count() as u64
    }

    fn is_idle(&self) -> bool {
        self.broker.0.lock().unconfirmed.is_empty()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.events.poll_recv(cx).map(|event| event.expect("the broker is alive"))
    }
}

/// A server with some namespaces.
#[derive(Default)]
struct FakeServer {
    namespaces: Mutex<HashSet<&'static str>>,
    delivered: Mutex<usize>,
    left: Mutex<Vec<String>>,
    errors: Mutex<Vec<ClusterErrorKind>>,
}

impl Node for FakeServer {
    fn deliver(self: Arc<Self>, _: ClusterMessage) {
        *self.delivered.lock() += 1;
    }

    fn deliver_recorded(self: Arc<Self>, _: ClusterMessage, _: Offset) {
        unreachable!("there is no journal")
    }

    fn uses_journal(&self) -> bool {
        false
    }

    fn namespaces(&self) -> Vec<Arc<str>> {
        self.namespaces.lock().iter().map(|name| (*name).into()).collect()
    }

    fn awaits(&self, _: &RequestId) -> bool {
        true
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.lock().contains(namespace)
    }

    fn has_room(&self, _: &str, _: &str) -> bool {
        unreachable!("no adapter of a broker asks for rooms")
    }

    fn peer_left(&self, peer: &str) {
        self.left.lock().push(peer.to_owned());
    }

    fn receive(self: Arc<Self>, _: Bytes) {
        unreachable!("no session is shared")
    }

    fn shares_sessions(&self) -> bool {
        false
    }

    fn report(&self, error: ClusterError) {
        self.errors.lock().push(error.kind());
    }
}

impl FakeServer {
    fn errors(&self) -> Vec<ClusterErrorKind> {
        std::mem::take(&mut self.errors.lock())
    }
}

struct Test {
    broker: Arc<Fake>,
    server: Arc<FakeServer>,
    adapter: BrokerAdapter<FakeLink>,
}

impl Test {
    /// A server with the namespace `/`, which is subscribed.
    async fn new() -> Self {
        let broker = Arc::new(Fake::default());
        let options = Options { queue_bytes: 100, ..Options::default() };
        let adapter = BrokerAdapter::connect(broker.clone(), options).await.unwrap();
        let server = Arc::new(FakeServer::default());
        server.namespaces.lock().insert("/");
        let weak: Weak<dyn Node> = Arc::downgrade(&(server.clone() as Arc<dyn Node>));
        adapter.start(ClusterNode::new("self".into(), weak));
        assert_eq!(broker.log().await, "identify subscribe:/");
        broker.subscribed("/");
        assert_eq!(broker.log().await, "hello:/");
        broker.confirms(1);
        Self { broker, server, adapter }
    }

    fn publish(&self) -> Result<(), PublishError> {
        self.publish_to("/")
    }

    fn publish_to(&self, namespace: &str) -> Result<(), PublishError> {
        let command = ClusterCommand::Disconnect { options: Default::default(), close: false };
        self.adapter.publish(&ClusterMessage::new("self", namespace, command))
    }

    fn change(&self, namespace: &'static str, exists: bool) {
        let mut namespaces = self.server.namespaces.lock();
        if exists {
            namespaces.insert(namespace)
        } else {
            namespaces.remove(namespace)
        };
        drop(namespaces);
        self.adapter.namespace_changed(namespace);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_full_refuses_messages() {
    let test = Test::new().await;
    for _ in 0..4 {
        test.publish().unwrap();
    }
    assert_eq!(test.broker.log().await, "message:/ message:/ message:/ message:/");
    // Ten of ten bytes wait behind those that are not confirmed.
    for _ in 0..10 {
        test.publish().unwrap();
    }
    assert_eq!(test.publish(), Err(PublishError::Full));
    test.broker.confirms(3);
    assert_eq!(test.broker.log().await, "message:/ message:/ message:/");
    for _ in 0..3 {
        test.publish().unwrap();
    }
    assert_eq!(test.publish(), Err(PublishError::Full));
}

#[tokio::test(start_paused = true)]
async fn what_clients_cause_leaves_half_of_the_queue_to_others() {
    let test = Test::new().await;
    for _ in 0..4 {
        test.publish().unwrap();
    }
    test.broker.log().await;
    for _ in 0..2 {
        test.adapter.send("b", Bytes::from_static(&[0; 25])).unwrap();
    }
    assert_eq!(test.adapter.send("b", Bytes::from_static(&[0; 1])), Err(PublishError::Full));
    test.publish().unwrap();
    test.broker.confirms(4);
    assert_eq!(test.broker.log().await, "relayed:b relayed:b message:/");
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_link_takes_along_is_counted_and_publishing_waits_for_subscriptions() {
    let test = Test::new().await;
    test.change("/chat", true);
    assert_eq!(test.broker.log().await, "subscribe:/chat");
    test.broker.subscribed("/chat");
    assert_eq!(test.broker.log().await, "hello:/chat");
    // Three are sent after the hello, which does not count, and two are queued.
    for _ in 0..5 {
        test.publish().unwrap();
    }
    test.broker.log().await;
    test.broker.happens(Event::Ended(LOST_LINK));
    test.broker.log().await;
    assert_eq!(test.server.errors(), [ClusterErrorKind::Disconnected, ClusterErrorKind::Lost { count: 5 }]);
    assert_eq!(test.publish(), Err(PublishError::Disconnected));
    assert_eq!(test.adapter.peers("/").await.unwrap_err().kind(), ClusterErrorKind::Disconnected);
    // A namespace that is dropped, and one that is made meanwhile.
    test.change("/chat", false);
    test.change("/new", true);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(test.publish(), Err(PublishError::Disconnected));
    let mut resubscribed: Vec<_> = test.broker.log().await.split(' ').map(str::to_owned).collect();
    resubscribed.sort();
    assert_eq!(resubscribed, ["identify", "subscribe:/", "subscribe:/new"]);
    test.broker.subscribed("/");
    assert_eq!(test.broker.log().await, "hello:/");
    assert_eq!(test.publish(), Err(PublishError::Disconnected));
    test.broker.subscribed("/new");
    assert_eq!(test.broker.log().await, "hello:/new");
    test.publish().unwrap();
    assert_eq!(test.broker.log().await, "message:/");
    // What others sent meanwhile has not arrived.
    assert_eq!(test.server.errors(), [ClusterErrorKind::Missed]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_hellos_is_answered_when_there_is_room() {
    let test = Test::new().await;
    for _ in 0..4 {
        test.publish().unwrap();
    }
    test.broker.log().await;
    for _ in 0..1000 {
        test.broker.receives("b", ClusterCommand::Hello);
    }
    assert_eq!(test.broker.log().await, "");
    test.publish().unwrap();
    test.broker.confirms(2);
    assert_eq!(test.broker.log().await, "heartbeat:/ message:/");
    // A namespace says hello when there is room, and no goodbye if there is none.
    test.change("/chat", true);
    test.broker.log().await;
    test.broker.subscribed("/chat");
    assert_eq!(test.broker.log().await, "");
    test.broker.confirms(1);
    assert_eq!(test.broker.log().await, "hello:/chat");
    test.change("/chat", false);
    assert_eq!(test.broker.log().await, "unsubscribe:/chat");
}

#[tokio::test(start_paused = true)]
async fn connecting_is_tried_again_after_growing_delays() {
    let test = Test::new().await;
    test.broker.0.lock().refuses = true;
    test.broker.happens(Event::Ended(LOST_LINK));
    sleep(Duration::from_secs(60)).await;
    let attempts = test.broker.0.lock().attempts.clone();
    let delays: Vec<_> = attempts.windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
    assert!(delays.windows(2).take(3).all(|pair| pair[1] >= pair[0]), "{delays:?}");
    assert!(delays.iter().skip(6).all(|delay| (2500..=5001).contains(&delay.as_millis())), "{delays:?}");
    assert!((12..32).contains(&attempts.len()), "{delays:?}");
    // Each kind of failure is reported when it begins.
    assert_eq!(test.server.errors(), [ClusterErrorKind::Disconnected, ClusterErrorKind::Rejected]);
    test.broker.0.lock().refuses = false;
    sleep(Duration::from_secs(5)).await;
    assert!(test.broker.log().await.starts_with("identify subscribe:/"));
}

#[tokio::test(start_paused = true)]
async fn nodes_are_known_after_their_introduction_and_until_they_are_silent() {
    let test = Test::new().await;
    test.broker.receives("self", ClusterCommand::Hello);
    test.broker.receives("b", ClusterCommand::Hello);
    assert_eq!(test.broker.log().await, "heartbeat:/");
    let begin = Instant::now();
    assert_eq!(test.adapter.peers("/").await.unwrap(), Peers::Nodes(vec!["b".into()]));
    assert!(begin.elapsed() > Duration::from_millis(150));
    assert_eq!(test.adapter.peers("/bad").await.unwrap(), Peers::Nodes(Vec::new()));
    let message = ClusterCommand::Disconnect { options: Default::default(), close: false };
    test.broker.receives("self", message.clone());
    test.broker.receives("b", message);
    test.broker.happens(Event::Received("/".into(), Err(WireError::Message("bad"))));
    test.broker.log().await;
    assert_eq!((*test.server.delivered.lock(), test.server.errors()), (1, vec![ClusterErrorKind::Malformed]));
    sleep(Duration::from_secs(9)).await;
    assert_eq!((test.broker.log().await, test.server.left.lock().len()), ("heartbeat:/".to_owned(), 0));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(*test.server.left.lock(), ["b"]);
    assert_eq!(test.adapter.peers("/").await.unwrap(), Peers::Nodes(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn namespaces_are_subscribed_while_they_exist() {
    let test = Test::new().await;
    test.change("/chat", true);
    test.adapter.namespace_changed("/chat");
    assert_eq!(test.broker.log().await, "subscribe:/chat");
    test.change("/chat", false);
    assert_eq!(test.broker.log().await, "goodbye:/chat unsubscribe:/chat");
    // The confirmation of a subscription that has been given up.
    test.broker.subscribed("/chat");
    assert_eq!(test.broker.log().await, "");
    test.change("/bad", true);
    assert_eq!((test.broker.log().await, test.server.errors()), (String::new(), vec![ClusterErrorKind::Rejected]));
    assert_eq!(test.publish_to("/bad"), Err(PublishError::Unsupported));
}

#[tokio::test(start_paused = true)]
async fn closing_sends_what_is_queued_and_says_goodbye() {
    let test = Test::new().await;
    for _ in 0..6 {
        test.publish().unwrap();
    }
    let closed = tokio::spawn(test.adapter.close());
    assert_eq!(test.broker.log().await, ["message:/"; 4].join(" "));
    assert_eq!(test.publish(), Err(PublishError::Disconnected));
    test.broker.confirms(4);
    assert_eq!(test.broker.log().await, "message:/ message:/ goodbye:/");
    assert!(!closed.is_finished());
    test.broker.confirms(3);
    closed.await.unwrap();
    assert_eq!(test.server.errors(), []);
}

#[tokio::test(start_paused = true)]
async fn what_fails_while_closing_is_reported() {
    let test = Test::new().await;
    test.publish().unwrap();
    let closed = tokio::spawn(test.adapter.close());
    test.broker.log().await;
    test.broker.happens(Event::Failed(ClusterError::new(ClusterErrorKind::Lost { count: 1 })));
    test.broker.confirms(2);
    closed.await.unwrap();
    assert_eq!(test.server.errors(), [ClusterErrorKind::Lost { count: 1 }]);
}

#[tokio::test(start_paused = true)]
async fn closing_takes_no_longer_than_some_seconds() {
    let test = Test::new().await;
    test.publish().unwrap();
    test.adapter.close().await;
    test.broker.log().await;
    assert_eq!(test.server.errors(), [ClusterErrorKind::Lost { count: 1 }]);
    // Without a link, it takes none.
    let test = Test::new().await;
    test.broker.0.lock().refuses = true;
    test.broker.happens(Event::Ended(LOST_LINK));
    test.broker.log().await;
    let begin = Instant::now();
    test.adapter.close().await;
    assert!(begin.elapsed() < Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn the_driver_ends_with_its_server() {
    let Test { broker, server, adapter } = Test::new().await;
    drop(server);
    sleep(Duration::from_secs(2)).await;
    assert!(broker.log().await.contains("goodbye:/"));
    broker.confirms(1);
    // The driver holds the broker.
    while Arc::strong_count(&broker) > 2 {
        sleep(Duration::from_millis(1)).await;
    }
    drop(adapter);
}
