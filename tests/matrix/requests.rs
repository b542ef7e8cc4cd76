//! Operations that have results, or change the rooms and connections of sockets.

use serde_json::{Value, json};

use super::{
    case::Case,
    cluster::CLIENTS,
    operation::{Scope, all, from, to},
    result::sorted,
};

const EVERYONE: &str = "a1 a2 b1 b2 c1 c2";
/// For answers that arrive within it, and one that does not.
const SHORT: u64 = 10_000;

pub fn cases() -> Vec<Case> {
    [acks(), rooms(), disconnections(), fetches(), remote(), remote_rooms(), server_side(), counts()]
        .into_iter()
        .flatten()
        .collect()
}

/// The result of waiting for acks.
fn answers(responses: &[Value], timed_out: bool) -> Value {
    json!({ "responses": sorted(responses.to_vec()), "timedOut": timed_out })
}

fn names(clients: &str) -> Vec<Value> {
    clients.split_whitespace().map(|name| json!(name)).collect()
}

fn acks() -> Vec<Case> {
    let ask = |name, scope: Scope, how: Value, clients, result| {
        let event = json!(["ask", how]);
        Case::new(name, scope.ask(event.clone())).heard(clients, &event).result(result)
    };
    let name = json!("name");
    let objects = ["a1", "b1", "c2"].map(|name| json!({ "from": name, "list": [1, 0.5, null, "é"] }));
    let bytes = ["6131", "6231", "6332"].map(|hex| json!({ "$bytes": hex }));
    let nulls = vec![Value::Null; 3];
    let question = json!(["ask", { "$bytes": "0102" }, "more", { "n": 1 }]);
    vec![
        ask("acks of all", all(), name.clone(), EVERYONE, answers(&names(EVERYONE), false)),
        ask("acks of a room", to(["r1"]), name.clone(), "a1 b1 c2", answers(&names("a1 b1 c2"), false)),
        ask(
            "acks of several rooms",
            to(["r1", "r3"]),
            name.clone(),
            "a1 b1 b2 c2",
            answers(&names("a1 b1 b2 c2"), false),
        ),
        ask("acks except a room", all().except(["r1"]), name.clone(), "a2 b2 c1", answers(&names("a2 b2 c1"), false)),
        ask("acks of no socket", to(["unknown"]), name.clone(), "", answers(&[], false)),
        ask("acks of another node's socket", to(["@c1"]), name.clone(), "c1", answers(&names("c1"), false)),
        ask(
            "acks of a broadcast of a socket",
            from("@a1"),
            name.clone(),
            "a2 b1 b2 c1 c2",
            answers(&names("a2 b1 b2 c1 c2"), false),
        ),
        ask("acks with objects", to(["r1"]), json!("object"), "a1 b1 c2", answers(&objects, false)),
        ask("acks with bytes", to(["r1"]), json!("bytes"), "a1 b1 c2", answers(&bytes, false)),
        ask("acks without arguments", to(["r1"]), json!("nothing"), "a1 b1 c2", answers(&nulls, false)),
        ask("acks with two arguments", to(["r1"]), json!("two"), "a1 b1 c2", answers(&names("a1 b1 c2"), false)),
        Case::new("acks of an event with bytes", all().ask(question.clone()))
            .heard(EVERYONE, &question)
            .result(answers(&names(EVERYONE), false)),
        ask(
            "acks but one",
            all().of("/dyn-6").timeout(SHORT),
            json!({ "silent": "b2" }),
            EVERYONE,
            answers(&names("a1 a2 b1 c1 c2"), true),
        )
        .of("/dyn-6")
        .slow(),
        ask(
            "acks in a namespace",
            to(["r2"]).of("/chat"),
            name.clone(),
            "a2 b1 c1",
            answers(&names("a2 b1 c1"), false),
        )
        .of("/chat"),
        ask("acks in a namespace of a pattern", all().of("/dyn-3"), name, EVERYONE, answers(&names(EVERYONE), false))
            .of("/dyn-3"),
    ]
}

/// Emits to a room whose members have changed.
fn then_emit(case: Case, room: &'static str, members: &'static str) -> Case {
    let event = json!(["ev", room]);
    let scope = all().of(case.namespace).to([room]);
    case.members(room, members).then(scope.emit(event.clone())).heard(members, &event)
}

