//! What nodes subscribe to and count.

use serde_json::Value;

use crate::cluster::wire::*;

use super::fixtures::{frames, namespace};

fn args(frame: &Value) -> Vec<&str> {
    frame["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect()
}

#[test]
fn the_channels_of_the_classic_adapter() {
    for (file, prefix) in [("redis.json", "socket.io"), ("redis-specific-responses.json", "pfx")] {
        let frames = frames(file);
        for frame in frames.iter().filter(|frame| frame["command"] != "PUBLISH") {
            let args = args(frame);
            let channels = classic::Channels::new(prefix, namespace(args[args.len() - 1]));
            match frame["command"].as_str().unwrap() {
                "PSUBSCRIBE" | "PUNSUBSCRIBE" => assert_eq!(args, [channels.pattern()]),
                "SUBSCRIBE" => {
                    let own = args[2].strip_prefix(channels.response()).unwrap().trim_end_matches('#');
                    assert_eq!(args, [channels.request(), channels.response(), &channels.response_to(own)]);
                }
                "UNSUBSCRIBE" => assert!(args[0] == channels.request() || args[0].starts_with(channels.response())),
                "PUBSUB" => assert_eq!(args, ["NUMSUB", channels.request()]),
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn the_channels_of_the_sharded_adapter() {
    use sharded::SubscriptionMode::*;
    for (file, mode) in [
        ("redis-sharded.json", Dynamic),
        ("redis-sharded-static.json", Static),
        ("redis-sharded-dynamic-private.json", DynamicPrivate),
    ] {
        for frame in frames(file).iter().filter(|frame| frame["command"] != "SPUBLISH") {
            let args = args(frame);
            let channels = sharded::Channels::new("socket.io", namespace(args[args.len() - 1]));
            match frame["command"].as_str().unwrap() {
                "SSUBSCRIBE" | "SUNSUBSCRIBE" => {
                    match args[0].strip_prefix(channels.main()).unwrap().trim_end_matches('#') {
                        "" => assert_eq!(args, [channels.main()]),
                        name if name.len() == 16 => assert_eq!(args, [channels.node(name)]),
                        room => {
                            assert!(mode.has_channel(room));
                            assert_eq!(args, [channels.room(room)]);
                        }
                    }
                }
                "PUBSUB" => assert_eq!(args, ["SHARDNUMSUB", channels.main()]),
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_socket_s_own_room_has_a_channel_in_one_mode_only() {
    use sharded::SubscriptionMode::*;
    let rooms = ["12345678901234567890", "room", "", "ééééééééééééééééééééé", "😀😀😀😀😀😀😀😀😀😀"];
    let has = |mode: sharded::SubscriptionMode| rooms.map(|room| mode.has_channel(room));
    assert_eq!(has(Static), [false; 5]);
    assert_eq!(has(Dynamic), [false, true, true, true, false]);
    assert_eq!(has(DynamicPrivate), [true; 5]);
}

#[test]
fn a_pattern_takes_nothing_of_a_namespace_for_a_wildcard() {
    let channels = classic::Channels::new("p", "/a*[b]?\\");
    assert_eq!(channels.pattern(), r"p#/a\*\[b]\?\\#*");
    assert_eq!(channels.room(b"p#/a*[b]?\\#room#"), Some(&b"room"[..]));
    assert_eq!(channels.room(b"p#/a*[b]?\\##"), Some(&b""[..]));
    assert_eq!(channels.room(b"p#/a*[b]?\\#"), Some(&b""[..]));
    assert_eq!(channels.room(b"p#/ax[b]?\\#room#"), None);
}

#[test]
fn the_channels_and_streams_of_the_streams_adapter() {
    for (file, stream, prefix, count) in [
        ("redis-streams.json", "socket.io", "socket.io", 1),
        ("redis-streams-recovery.json", "socket.io", "socket.io", 1),
        ("redis-streams-four-sharded.json", "st", "pfx", 4),
    ] {
        let names = streams::StreamNames::new(stream, count);
        for frame in &frames(file) {
            let command = frame["command"].as_str().unwrap();
            if !["SUBSCRIBE", "SSUBSCRIBE", "PUBSUB", "XREAD"].contains(&command) {
                continue;
            }
            let args = args(frame);
            if command == "XREAD" {
                assert!(names.all().iter().any(|name| name == args[5]), "{frame}");
                continue;
            }
            for channel in args.iter().filter(|channel| channel.contains('#')) {
                let channels = sharded::Channels::new(prefix, namespace(channel));
                let own = channel.strip_prefix(channels.main()).unwrap().trim_end_matches('#');
                assert!(own.is_empty() || *channel == channels.node(own));
            }
        }
    }
}

/// As Node.js computes them, its negative ones included.
#[test]
fn the_stream_of_a_namespace() {
    let four = streams::StreamNames::new("socket.io", 4);
    let eight = streams::StreamNames::new("socket.io", 8);
    for (namespace, of_four, of_eight) in [
        ("/", "socket.io-3", "socket.io-7"),
        ("/chat", "socket.io-3", "socket.io-7"),
        ("/dyn-1", "socket.io-2", "socket.io-6"),
        ("/admin", "socket.io-0", "socket.io-0"),
        ("/my-namespace", "socket.io--3", "socket.io--7"),
    ] {
        assert_eq!((&*four.of(namespace), &*eight.of(namespace)), (of_four, of_eight));
        assert!(four.all().contains(&four.of(namespace)));
    }
    assert_eq!(streams::StreamNames::new("s", 1).all(), ["s"]);
    assert_eq!(streams::StreamNames::new("s", 3).all(), ["s--2", "s--1", "s-0", "s-1", "s-2"]);
}

#[test]
fn names_for_postgres_are_quoted_and_bounded() {
    assert_eq!(postgres::quote("a\"; DROP TABLE b; --"), "\"a\"\"; DROP TABLE b; --\"");
    let namespace = format!("/{}", "n".repeat(52));
    assert_eq!(postgres::channel("socket.io", &namespace).unwrap().len(), 63);
    assert!(postgres::channel("socket.io", &(namespace + "n")).is_err());
    assert!(postgres::channel("socket.io", "/\0").is_err());
}
