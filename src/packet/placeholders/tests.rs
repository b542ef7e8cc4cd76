use super::{found::NUMBER, *};
use proptest::prelude::*;

/// Checks that the fast path agrees with the slow path.
fn compare(json: &str, attachments: usize) {
    let new = || Collector { attachments, one: None, many: Vec::new() };
    let (mut short, mut long) = (new(), new());
    if attachments > 0 && plain::find(json.as_bytes(), &mut short) == Ok(true) {
        scan::find(json.as_bytes(), &mut long).unwrap();
        assert_eq!((short.one, short.many), (long.one, long.many), "{json}");
    }
}

fn numbers(json: &str, attachments: usize) -> Result<Vec<usize>, &'static str> {
    Ok(match Placeholders::find(json, attachments).map_err(|DecodeError(detail)| detail)? {
        Placeholders::None => Vec::new(),
        Placeholders::One(key) => {
            assert!(json[..key].ends_with('"'));
            vec![0]
        }
        Placeholders::Many(found) => found.into_iter().map(|(_, number)| number).collect(),
    })
}

const UNNAMED: Result<Vec<usize>, &str> = Err("illegal attachments: one is not named");
const TWICE: Result<Vec<usize>, &str> = Err("illegal attachments: one is named twice");
const UNKNOWN: Result<Vec<usize>, &str> = Err("illegal attachments: a placeholder has no valid number");

#[test]
fn placeholders_are_found_anywhere() {
    for json in [
        r#"["e",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#,
        r#"["e",[[{"a":{"num":1,"_placeholder":true}}]],{"_placeholder":true,"num":0}]"#,
        "[ \"e\" , { \"_placeholder\" :\ttrue ,\n\"num\" : 1 } , {\"_placeholder\":true,\"num\":0} ]",
        r#"["e",{"x":{"_placeholder":1},"_placeholder":true,"num":1,"y":[]},{"_placeholder":true,"num":0}]"#,
        r#"["e",{"_placeholder":false,"num":"x","_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#,
    ] {
        assert_eq!(numbers(json, 2), Ok(vec![1, 0]), "{json}");
    }
    assert_eq!(numbers(r#"["e",{"_placeholder":true,"num":7}]"#, 0), Ok(vec![]));
}

#[test]
fn each_attachment_must_be_named_once() {
    let placeholder = |number: &str| format!(r#"{{"_placeholder":true,"num":{number}}}"#);
    let event =
        |numbers: &[&str]| format!(r#"["e",{}]"#, numbers.iter().map(|n| placeholder(n)).collect::<Vec<_>>().join(","));
    assert_eq!(numbers(&event(&["0"]), 1), Ok(vec![0]));
    assert_eq!(numbers(&event(&["0"]), 2), UNNAMED);
    assert_eq!(numbers(&event(&[]), 1), UNNAMED);
    assert_eq!(numbers(&event(&["0", "0"]), 1), TWICE);
    assert_eq!(numbers(&event(&["1", "1"]), 2), TWICE);
    assert_eq!(numbers(&event(&["0"; 30_000]), 1), TWICE);
    for number in ["1", "-1", "-0", "0.0", "0e0", "00", "\"0\"", "null", "true", "[0]", "{}", "18446744073709551616"] {
        assert_eq!(numbers(&event(&[number]), 1), UNKNOWN, "{number}");
    }
    assert_eq!(numbers(r#"["e",{"_placeholder":true}]"#, 1), UNKNOWN);
}

#[test]
fn objects_that_only_look_like_placeholders_are_ignored() {
    for json in [
        r#"["e",{"_placeholder":"true","num":0}]"#,
        r#"["e",{"_placeholder":[true],"num":0}]"#,
        r#"["e",{"_placeholder":true,"num":0,"_placeholder":false}]"#,
        r#"["e",{"\u005fplaceholder":true,"num":0}]"#,
        r#"["e",{"\u0061":1,"_placeholder":true,"num":0}]"#,
        r#"["e",{"_placeholder ":true,"num":0}]"#,
        r#"["e",["_placeholder",true,"num",0]]"#,
        r#"["{\"_placeholder\":true,\"num\":0}"]"#,
    ] {
        assert_eq!(numbers(json, 1), UNNAMED, "{json}");
    }
}

/// The depth of the JSON is checked before.
#[test]
fn allocations_do_not_grow_with_the_json() {
    let many = format!(r#"["e",{}0]"#, r#"{"_placeholder":true,"num":0},"#.repeat(30_000));
    let deep = format!(r#"["e"{}"#, ",[1]".repeat(30_000));
    let objects =
        format!(r#"["e"{}{}"#, r#",{"num":{"_placeholder":1}}"#.repeat(30_000), r#",{"_placeholder":true,"num":0}]"#);
    for json in [many, deep, objects] {
        let info = allocation_counter::measure(|| drop(Placeholders::find(&json, 1)));
        assert!(info.bytes_max < 2_000, "{info:?}");
    }
}

/// A reference implementation on a tree.
fn search(value: &serde_json::Value, found: &mut Vec<Option<u64>>) {
    match value {
        serde_json::Value::Array(values) => values.iter().for_each(|value| search(value, found)),
        serde_json::Value::Object(entries) => {
            if entries.get(PLACEHOLDER) == Some(&true.into()) {
                found.push(entries.get(NUMBER).and_then(serde_json::Value::as_u64));
            }
            entries.values().for_each(|value| search(value, found));
        }
        _ => {}
    }
}

fn json() -> impl Strategy<Value = String> {
    let key = prop_oneof![4 => Just("_placeholder"), 4 => Just("num"), 1 => Just("a"), 1 => Just("")];
    let leaf = prop_oneof![
        6 => Just("true".to_owned()),
        2 => (0..4u8).prop_map(|number| number.to_string()),
        1 => Just("null".to_owned()),
        1 => Just("\"}]\\\"\"".to_owned()),
    ];
    leaf.prop_recursive(4, 20, 4, move |inner| {
        let entries = prop::collection::vec((key.clone(), inner.clone()), 0..4).prop_map(|entries| {
            // Placeholders in a value that a duplicate key replaces are found here, but not in the tree.
            let is_nested = |value: &str| value.starts_with(['[', '{']);
            let (nested, plain): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, value)| is_nested(value));
            let nested: std::collections::BTreeMap<_, _> = nested.into_iter().collect();
            let plain = plain.into_iter().filter(|(key, _)| !nested.contains_key(key)).collect::<Vec<_>>();
            let entries = plain.into_iter().chain(nested.clone());
            entries.map(|(key, value)| format!("{key:?} : {value}")).collect::<Vec<_>>()
        });
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(|values| format!("[{}]", values.join(","))),
            entries.prop_map(|entries| format!("{{{}}}", entries.join(" ,"))),
        ]
    })
}

proptest! {
    #[test]
    fn the_result_is_that_of_javascript(json in json(), attachments in 1usize..4) {
        let mut expected = Vec::new();
        search(&serde_json::from_str(&json).unwrap(), &mut expected);
        let mut all: Vec<_> = expected.iter().flatten().copied().collect();
        all.sort_unstable();
        let exact = expected.len() == all.len() && all.into_iter().eq(0..attachments as u64);
        prop_assert_eq!(numbers(&json, attachments).is_ok(), exact);
        compare(&json, attachments);
    }

    #[test]
    fn nothing_panics(json in r#"(["{}\[\],: 1]|_placeholder|true|num|\\){0,40}"#, attachments in 0usize..3) {
        let _ = numbers(&json, attachments);
    }
}