fn rooms() -> Vec<Case> {
    let joined = Case::new("join several rooms", to(["r2"]).join(["new", "r3"]));
    vec![
        then_emit(Case::new("join by room", to(["r1"]).join(["new"])), "new", "a1 b1 c2"),
        then_emit(then_emit(joined, "new", "a2 b1 c1"), "r3", "a2 b1 b2 c1 c2"),
        then_emit(Case::new("join all", all().join(["new"])), "new", EVERYONE),
        then_emit(Case::new("join except", all().except(["r1", "@c1"]).join(["new"])), "new", "a2 b2"),
        then_emit(Case::new("join by id", to(["@b2"]).join(["new"])), "new", "b2"),
        then_emit(Case::new("join a room with #", to(["r2"]).join(["n#w"])), "n#w", "a2 b1 c1"),
        then_emit(
            Case::new("join in a namespace", to(["r1"]).of("/chat").join(["new"])).of("/chat"),
            "new",
            "a1 b1 c2",
        ),
        then_emit(Case::new("leave by room", to(["r3"]).leave(["r1"])), "r1", "a1 b1"),
        then_emit(Case::new("leave all", all().leave(["r1"])), "r1", ""),
        then_emit(Case::new("leave except", all().except(["r3"]).leave(["r1"])), "r1", "c2"),
        then_emit(
            then_emit(Case::new("leave several rooms", to(["@b1"]).leave(["r1", "r2"])), "r1", "a1 c2"),
            "r2",
            "a2 c1",
        ),
        then_emit(
            Case::new("join and leave", to(["r1"]).join(["r3"]))
                .members("r3", "a1 b1 b2 c2")
                .then(to(["r2"]).leave(["r3"])),
            "r3",
            "a1 b2 c2",
        ),
    ]
}

fn disconnections() -> Vec<Case> {
    let disconnect = |name, scope: Scope, close, gone, remaining| {
        let rest = if close { "closed" } else { "open" };
        Case::new(name, scope.disconnect(close))
            .remaining(remaining)
            .heard(gone, &json!("disconnected"))
            .heard(gone, &json!(rest))
    };
    vec![
        disconnect("disconnect by room", to(["r1"]), false, "a1 b1 c2", "a2 b2 c1"),
        disconnect("disconnect and close by room", to(["r1"]), true, "a1 b1 c2", "a2 b2 c1"),
        disconnect("disconnect all", all(), false, EVERYONE, ""),
        disconnect("disconnect and close all", all(), true, EVERYONE, ""),
        disconnect("disconnect except", all().except(["r1"]), false, "a2 b2 c1", "a1 b1 c2"),
        disconnect("disconnect by id", to(["@c1"]), true, "c1", "a1 a2 b1 b2 c2"),
        disconnect("disconnect in a namespace", to(["r2"]).of("/chat"), false, "a2 b1 c1", "a1 b2 c2").of("/chat"),
        then_emit(Case::new("disconnect and emit", to(["r3"]).disconnect(true)), "r1", "a1 b1")
            .heard("b2 c2", &json!("disconnected"))
            .heard("b2 c2", &json!("closed")),
    ]
}

/// What fetching these clients' sockets results in.
fn sockets(clients: &str) -> Value {
    let socket = |name: &str| {
        let id = json!(format!("@{name}"));
        let rooms = CLIENTS.iter().find(|client| client.0 == name).expect("a client").1;
        let rooms = rooms.iter().map(|room| json!(room)).chain([id.clone()]).collect();
        json!({ "id": id, "rooms": sorted(rooms), "data": { "name": name, "half": 0.5 } })
    };
    json!(sorted(clients.split_whitespace().map(socket).collect()))
}

fn fetches() -> Vec<Case> {
    let fetch = |name, scope: Scope, clients| Case::new(name, scope.fetch()).result(sockets(clients));
    vec![
        fetch("fetch all", all(), EVERYONE),
        fetch("fetch a room", to(["r1"]), "a1 b1 c2"),
        fetch("fetch several rooms", to(["r2", "r3"]), "a2 b1 b2 c1 c2"),
        fetch("fetch except a room", all().except(["r2"]), "a1 b2 c2"),
        fetch("fetch a room except a room", to(["r1"]).except(["r3"]), "a1 b1"),
        fetch("fetch by id", to(["@c2"]), "c2"),
        fetch("fetch no socket", to(["unknown"]), ""),
        fetch("fetch locally", all().local(), "a1 a2"),
        fetch("fetch in a namespace", to(["r1"]).of("/chat"), "a1 b1 c2").of("/chat"),
        fetch("fetch in a namespace of a pattern", all().of("/dyn-4"), EVERYONE).of("/dyn-4"),
    ]
}

