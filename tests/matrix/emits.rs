//! Operations that emit.

use serde_json::{Value, json};

use super::{
    case::Case,
    operation::{Operation, Scope, all, from, to},
};

const EVERYONE: &str = "a1 a2 b1 b2 c1 c2";

/// The event `ev` is emitted to a scope, and these clients receive it.
fn emit(name: &'static str, scope: Scope, clients: &'static str) -> Case {
    let event = json!(["ev", 1, "x"]);
    Case::new(name, scope.emit(event.clone())).heard(clients, &event)
}

pub fn cases() -> Vec<Case> {
    [targets(), flags(), values(), namespaces(), order(), sizes()].into_iter().flatten().collect()
}

fn targets() -> Vec<Case> {
    vec![
        emit("emit to all", all(), EVERYONE),
        emit("emit to a room", to(["r1"]), "a1 b1 c2"),
        emit("emit to several rooms", to(["r1", "r2"]), "a1 a2 b1 c1 c2"),
        emit("emit to a room with #", to(["a#b"]), "a1 b1"),
        emit("emit to the empty room", to([""]), "a1 b1"),
        emit("emit to a room that is not ASCII", to(["é €😀 x"]), "b1 c1"),
        emit("emit to a room of 20 characters", to(["of twenty characters"]), "b1 c1"),
        emit("emit to an unknown room", to(["unknown"]), ""),
        emit("emit except a room", all().except(["r1"]), "a2 b2 c1"),
        emit("emit except several rooms", all().except(["r1", "r2"]), "b2"),
        emit("emit to a room except a room", to(["r1"]).except(["r2"]), "a1 c2"),
        emit("emit to several rooms except several", to(["r1", "r2"]).except(["r3", "a#b"]), "a2 c1"),
        emit("emit to the id of a socket", to(["@b1"]), "b1"),
        emit("emit to the id of an own socket", to(["@a2"]), "a2"),
        emit("emit to several ids", to(["@a1", "@c2"]), "a1 c2"),
        emit("emit except the id of a socket", all().except(["@b1"]), "a1 a2 b2 c1 c2"),
        emit("broadcast of a socket", from("@a1"), "a2 b1 b2 c1 c2"),
        emit("broadcast of a socket to a room", from("@a1").to(["r1"]), "b1 c2"),
        emit("broadcast of a socket to several rooms", from("@a2").to(["r1", "r2"]), "a1 b1 c1 c2"),
        emit("broadcast of a socket except a room", from("@a1").except(["r2"]), "b2 c2"),
        emit("broadcast of a socket to itself", from("@a1").to(["@a1"]), ""),
    ]
}

fn flags() -> Vec<Case> {
    let volatile = json!(["volatile", 1]);
    vec![
        Case::empty("emit volatile")
            .repeat(all().volatile().emit(volatile.clone()), EVERYONE)
            .heard(EVERYONE, &volatile),
        emit("emit without compression", all().compress(false), EVERYONE),
        emit("emit with compression", to(["r2"]).compress(true), "a2 b1 c1"),
        emit("emit locally", all().local(), "a1 a2"),
        emit("emit to a room locally", to(["r1"]).local(), "a1"),
        emit("broadcast of a socket locally", from("@a1").local(), "a2"),
    ]
}

