//! The metrics, as Prometheus reads them.

use std::{collections::BTreeSet, fs, path::Path};

use axum::http::StatusCode;
use metrics::LocalRecorderGuard;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::Notify;
use tower_socketio::{
    Ack, Args, EventError, Namespace, SlowClientPolicy, SocketIo, SocketIoConfig, SocketIoService, SocketRef,
    Transport, extract::Data,
};

use crate::support::*;

/// The recorder of one test. The runtime of a test has one thread.
struct Figures {
    handle: PrometheusHandle,
    _guard: LocalRecorderGuard<'static>,
}

impl Figures {
    fn record() -> Self {
        // The guard borrows the recorder, which may be leaked because a test ends soon.
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        Self { handle: recorder.handle(), _guard: metrics::set_default_local_recorder(recorder) }
    }

    /// Returns the value of a series, `name{label="value"}`, with its labels in any order.
    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        let text = self.handle.render();
        let wanted = parse(series);
        let found = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).find_map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (parse(series) == wanted).then(|| value.parse().unwrap())
        });
        found.unwrap_or_else(|| panic!("no {series} in\n{text}"))
    }

    #[track_caller]
    fn are(&self, figures: &[(&str, f64)]) {
        for (series, value) in figures {
            assert_eq!(self.value(series), *value, "{series}");
        }
    }

    /// Returns the values of a label.
    fn values_of(&self, label: &str) -> BTreeSet<String> {
        let text = self.handle.render();
        let start = format!("{label}=\"");
        text.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    }
}

fn parse(series: &str) -> (&str, BTreeSet<&str>) {
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    (name, labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).collect())
}

fn serve(config: SocketIoConfig) -> SocketIo {
    SocketIoService::new(config).io()
}

fn namespace() -> Namespace {
    Namespace::new()
        .on("echo", async |Data(args): Data<Args>| Ack(args))
        .on("number", async |Data(_): Data<u32>| {})
        .on("fail", async || Err::<(), _>(EventError::new("no")))
        .on("panic", async || -> () { panic!("at the disco") })
        .on("join", async |socket: SocketRef, Data(room): Data<String>| socket.join(room))
        .on("leave", async |socket: SocketRef, Data(room): Data<String>| socket.leave(room))
        .on("all", async |io: SocketIo| io.emit("news", &()).unwrap())
        .with_state(())
}