fn remote() -> Vec<Case> {
    let event = json!(["ev", 1, { "$bytes": "01" }]);
    let ask = |name, scope: Scope, client: &str, how: Value, heard, result| {
        let event = json!(["ask", how]);
        Case::new(name, scope.remote_ask(client, event.clone())).heard(heard, &event).result(result)
    };
    vec![
        Case::new("emit to a remote socket", all().remote_emit("@b1", event.clone())).heard("b1", &event),
        Case::new("emit to a fetched socket of the own node", all().remote_emit("@a2", event.clone()))
            .heard("a2", &event),
        ask("ack of a remote socket", all(), "@c1", json!("name"), "c1", answers(&names("c1"), false)),
        ask(
            "ack of a remote socket with bytes",
            all(),
            "@c1",
            json!("bytes"),
            "c1",
            answers(&[json!({ "$bytes": "6331" })], false),
        ),
        ask("ack of a fetched socket of the own node", all(), "@a1", json!("name"), "a1", answers(&names("a1"), false)),
        ask(
            "no ack of a remote socket",
            all().of("/dyn-7").timeout(SHORT),
            "@b2",
            json!({ "silent": "b2" }),
            "b2",
            answers(&[], true),
        )
        .of("/dyn-7")
        .slow(),
    ]
}

fn remote_rooms() -> Vec<Case> {
    let gone = |name, client, close, heard, remaining| {
        let rest = if close { "closed" } else { "open" };
        let case = Case::new(name, all().remote_disconnect(client, close)).remaining(remaining);
        case.heard(heard, &json!("disconnected")).heard(heard, &json!(rest))
    };
    vec![
        then_emit(Case::new("a remote socket joins", all().remote_join("@b2", ["new"])), "new", "b2"),
        then_emit(
            Case::new("a remote socket joins several rooms", all().remote_join("@c1", ["new", "r1"])),
            "r1",
            "a1 b1 c1 c2",
        ),
        then_emit(Case::new("a remote socket leaves", all().remote_leave("@c2", "r1")), "r1", "a1 b1"),
        gone("a remote socket is disconnected", "@b1", false, "b1", "a1 a2 b2 c1 c2"),
        gone("a remote socket is disconnected and closed", "@c2", true, "c2", "a1 a2 b1 b2 c1"),
    ]
}

fn server_side() -> Vec<Case> {
    let args = json!(["record", "hello", 1, [null, { "a": 0.5 }], "é"]);
    let received = json!(["hello", 1, [null, { "a": 0.5 }], "é"]);
    let emit = |name, scope: Scope| {
        Case::new(name, scope.server_side_emit(args.clone())).server_side(std::slice::from_ref(&received))
    };
    let ask = |name, scope: Scope, silent: &str, nodes: &[&str], timed_out| {
        let responses: Vec<_> = nodes.iter().map(|node| json!(format!("answer from {node}"))).collect();
        Case::new(name, scope.server_side_ask(json!(["ask", silent]))).result(answers(&responses, timed_out))
    };
    vec![
        emit("server-side event", all()),
        emit("server-side event in a namespace", all().of("/chat")).of("/chat"),
        Case::new("server-side event without arguments", all().server_side_emit(json!(["record"])))
            .server_side(&[json!([])]),
        Case::new("server-side event of another namespace", all().of("/chat").server_side_emit(args.clone()))
            .server_side(&[]),
        ask("server-side acks", all(), "", &["b", "c"], false),
        ask("server-side acks in a namespace", all().of("/chat"), "", &["b", "c"], false).of("/chat"),
        ask("server-side acks but one", all().of("/dyn-8"), "c", &["b"], true).of("/dyn-8").slow(),
    ]
}

fn counts() -> Vec<Case> {
    let count = |name, scope: Scope| Case::new(name, scope.node_count()).result(json!(3));
    vec![
        count("count of nodes", all()),
        count("count of nodes in a namespace", all().of("/chat")).of("/chat"),
        count("count of nodes in a namespace of a pattern", all().of("/dyn-5")).of("/dyn-5"),
    ]
}
