use std::{
    collections::{BTreeMap, HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::{
    super::{Args, deep::MAX_LEVELS, encode_args, read_args},
    writer::Binary,
    *,
};

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn a_value_is_small_send_and_sync() {
    fn shared<T: Send + Sync + Unpin>() {}
    shared::<(Value, Map, Number, Args, super::super::Rest, Iter<'_>, IterMut<'_>, IntoIter)>();
    assert_eq!(size_of::<Value>(), 24);
    assert_eq!(size_of::<Option<Value>>(), 24);
    assert_eq!(size_of::<(Box<str>, Value)>(), 40);
}

#[test]
fn keys_keep_their_order() {
    let json = r#"{"b":1,"a":{"z":1,"y":2,"10":3,"9":4},"":null}"#;
    assert_eq!(serde_json::to_string(&parse(json)).unwrap(), json);
}

#[test]
fn a_duplicate_key_has_its_first_position_and_its_last_value() {
    assert_eq!(
        serde_json::to_string(&parse(r#"{"a":1,"b":2,"a":3,"c":4,"b":5,"a":6}"#)).unwrap(),
        r#"{"a":6,"b":5,"c":4}"#
    );
    let mut map = Map::from([("a", 1), ("b", 2)]);
    map.extend([("c", 3), ("a", 4)]);
    assert_eq!(
        map.into_iter().collect::<Vec<_>>(),
        [("a".into(), 4.into()), ("b".into(), 2.into()), ("c".into(), 3.into())]
    );
}

/// A hundred thousand keys take milliseconds, not minutes, whatever they are.
#[test]
fn many_keys_do_not_take_quadratic_time() {
    let object = |key: &dyn Fn(usize) -> String| {
        let entries: Vec<String> = (0..100_000).map(|index| format!("{:?}:{index}", key(index))).collect();
        format!("{{{}}}", entries.join(","))
    };
    for (json, length) in [
        (object(&|index| index.to_string()), 100_000),
        (object(&|index| format!("{}{index}", "long".repeat(10))), 100_000),
        (object(&|index| (99_999 - index).to_string()), 100_000),
        (object(&|_| String::new()), 1),
        (object(&|index| (index % 2).to_string()), 2),
        (object(&|index| (index % 50_000).to_string()), 50_000),
    ] {
        let began = Instant::now();
        let value = parse(&json);
        assert_eq!(value.as_object().map(Map::len), Some(length));
        assert!(value == value.clone() && hash(&value) == hash(&value.clone()));
        // Quadratic time would take a hundred times as long.
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

#[test]
fn objects_are_equal_in_any_order_of_entries() {
    let (one, other) = (parse(r#"{"a":[1,{"x":1,"y":2}],"b":2}"#), parse(r#"{"b":2,"a":[1,{"y":2,"x":1}]}"#));
    assert_eq!(one, other);
    assert_eq!(hash(&one), hash(&other));
    for different in [r#"{"a":1}"#, r#"{"b":2,"a":[1,{"y":2,"x":2}]}"#, r#"{"b":2,"c":[1,{"y":2,"x":1}]}"#, "[]"] {
        assert_ne!(one, parse(different));
    }
    assert_ne!(parse("[1,2]"), parse("[2,1]"));
    assert_ne!(parse("[1]"), parse("[1,2]"));
    assert_eq!(hash(&parse("0.0")), hash(&parse("-0.0")));
}

#[test]
fn entries_are_found_changed_and_removed() {
    let mut value = parse(r#"{"a":[1,{"b":true}],"n":null}"#);
    assert_eq!(value["a"][1]["b"], true);
    assert!(value["x"][7]["y"].is_null() && value["a"][2].is_null() && value[0].is_null());
    assert_eq!(value.get("a").and_then(|array| array.get(0)).and_then(Value::as_i64), Some(1));
    assert!(value.get("x").is_none());
    value["a"][0] = "text".into();
    value["n"]["new"]["deep"] = 1.5.into();
    *value.get_mut("a").unwrap().get_mut(1).unwrap() = Value::Null;
    assert_eq!(serde_json::to_string(&value).unwrap(), r#"{"a":["text",null],"n":{"new":{"deep":1.5}}}"#);
    let map = value.as_object_mut().unwrap();
    assert_eq!(map.insert("a", vec![1]), Some(vec!["text".into(), Value::Null].into()));
    assert_eq!(map.insert(String::from("z"), Value::Null), None);
    assert_eq!(map.remove("n").map(|mut value| value["new"]["deep"].take()), Some(1.5.into()));
    assert_eq!(map.remove("n"), None);
    assert_eq!(map.keys().collect::<Vec<_>>(), ["a", "z"]);
    map.retain(|key, _| key == "z");
    assert!(map.contains_key("z") && map.len() == 1);
    map.clear();
    assert!(map.is_empty());
}

#[test]
#[should_panic(expected = "cannot index into a value that is not an array")]
fn an_index_cannot_be_set_in_an_object() {
    let mut value = parse("{}");
    value[0] = Value::Null;
}

#[test]
fn other_types_are_converted_to_values() {
    let binary = Bytes::from_static(b"x");
    for (value, json) in [
        (Value::from("a"), json!("a")),
        (String::from("a").into(), json!("a")),
        ('é'.into(), json!("é")),
        (true.into(), json!(true)),
        (u64::MAX.into(), json!(u64::MAX)),
        ((-1i8).into(), json!(-1)),
        (0.5f32.into(), json!(0.5)),
        (f64::INFINITY.into(), json!(null)),
        (None::<u8>.into(), json!(null)),
        (Some("a").into(), json!("a")),
        (().into(), json!(null)),
        (vec![1, 2].into(), json!([1, 2])),
        (["a", "b"].into(), json!(["a", "b"])),
        (Value::from_iter([("a", 1), ("b", 2)]), json!({"b": 2, "a": 1})),
        (vec![1u8].into(), json!([1])),
    ] {
        assert_eq!(value, Value::from(json.clone()));
        assert_eq!(serde_json::Value::try_from(value), Ok(json));
    }
    assert_eq!(Value::from(binary.clone()), binary);
    let value = Value::from_iter([("a", vec![Value::from(binary)])]);
    assert_eq!(value.as_object().unwrap()["a"][0].as_binary().unwrap(), "x");
    assert_eq!(
        serde_json::Value::try_from(value.clone()).unwrap_err().to_string(),
        "the value contains binary, which JSON cannot represent"
    );
    assert_eq!(serde_json::to_value(&value).unwrap(), json!({"a": [[120]]}));
}

#[test]
fn values_compare_with_other_types() {
    let values = [Value::from("a"), 1.into(), (-1).into(), true.into()];
    let [text, one, minus_one, yes] = &values;
    let owned = String::from("a");
    assert_eq!(*text, "a");
    assert_eq!("a", *text);
    assert!(*text == owned && *text != "b");
    assert!(*one == 1 && *one == 1u8 && *one == 1.0 && *one != "1" && *minus_one == -1i64 && *minus_one != u64::MAX);
    assert!(*yes == true && *yes != 1);
}

#[test]
fn accessors_return_the_type_of_a_value() {
    let values = [
        Value::Null,
        true.into(),
        1.into(),
        (-1).into(),
        1.5.into(),
        "a".into(),
        Vec::<Value>::new().into(),
        Map::new().into(),
        Bytes::new().into(),
    ];
    let is: [(fn(&Value) -> bool, &[usize]); 10] = [
        (Value::is_null, &[0]),
        (Value::is_boolean, &[1]),
        (Value::is_number, &[2, 3, 4]),
        (Value::is_u64, &[2]),
        (Value::is_i64, &[2, 3]),
        (Value::is_f64, &[4]),
        (Value::is_string, &[5]),
        (Value::is_array, &[6]),
        (Value::is_object, &[7]),
        (Value::is_binary, &[8]),
    ];
    for (is, which) in is {
        assert!((0..values.len()).all(|index| is(&values[index]) == which.contains(&index)), "{which:?}");
    }
    assert_eq!((values[0].as_null(), values[1].as_bool(), values[5].as_str()), (Some(()), Some(true), Some("a")));
    assert_eq!((values[2].as_u64(), values[3].as_i64(), values[3].as_f64()), (Some(1), Some(-1), Some(-1.0)));
    assert_eq!(values[4].as_number().map(|number| number.to_string()).as_deref(), Some("1.5"));
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Upload {
    name: String,
    kind: Kind,
    content: Value,
    raw: Vec<u8>,
    size: Option<u8>,
    by_number: HashMap<u32, bool>,
    by_flag: BTreeMap<bool, f32>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
enum Kind {
    Plain,
    Tagged(u8),
    Pair(u8, u8),
    Named { a: u8 },
}

#[test]
fn a_value_is_deserialized() {
    let content = Bytes::from(vec![7; 100]);
    let upload = |kind: serde_json::Value| {
        let mut value = Value::from(json!({
            "name": "n", "kind": kind, "size": null, "by_number": {"1": true, "20": false}, "by_flag": {"true": 0.5}
        }));
        value["content"] = content.clone().into();
        value["raw"] = content.clone().into();
        value
    };
    for (json, kind) in [
        (json!("Plain"), Kind::Plain),
        (json!({"Tagged": 1}), Kind::Tagged(1)),
        (json!({"Pair": [1, 2]}), Kind::Pair(1, 2)),
        (json!({"Named": {"a": 1}}), Kind::Named { a: 1 }),
    ] {
        let read: Upload = upload(json).to().unwrap();
        assert_eq!(read.kind, kind);
        assert_eq!(read.content.as_binary().unwrap().as_ptr(), content.as_ptr());
        assert_eq!((read.raw, read.size), (vec![7; 100], None));
        assert_eq!(read.by_number, HashMap::from([(1, true), (20, false)]));
        assert_eq!(read.by_flag, BTreeMap::from([(true, 0.5)]));
    }
    assert_eq!(
        upload(json!(1)).to::<Upload>().unwrap_err().to_string(),
        "invalid type: integer `1`, expected enum Kind"
    );
    assert_eq!(parse("[1,2]").to::<(u8, u8)>().unwrap(), (1, 2));
    assert!(parse("[1,2,3]").to::<(u8, u8)>().unwrap_err().to_string().starts_with("invalid length 3"));
    assert_eq!(parse("[1]").to::<Bytes>().unwrap(), [1][..]);
    assert_eq!(
        Value::from(content.clone()).to::<String>().unwrap_err().to_string(),
        "invalid type: byte array, expected a string"
    );
    assert!(Value::from(content.clone()).to::<Vec<f32>>().is_err());
    assert_eq!(Value::from(Bytes::from_static(b"abc")).to::<[u8; 3]>().unwrap(), *b"abc");
}

#[test]
fn a_value_is_serialized() {
    #[derive(Serialize)]
    struct File {
        name: &'static str,
        content: Bytes,
        lookalike: BTreeMap<&'static str, u8>,
    }
    let content = Bytes::from_static(b"x");
    let file =
        File { name: "n", content: content.clone(), lookalike: BTreeMap::from([("_placeholder", 1), ("num", 0)]) };
    let value = Value::from_serialize(&file).unwrap();
    assert_eq!(
        (&value["name"], &value["content"], &value["lookalike"]["num"]),
        (&"n".into(), &content.into(), &0.into())
    );
    assert_eq!(Value::from_serialize(&(1, 2)).unwrap(), Value::from([1, 2]));
    assert_eq!(Value::from_serialize(&()).unwrap(), Value::Null);
    assert!(Value::from_serialize(&BTreeMap::from([((1, 2), 3)])).is_err());
}

#[test]
fn numbers_are_rounded_to_the_nearest() {
    for (json, number) in
        [("-0", -0.0), ("1e400", f64::MAX), ("-1e400", f64::MIN), ("18446744073709551616", 18446744073709551616.0)]
    {
        let number = Number::from_f64(number);
        assert_eq!(Number::from_json(json), number, "{json}");
        assert!(number.unwrap().is_f64());
    }
    assert_eq!(Number::from_json("18446744073709551615"), Some(u64::MAX.into()));
    assert_eq!(Number::from_json("-9223372036854775808"), Some(i64::MIN.into()));
    for garbage in ["inf", "nan", "+1", "01", "1.", ".5", "", "1 2", "\"1\""] {
        assert_eq!(Number::from_json(garbage), None, "{garbage}");
    }
    assert_eq!(Number::from_f64(f64::NAN), None);
    assert_eq!(Number::from(serde_json::Number::from(7)).to_string(), "7");
    assert_eq!(serde_json::Number::from(Number::from(-7)).to_string(), "-7");
    assert_eq!(
        serde_json::from_str::<(Number, Number, Number)>("[1,-1,1.5]").unwrap(),
        (1.into(), (-1).into(), Number::from_f64(1.5).unwrap())
    );
    assert!(serde_json::from_str::<Number>("true").is_err());
}

/// A value of the maximum depth that clients can send: arrays and objects in turn.
fn deepest() -> Value {
    (0..MAX_LEVELS).fold(Value::Null, |inner, level| {
        if level % 2 == 0 { vec![inner].into() } else { Value::from_iter([("key", inner)]) }
    })
}

/// Half of a thread's stack, because a handler does not begin at its bottom.
#[test]
fn operations_on_the_deepest_value_take_at_most_a_megabyte_of_stack() {
    fn on_small_stack(work: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(1 << 20);
            thread.spawn_scoped(scope, work).unwrap().join().unwrap();
        });
    }
    let value = deepest();
    let works: [(&str, &(dyn Fn() + Sync)); 10] = [
        ("drop", &|| drop(deepest())),
        ("clone", &|| drop(value.clone())),
        ("eq", &|| assert!(value == deepest())),
        ("hash", &|| assert_eq!(hash(&value), hash(&deepest()))),
        ("debug", &|| assert!(format!("{value:?}").len() > MAX_LEVELS)),
        ("json", &|| assert!(serde_json::to_string(&value).unwrap().len() > 2 * MAX_LEVELS)),
        ("emit", &|| encode_args(&Args(vec![value.clone()])).unwrap().recycle()),
        ("to json", &|| assert_eq!(Value::from(serde_json::Value::try_from(value.clone()).unwrap()), value)),
        ("read", &|| assert_eq!(value.to::<Value>().unwrap(), value)),
        ("write", &|| {
            let mut text = Vec::new();
            value.clone().write_json(&mut text, Binary::Numbers, &mut Vec::new());
            assert_eq!(text, serde_json::to_vec(&value).unwrap());
        }),
    ];
    for (name, work) in works {
        println!("{name}");
        on_small_stack(work);
    }
}

#[test]
fn a_value_beyond_the_maximum_depth_is_not_deserialized() {
    let value = Value::from(vec![deepest()]);
    assert!(value.to::<Value>().is_err());
    assert!(!value.is_within(MAX_LEVELS, &mut 0) && value.is_within(MAX_LEVELS + 1, &mut 0));
}

proptest! {
    #[test]
    fn duplicate_keys_have_the_semantics_of_javascript(entries in prop::collection::vec(("[a-e]{0,2}", any::<u8>()), 0..60)) {
        let mut order = Vec::new();
        let mut values = HashMap::new();
        for (key, value) in &entries {
            if values.insert(key.clone(), *value).is_none() {
                order.push(key.clone());
            }
        }
        let expected: Vec<(String, u8)> = order.into_iter().map(|key| (key.clone(), values[&key])).collect();
        let map: Map = entries.into_iter().collect();
        let map: Vec<(String, u8)> =
            map.iter().map(|(key, value)| (key.to_owned(), value.as_u64().unwrap() as u8)).collect();
        prop_assert_eq!(map, expected);
    }
}

/// Returns the memory that is used afterwards, and at most meanwhile, per byte of the text.
fn cost<T>(text: usize, read: impl FnOnce() -> T) -> (f64, f64) {
    let mut kept = None;
    let info = allocation_counter::measure(|| kept = Some(read()));
    (info.bytes_current as f64 / text as f64, info.bytes_max as f64 / text as f64)
}

/// `[{"":0},{"":0},..]` of 0.94 MB is the worst case. The bounds are generous; this prints the numbers in `docs/limits.md`.
#[test]
fn a_value_takes_few_bytes_per_byte_of_its_text() {
    let objects = vec![r#"{"":0}"#; 134_285].join(",");
    let json = format!(r#"["e",[{objects}]]"#);
    let args = format!(r#"["e",{objects}]"#);
    let numbers = format!(r#"["e",[{}]]"#, vec!["0"; 470_000].join(","));
    let nested = format!(r#"["e",[{}]]"#, vec!["[[]]"; 188_000].join(","));
    let read = |json: &str| -> Value { read_args(json, &[], true).unwrap() };
    for (name, (held, peak), bound) in [
        ("Value", cost(json.len(), || read(&json)), 10.0),
        ("Args", cost(args.len(), || read_args::<Args>(&args, &[], true).unwrap()), 10.0),
        ("numbers", cost(numbers.len(), || read(&numbers)), 15.0),
        ("arrays", cost(nested.len(), || read(&nested)), 15.0),
        ("serde_json::Value", cost(json.len(), || read_args::<serde_json::Value>(&json, &[], true).unwrap()), 150.0),
    ] {
        println!("{name}: {held:.1} bytes held and {peak:.1} at the peak for each of JSON");
        assert!(held < bound && peak < 2.0 * bound, "{name}: {held} {peak}");
    }
}
