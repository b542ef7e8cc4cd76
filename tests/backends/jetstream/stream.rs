use tower_socketio::cluster::{ClusterErrorKind, Emitter, EmitterError, PublishError};

use super::*;
use crate::brokers::proxy::Proxy;

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn entries_that_are_garbage_are_reported_and_skipped() {
    let broker = Broker::start(Nats::default()).await;
    let admin = Admin::connect(&broker).await;
    for recovers in [false, true] {
        let (a, b) = pair(&broker.url(), recovers).await;
        let mut client = Memory::join(&b.io).await;
        // Empty, too short, truncated, and two messages that are not messages.
        let poison: [&[u8]; 4] = [b"", b"123", b"1234\0\0\0\x09x", b"1234\0\0\0\x01\xc1\0\0\0\x00"];
        for payload in poison {
            admin.0.publish("socket.io.journal.other", payload.into()).await.unwrap();
        }
        admin.0.flush().await.unwrap();
        a.io.emit("n", &1).unwrap();
        assert!(client.text().await.starts_with(r#"42["n",1"#));
        for node in [&a, &b] {
            until(|| {
                let reports = node.errors.lock().unwrap();
                reports.iter().filter(|kind| **kind == ClusterErrorKind::Malformed).count() == 5
            })
            .await;
        }
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_stream_that_is_deleted_is_created_again() {
    let broker = Broker::start(Nats::default()).await;
    let admin = Admin::connect(&broker).await;
    let (a, b) = pair(&broker.url(), true).await;
    let mut client = Memory::join(&b.io).await;
    for number in 0..3 {
        a.io.emit("n", &number).unwrap();
        let event = client.text().await;
        assert!(event.starts_with(&format!(r#"42["n",{number}"#)), "{event}");
        let deleted = admin.request("STREAM.DELETE.socket-io", value!({})).await;
        assert_eq!(deleted["success"], true);
        a.reports(ClusterErrorKind::Missed).await;
        b.reports(ClusterErrorKind::Missed).await;
        for node in [&a, &b] {
            node.errors.lock().unwrap().clear();
        }
    }
    assert_eq!((a.lost(), b.lost()), (0, 0));
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn events_that_are_removed_after_they_were_read_change_nothing() {
    let broker = Broker::start(Nats::default()).await;
    let admin = Admin::connect(&broker).await;
    let (a, b) = pair(&broker.url(), true).await;
    let (mut on_a, mut client) = (Memory::join(&a.io).await, Memory::join(&b.io).await);
    for number in 0..3 {
        a.io.emit("n", &number).unwrap();
        for client in [&mut on_a, &mut client] {
            assert!(client.text().await.starts_with(&format!(r#"42["n",{number}"#)));
        }
        let purged = admin.request("STREAM.PURGE.socket-io", value!({})).await;
        assert_eq!(purged["success"], true);
    }
    a.io.emit("last", &()).unwrap();
    assert!(client.text().await.starts_with(r#"42["last""#));
    assert!(a.errors.lock().unwrap().is_empty() && b.errors.lock().unwrap().is_empty());
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn events_that_are_removed_before_they_are_read_are_reported() {
    let broker = Broker::start(Nats::default()).await;
    let admin = Admin::connect(&broker).await;
    let proxy = Proxy::start(broker.port()).await;
    let config = impatient(&proxy.url().replace("redis", "nats")).heartbeat_interval(Duration::from_secs(2));
    let node = node(config, true).await;
    let mut client = Memory::join(&node.io).await;
    let emitter = Emitter::new(NatsJetStreamAdapter::connect(NatsConfig::new(broker.url())).await.unwrap());
    let emit = async |number: u32| {
        let before = admin.batches().await;
        emitter.emit("n", &number).unwrap();
        retry(async || (admin.batches().await > before).then_some(())).await;
    };
    emit(0).await;
    assert!(client.text().await.starts_with(r#"42["n",0"#));
    proxy.freeze();
    for number in 1..=20 {
        emit(number).await;
    }
    let purged = admin.request("STREAM.PURGE.socket-io", value!({ "keep": 5 })).await;
    assert_eq!(purged["success"], true);
    for number in 16..=20 {
        let event = client.text().await;
        assert!(event.starts_with(&format!(r#"42["n",{number},"#)), "{event}");
    }
    assert!(node.has_reported(ClusterErrorKind::Missed));
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_stream_has_the_limits_of_the_configuration() {
    let broker = Broker::start(Nats::default()).await;
    let admin = Admin::connect(&broker).await;
    let config = NatsJetStreamConfig::new(impatient(&broker.url()));
    let config = config.max_age(Duration::from_secs(7)).max_bytes(1_000_000).replicas(1);
    let node = node(config, true).await;
    let config = admin.request("STREAM.INFO.socket-io", value!({})).await["config"].take();
    assert_eq!((&config["max_age"], &config["max_bytes"]), (&value!(7_000_000_000_u64), &value!(1_000_000)));
    assert_eq!((&config["num_replicas"], &config["storage"]), (&value!(1), &value!("file")));
    let mut client = Memory::join(&node.io).await;
    for number in 0..40 {
        node.io.emit("n", &(number, "x".repeat(50_000))).unwrap();
        assert!(client.text().await.starts_with(&format!(r#"42["n",{number},"#)));
    }
    let state = admin.request("STREAM.INFO.socket-io", value!({})).await["state"].take();
    assert!(state["bytes"].as_u64().unwrap() <= 1_000_000, "{state}");
    assert!(node.errors.lock().unwrap().is_empty());
    // One that a server without a cluster cannot have.
    let config = NatsJetStreamConfig::new(NatsConfig::new(broker.url()).prefix("other")).replicas(3);
    let error = NatsJetStreamAdapter::connect(config).await.unwrap_err();
    assert_eq!(error.kind(), ClusterErrorKind::Rejected, "{error:?}");
    // The name of the stream is taken, by one with other subjects.
    let error = NatsJetStreamAdapter::connect(NatsConfig::new(broker.url()).prefix("socket-io")).await.unwrap_err();
    assert_eq!(error.kind(), ClusterErrorKind::Rejected, "{error:?}");
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn the_queue_of_events_is_limited() {
    for recovers in [false, true] {
        let mut broker = Broker::start(Nats::default()).await;
        let config = || impatient(&broker.url()).queue_bytes(100_000);
        let (a, b) = (node(config(), recovers).await, node(config(), recovers).await);
        a.sees(2).await;
        let mut client = Memory::join(&b.io).await;
        broker.kill().await;
        a.reports(ClusterErrorKind::Disconnected).await;
        for number in 0..200 {
            a.io.emit("n", &(number, "x".repeat(1000))).unwrap();
        }
        // The first batch is not in the queue any more.
        let lost = a.lost();
        assert!((30..130).contains(&lost), "{lost}");
        broker.restart().await;
        let mut last = None;
        for _ in 0..200 - lost {
            let number = json(&client.text().await)[1].as_u64().unwrap();
            assert!(last < Some(number));
            last = Some(number);
        }
        a.io.emit("n", &200).unwrap();
        assert!(client.text().await.starts_with(r#"42["n",200"#));
        assert_eq!(a.lost(), lost);
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn what_is_queued_is_appended_before_the_adapter_closes() {
    let broker = Broker::start(Nats::default()).await;
    let (a, b) = pair(&broker.url(), false).await;
    let mut client = Memory::join(&b.io).await;
    for number in 0..100 {
        a.io.emit("n", &number).unwrap();
    }
    soon(a.io.close()).await;
    for number in 0..100 {
        client.expect(&format!(r#"42["n",{number}]"#)).await;
    }
    b.sees(1).await;
    let emitter = Emitter::new(NatsJetStreamAdapter::connect(NatsConfig::new(broker.url())).await.unwrap());
    for number in 100..200 {
        emitter.emit("n", &number).unwrap();
    }
    drop(emitter);
    for number in 100..200 {
        client.expect(&format!(r#"42["n",{number}]"#)).await;
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn what_cannot_be_appended_before_the_adapter_closes_is_reported() {
    let mut broker = Broker::start(Nats::default()).await;
    let (a, _b) = pair(&broker.url(), false).await;
    broker.kill().await;
    a.reports(ClusterErrorKind::Disconnected).await;
    a.io.emit("n", &1).unwrap();
    a.io.emit("n", &2).unwrap();
    soon(a.io.close()).await;
    assert_eq!(a.lost(), 2);
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn an_emitter_refuses_what_is_too_large() {
    let broker = Broker::start(Nats::default()).await;
    let config = NatsConfig::new(broker.url()).queue_bytes(1000);
    let emitter = Emitter::new(NatsJetStreamAdapter::connect(config).await.unwrap());
    let error = emitter.emit("n", &"x".repeat(1000)).unwrap_err();
    assert!(matches!(error, EmitterError::Publish(PublishError::Full)), "{error:?}");
    let emitter = Emitter::new(NatsJetStreamAdapter::connect(NatsConfig::new(broker.url())).await.unwrap());
    let error = emitter.emit("n", &"x".repeat(1 << 20)).unwrap_err();
    assert!(matches!(error, EmitterError::Publish(PublishError::Unsupported)), "{error:?}");
}