#[tokio::test]
async fn connections_are_counted_by_transport_and_revision() {
    let figures = Figures::record();
    let server = serve_config(SocketIoConfig::new().allow_eio3(true)).await;
    let polling = Polling::open(server.address).await;
    let (websocket, _) = WebSocket::join(server.address, "40").await;
    let old = Memory::open_with(tower_socketio::test::TestClient::builder(&server.io).query("EIO=3"));
    until(|| server.io.stats().sockets == 2).await;
    figures.are(&[
        (r#"socketio_connections{transport="polling",protocol="4"}"#, 1.0),
        (r#"socketio_connections{transport="websocket",protocol="4"}"#, 1.0),
        (r#"socketio_connections{transport="custom",protocol="3"}"#, 1.0),
        (r#"socketio_connections{transport="custom",protocol="4"}"#, 0.0),
        (r#"socketio_connections_opened_total{transport="polling",protocol="4"}"#, 1.0),
    ]);
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", polling.sid);
    let mut upgraded = WebSocket::raw(server.address, &target, &[]).await.unwrap();
    upgraded.say("2probe").await;
    upgraded.expect("3probe").await;
    upgraded.say("5").await;
    upgraded.connect("40").await;
    figures.are(&[
        (r#"socketio_connections{transport="polling",protocol="4"}"#, 0.0),
        (r#"socketio_connections{transport="websocket",protocol="4"}"#, 2.0),
        (r#"socketio_upgrades_total{transport="websocket"}"#, 1.0),
        (r#"socketio_connections_opened_total{transport="websocket",protocol="4"}"#, 1.0),
    ]);
    upgraded.say("1").await;
    drop((websocket, old));
    server.is_empty().await;
    figures.are(&[
        (r#"socketio_connections{transport="websocket",protocol="4"}"#, 0.0),
        (r#"socketio_connections{transport="custom",protocol="3"}"#, 0.0),
        (r#"socketio_connections_closed_total{reason="transport close"}"#, 3.0),
        (r#"socketio_connections_closed_total{reason="ping timeout"}"#, 0.0),
    ]);
}

#[tokio::test]
async fn webtransport_is_counted_as_a_transport() {
    let figures = Figures::record();
    let transports = [Transport::Polling, Transport::WebTransport];
    let server = serve_config(SocketIoConfig::new().transports(transports)).await;
    let (_direct, _served) = WebTransport::join(&server.io).await;
    let polling = Polling::join(server.address).await;
    let (mut upgraded, _served) = WebTransport::upgrade(&server.io, &polling.sid).await;
    upgraded.say("2probe").await;
    upgraded.expect("3probe").await;
    upgraded.say("5").await;
    until(|| server.io.sockets().iter().all(|socket| socket.transport() == Transport::WebTransport)).await;
    upgraded.say("1").await;
    upgraded.expect_end().await;
    figures.are(&[
        (r#"socketio_connections{transport="webtransport",protocol="4"}"#, 1.0),
        (r#"socketio_connections{transport="polling",protocol="4"}"#, 0.0),
        (r#"socketio_connections_opened_total{transport="webtransport",protocol="4"}"#, 1.0),
        (r#"socketio_upgrades_total{transport="webtransport"}"#, 1.0),
        (r#"socketio_upgrades_total{transport="websocket"}"#, 0.0),
    ]);
}

#[tokio::test]
async fn events_are_counted_by_name_if_they_have_a_handler() {
    let figures = Figures::record();
    let io = serve(SocketIoConfig::new().namespace("/", namespace()));
    let mut client = Memory::join(&io).await;
    client.say(r#"420["echo",1]"#);
    client.expect("430[1]").await;
    client.say(r#"421["number","one"]"#);
    assert!(client.text().await.starts_with(r#"431[{"error""#));
    client.say(r#"422["fail"]"#);
    assert!(client.text().await.starts_with(r#"432[{"error""#));
    client.say(r#"423["panic"]"#);
    assert!(client.text().await.starts_with(r#"433[{"error""#));
    client.say(r#"42["whatever I like"]"#);
    client.say(r#"42["all"]"#);
    client.expect(r#"42["news"]"#).await;
    for event in ["echo", "number", "fail", "panic", "all", "*"] {
        let labels = format!(r#"{{namespace="/",event="{event}"}}"#);
        figures.are(&[
            (&format!("socketio_events_received_total{labels}"), 1.0),
            (&format!("socketio_event_duration_seconds_count{labels}"), 1.0),
            (
                &format!("socketio_event_errors_total{labels}"),
                if ["number", "fail", "panic"].contains(&event) { 1.0 } else { 0.0 },
            ),
        ]);
    }
    figures.are(&[
        // Acks are not counted as events.
        (r#"socketio_events_sent_total{namespace="/"}"#, 1.0),
        ("socketio_event_rejections_total", 1.0),
        ("socketio_panics_total", 1.0),
    ]);
    assert!(!figures.values_of("event").contains("whatever I like"));
}

#[tokio::test]
async fn a_handler_is_measured_until_it_has_answered() {
    static GO: Notify = Notify::const_new();
    let figures = Figures::record();
    let slow = Namespace::new().on("slow", async || {
        GO.notified().await;
        Ack(1)
    });
    let io = serve(SocketIoConfig::new().namespace("/", slow.with_state(())));
    let mut client = Memory::join(&io).await;
    client.say(r#"420["slow"]"#);
    until(|| figures.value(r#"socketio_events_received_total{namespace="/",event="slow"}"#) == 1.0).await;
    // A histogram without values is not exported.
    assert!(
        !figures.handle.render().contains(r#"socketio_event_duration_seconds_count{namespace="/",event="slow"} 1"#)
    );
    GO.notify_one();
    client.expect("430[1]").await;
    figures.are(&[(r#"socketio_event_duration_seconds_count{namespace="/",event="slow"}"#, 1.0)]);
}

#[tokio::test]
async fn sockets_and_rooms_come_and_go() {
    let figures = Figures::record();
    let io = serve(SocketIoConfig::new().namespace("/", namespace()));
    let now = |sockets: f64, rooms: f64| {
        figures.are(&[(r#"socketio_sockets{namespace="/"}"#, sockets), (r#"socketio_rooms{namespace="/"}"#, rooms)]);
    };
    let mut a = Memory::join(&io).await;
    let mut b = Memory::join(&io).await;
    now(2.0, 0.0);
    for (client, rooms) in [(&mut a, &["x", "y"][..]), (&mut b, &["x"])] {
        for room in rooms {
            client.say(&format!(r#"42["join","{room}"]"#));
        }
        client.say(r#"420["echo"]"#);
        client.expect("430[]").await;
    }
    now(2.0, 2.0);
    a.say(r#"42["leave","y"]"#);
    a.say(r#"420["echo"]"#);
    a.expect("430[]").await;
    now(2.0, 1.0);
    io.to("x").emit("news", &()).unwrap();
    a.expect(r#"42["news"]"#).await;
    figures.are(&[(r#"socketio_events_sent_total{namespace="/"}"#, 2.0)]);
    drop(a);
    until(|| io.stats().connections == 1).await;
    now(1.0, 1.0);
    b.say("41");
    until(|| io.stats().sockets == 0).await;
    now(0.0, 0.0);
}

#[tokio::test]
async fn namespaces_that_clients_name_are_counted_under_their_pattern() {
    let figures = Figures::record();
    let config = SocketIoConfig::new()
        .namespace("/room/{id}", namespace())
        .namespace_fn(|name| name.starts_with("/free"), namespace());
    let io = serve(config);
    let mut client = Memory::join(&io).await;
    for name in ["/room/7", "/room/8", "/free-for-all"] {
        client.say(&format!("40{name},"));
        assert!(client.text().await.starts_with(&format!("40{name},{{")));
        client.say(&format!(r#"42{name},0["echo",1]"#));
        client.expect(&format!("43{name},0[1]")).await;
    }
    client.say("40/nowhere");
    assert!(client.text().await.starts_with("44/nowhere"));
    figures.are(&[
        (r#"socketio_sockets{namespace="/room/{id}"}"#, 2.0),
        (r#"socketio_sockets{namespace="*"}"#, 1.0),
        (r#"socketio_events_received_total{namespace="/room/{id}",event="echo"}"#, 2.0),
        (r#"socketio_connects_total{namespace="/room/{id}",result="accepted"}"#, 2.0),
        (r#"socketio_connects_total{namespace="",result="unknown_namespace"}"#, 1.0),
    ]);
    assert_eq!(figures.values_of("namespace"), ["", "*", "/", "/room/{id}"].map(str::to_owned).into());
}

#[tokio::test]
async fn refusals_are_counted_by_code() {
    let figures = Figures::record();
    let guarded = Namespace::new().on_connect(async || StatusCode::FORBIDDEN).with_state(());
    let broken = Namespace::new().on_connect(async || -> StatusCode { panic!("at the disco") }).with_state(());
    let kicked = Namespace::new().on_connect(async |socket: SocketRef| socket.disconnect()).with_state(());
    let config = SocketIoConfig::new()
        .namespace("/guarded", guarded)
        .namespace("/broken", broken)
        .namespace("/kicked", kicked)
        .max_namespace_length(20);
    let server = serve_config(config).await;
    let mut client = WebSocket::open(server.address).await;
    for name in ["/guarded", "/broken", "/kicked", "/a-name-that-is-too-long"] {
        client.say(&format!("40{name}")).await;
        assert!(client.text().await.starts_with(&format!("44{name},")));
    }
    get(server.address, "/socket.io/?EIO=4&transport=pigeon").await.refused(400, 0, "Transport unknown");
    get(server.address, "/socket.io/?EIO=4&transport=polling&sid=x").await.refused(400, 1, "Session ID unknown");
    figures.are(&[
        (r#"socketio_connects_total{namespace="/guarded",result="403"}"#, 1.0),
        (r#"socketio_connects_total{namespace="/broken",result="panic"}"#, 1.0),
        (r#"socketio_connects_total{namespace="/kicked",result="disconnected"}"#, 1.0),
        (r#"socketio_connects_total{namespace="",result="name_too_long"}"#, 1.0),
        (r#"socketio_connect_duration_seconds_count{namespace="/guarded"}"#, 1.0),
        (r#"socketio_requests_refused_total{code="0"}"#, 1.0),
        (r#"socketio_requests_refused_total{code="1"}"#, 1.0),
        (r#"socketio_requests_refused_total{code="2"}"#, 0.0),
        ("socketio_panics_total", 1.0),
        (r#"socketio_sockets{namespace="/guarded"}"#, 0.0),
        (r#"socketio_sockets{namespace="/kicked"}"#, 0.0),
    ]);
}

#[tokio::test]
async fn bytes_are_counted_by_transport() {
    let figures = Figures::record();
    let server = serve_namespace(namespace()).await;
    let polling = Polling::open(server.address).await;
    let opening = figures.value(r#"socketio_sent_bytes_total{transport="polling"}"#);
    assert!(opening > 50.0, "{opening}");
    polling.say("40").await;
    polling.poll().await;
    polling.say(r#"420["echo",1]"#).await;
    polling.expect("430[1]").await;
    let joined = r#"40{"sid":"01234567890123456789"}"#.len() as f64;
    figures.are(&[
        (r#"socketio_received_bytes_total{transport="polling"}"#, 15.0),
        (r#"socketio_sent_bytes_total{transport="polling"}"#, opening + joined + 6.0),
        (r#"socketio_received_bytes_total{transport="websocket"}"#, 0.0),
        // The handshake, the CONNECT and the ack.
        ("socketio_outbox_bytes_count", 3.0),
    ]);
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    let before = figures.value(r#"socketio_sent_bytes_total{transport="websocket"}"#);
    client.say(r#"420["echo",1]"#).await;
    client.expect("430[1]").await;
    figures.are(&[
        (r#"socketio_received_bytes_total{transport="websocket"}"#, 15.0),
        (r#"socketio_sent_bytes_total{transport="websocket"}"#, before + 6.0),
    ]);
}

#[tokio::test]
async fn clients_that_are_too_slow_are_counted() {
    let figures = Figures::record();
    let config = SocketIoConfig::new().max_buffered_bytes(1000).slow_client_policy(SlowClientPolicy::Disconnect);
    let server = serve_config(config).await;
    let client = Polling::join(server.address).await;
    let socket = server.io.sockets().remove(0);
    while socket.emit("tick", "x".repeat(100).as_str()).is_ok() {}
    client.is_gone().await;
    figures.are(&[
        ("socketio_slow_clients_total", 1.0),
        (r#"socketio_connections_closed_total{reason="slow client"}"#, 1.0),
        (r#"socketio_sockets{namespace="/"}"#, 0.0),
    ]);
}

/// The document lists every metric of the recorder, and no others.
#[tokio::test]
async fn the_document_lists_every_figure() {
    let source = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let names = |text: &str, quote: char| -> BTreeSet<String> {
        text.split(quote)
            .filter(|part| part.starts_with("socketio_") && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            .map(str::to_owned)
            .collect()
    };
    let sources = ["src/engine/observe/meters.rs", "src/observe/meters.rs"].map(source);
    let descriptions = |code: &String| names(code.split("fn describe()").nth(1).unwrap(), '"');
    let described: BTreeSet<String> = sources.iter().flat_map(descriptions).collect();
    let code = sources.concat();
    assert!(described.len() > 15, "{described:?}");
    assert_eq!(names(&code, '"'), described);
    assert_eq!(names(&source("docs/observability.md"), '`'), described);
}