fn values() -> Vec<Case> {
    let bytes = |hex: &str| json!({ "$bytes": hex });
    let value = |name, args: Value| Case::new(name, all().emit(args.clone())).heard(EVERYONE, &args);
    let room = json!(["ev", bytes("00ff")]);
    vec![
        value("bytes", json!(["ev", bytes("010203")])),
        value("several bytes", json!(["ev", bytes("01"), bytes("ff00"), "between", bytes("")])),
        value("nested bytes", json!(["ev", { "list": [1, bytes("0a"), { "deep": bytes("0b0c") }], "text": "x" }])),
        value("numbers with bytes", json!(["ev", 1, -1, 65536, 0.5, -1.5e-300, null, true, bytes("01")])),
        Case::new("bytes to a room", to(["r1"]).emit(room.clone())).heard("a1 b1 c2", &room),
        value(
            "integers",
            json!(["ev", 0, 1, -1, 127, 128, 255, 256, 65535, 65536, -128, -129, -32769, 4294967296_u64]),
        ),
        value("large integers", json!(["ev", 9007199254740991_u64, -9007199254740991_i64, -2147483649_i64])),
        value("floats", json!(["ev", 0.5, -0.1, 1.5e-300, 5e-324, 0.1])),
        value("huge numbers", json!(["ev", 1e20, -1.5e300])),
        value("huge numbers with bytes", json!(["ev", 1e20, -1.5e300, bytes("01")])),
        value("null and booleans", json!(["ev", null, true, false, [null], { "n": null }])),
        value("objects and lists", json!(["ev", {}, [], [[]], { "a": { "b": [1, { "c": "d" }] } }])),
        value("Unicode", json!(["événement €😀", "\u{0}\u{1f}\"\\/\u{7f}\u{2028}\u{feff} é 漢字 😀"])),
        value("no arguments", json!(["ev"])),
        value(
            "many arguments",
            (0..40).fold(json!(["ev"]), |mut args, n| {
                args.as_array_mut().unwrap().push(json!(n));
                args
            }),
        ),
    ]
}

fn namespaces() -> Vec<Case> {
    vec![
        emit("emit in a namespace", all().of("/chat"), EVERYONE).of("/chat"),
        emit("emit to a room of a namespace", to(["r1"]).of("/chat"), "a1 b1 c2").of("/chat"),
        emit("broadcast of a socket in a namespace", from("@a2").of("/chat"), "a1 b1 b2 c1 c2").of("/chat"),
        emit("emit in another namespace", all().of("/chat"), ""),
        emit("emit in a namespace of a pattern", all().of("/dyn-1"), EVERYONE).of("/dyn-1"),
        emit("emit to a room in a namespace of a pattern", to(["r2"]).of("/dyn-2"), "a2 b1 c1").of("/dyn-2"),
    ]
}

fn order() -> Vec<Case> {
    let numbers = |case: Case, clients, event: &str, numbers: u32| {
        (0..numbers).fold(case, |case, number| case.heard(clients, &json!([event, number])))
    };
    let order = Case::new("order of 100 events", all().burst("n", 100));
    // A room's events follow, so that a client in the room sees both.
    let mixed = Case::new("order of several targets", all().burst("n", 20))
        .then(to(["r1"]).burst("room", 20))
        .then(all().except(["@b1"]).burst("but", 20))
        .then(to(["@c2"]).burst("id", 20));
    let mixed = numbers(mixed, EVERYONE, "n", 20);
    let mixed = numbers(mixed, "a1 b1 c2", "room", 20);
    let mixed = numbers(mixed, "a1 a2 b2 c1 c2", "but", 20);
    vec![numbers(order, EVERYONE, "n", 100), numbers(mixed, "c2", "id", 20)]
}

fn sizes() -> Vec<Case> {
    let value = |name, args: Value| Case::new(name, all().emit(args.clone())).heard(EVERYONE, &args);
    // Longer than a notification of Postgres may be.
    let notification = json!(["ev", "é".repeat(5_000), "after"]);
    let operation: Operation = to(["r1"]).emit(notification.clone());
    vec![
        value("a text of 100 kB", json!(["ev", "x".repeat(100_000)])),
        value("bytes of 100 kB", json!(["ev", { "$bytes": "ab".repeat(100_000) }])),
        Case::new("more than 8000 bytes to a room", operation).heard("a1 b1 c2", &notification),
        value("many objects", json!(["ev", vec![json!({ "name": "value", "n": [1, 2, 3] }); 2_000]])),
    ]
}
