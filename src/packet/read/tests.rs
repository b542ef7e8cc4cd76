use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use serde::Deserialize;

use super::{
    super::{
        Args, Rest,
        deep::{MAX_JSON_DEPTH, MAX_LEVELS},
        value::Map,
    },
    *,
};

fn event<T: DeserializeOwned + Send + 'static>(json: &str) -> Result<T, ArgsError> {
    read_args(json, &[], true)
}

fn mismatch<T: DeserializeOwned + Send + fmt::Debug + 'static>(json: &str) -> String {
    match event::<T>(json).unwrap_err() {
        ArgsError::Mismatch(error) => error.to_string(),
        ArgsError::Malformed(error) => panic!("malformed: {error}"),
    }
}

#[test]
fn bytes_are_shared_if_they_are_the_only_argument() {
    let attachments = [Bytes::from(vec![7; 100])];
    let rest = r#",{"_placeholder":true,"num":0}]"#;
    let shared: Bytes = read_only_arg(rest, &attachments).unwrap();
    assert_eq!((shared.as_ptr(), shared.len()), (attachments[0].as_ptr(), 100));
    let inside: Option<Bytes> = read_only_arg(rest, &attachments).unwrap();
    assert_eq!(inside.unwrap(), attachments[0]);
}

#[test]
fn arguments_are_deserialized_by_position() {
    assert_eq!(event::<String>(r#"["e","a",1]"#).unwrap(), "a");
    assert_eq!(event::<(String, u8)>(r#"["e","a",1]"#).unwrap(), ("a".to_owned(), 1));
    assert_eq!(event::<[u8; 2]>(r#"["e",[1,2]]"#).unwrap(), [1, 2]);
    assert_eq!(event::<Vec<u8>>(r#"["e",[1,2]]"#).unwrap(), [1, 2]);
    event::<()>(r#"["e",1]"#).unwrap();
    assert_eq!(event::<Args<u8>>(r#"["e",1,2,3]"#).unwrap().0, [1, 2, 3]);
    assert_eq!(event::<(u8, (u8, u8))>(r#"["e",1,[2,3]]"#).unwrap(), (1, (2, 3)));
}

#[test]
fn a_missing_argument_is_none_or_an_error() {
    assert_eq!(event::<Option<u8>>(r#"["e"]"#).unwrap(), None);
    assert_eq!(event::<(u8, Option<u8>)>(r#"["e",1]"#).unwrap(), (1, None));
    assert_eq!(event::<serde_json::Value>(r#"["e"]"#).unwrap(), serde_json::Value::Null);
    assert_eq!(mismatch::<(u8, String)>(r#"["e",1]"#), "argument 2 is missing at line 1 column 7");
    assert_eq!(mismatch::<String>(r#"["e"]"#), "argument 1 is missing at line 1 column 5");
}

/// JavaScript prints as many digits as a number needs. None of them may be lost.
#[test]
fn numbers_keep_their_last_digit() {
    for number in ["45e99", "0.30000000000000004", "1.7976931348623157e308", "5e-324"] {
        let json = format!(r#"["e",{number}]"#);
        assert_eq!(event::<f64>(&json).unwrap(), number.parse::<f64>().unwrap(), "{number}");
    }
}

#[test]
fn acks_have_no_name() {
    assert_eq!(read_args::<u8>("[7]", &[], false).unwrap(), 7);
    assert_eq!(read_args::<Option<u8>>("[]", &[], false).unwrap(), None);
}

#[test]
fn invalid_json_differs_from_json_of_another_type() {
    assert!(mismatch::<u8>(r#"["e","a"]"#).contains("expected u8"));
    for json in [r#"["e",1"#, r#"["e" 1]"#, r#"["e",]"#, r#"["e",1]x"#, r#"["e",1,tru]"#] {
        assert!(matches!(event::<u8>(json), Err(ArgsError::Malformed("invalid JSON"))), "{json}");
    }
}

#[test]
fn pointers_to_tuples_are_several_arguments() {
    let json = r#"["e",1,"a"]"#;
    assert_eq!(event::<Box<(u8, String)>>(json).unwrap().1, "a");
    assert_eq!(event::<Arc<(u8, String)>>(json).unwrap().0, 1);
    assert_eq!(event::<Cow<'static, (u8, String)>>(json).unwrap().0, 1);
    assert_eq!(event::<Box<Args>>(json).unwrap().len(), 2);
}

#[test]
fn rest_takes_the_remaining_arguments() {
    assert_eq!(event::<(u8, Rest<u8>)>(r#"["e",1,2,3]"#).unwrap(), (1, Rest(vec![2, 3])));
    assert_eq!(event::<(u8, Rest)>(r#"["e",1]"#).unwrap(), (1, Rest::default()));
    assert_eq!(event::<(Option<u8>, Rest)>(r#"["e"]"#).unwrap(), (None, Rest::default()));
    assert_eq!(event::<Rest<u8>>(r#"["e",1,2]"#).unwrap(), [1, 2].into());
    assert!(mismatch::<(u8, Rest<u8>)>(r#"["e",1,2,"a"]"#).contains("expected u8"));
    let attachments = [Bytes::from_static(b"x")];
    let json = r#"["e","a",{"deep":{"_placeholder":true,"num":0}}]"#;
    let (_, rest) = read_args::<(String, Rest)>(json, &attachments, true).unwrap();
    assert_eq!(rest[0]["deep"].as_binary().unwrap().as_ptr(), attachments[0].as_ptr());
}

#[test]
fn lists_have_no_spare_capacity() {
    let json = r#"["e",1,2,3,[1,2,3,4,5]]"#;
    let args = event::<Args>(json).unwrap();
    assert_eq!(args.capacity(), 4);
    assert_eq!(args[3].as_array().map(Vec::capacity), Some(5));
    assert_eq!(event::<(u8, Rest)>(json).unwrap().1.capacity(), 3);
}

// Unpaired surrogates, numbers.

#[test]
fn an_unpaired_surrogate_becomes_a_replacement_character() {
    let json = r#"["e","a\ud83d",{"\udc00":"\ud83d\ude00"}]"#;
    let (text, map) = event::<(String, HashMap<String, String>)>(json).unwrap();
    assert_eq!((&*text, &*map["\u{fffd}"]), ("a\u{fffd}", "😀"));
    assert_eq!(event::<Value>(json).unwrap(), "a\u{fffd}");
    assert_eq!(event::<serde_json::Value>(json).unwrap(), "a\u{fffd}");
    assert_eq!(event::<Args>(json).unwrap()[1]["\u{fffd}"], "😀");
    assert_eq!(event::<char>(r#"["e","\udfff"]"#).unwrap(), '\u{fffd}');
    // Also with attachments.
    let attachments = [Bytes::from_static(b"x")];
    let json = r#"["e","\ud83d",{"_placeholder":true,"num":0}]"#;
    let (text, data) = read_args::<(String, Bytes)>(json, &attachments, true).unwrap();
    assert_eq!((&*text, &*data), ("\u{fffd}", &b"x"[..]));
    // Ignored fields need not be mended.
    assert_eq!(event::<(u8, u8)>(r#"["e",1,2,"\ud83d"]"#).unwrap(), (1, 2));
    assert!(mismatch::<u8>(r#"["e","\ud83d"]"#).contains("expected u8"));
    assert!(matches!(event::<String>(r#"["e","\ud83d"#), Err(ArgsError::Malformed(_))));
    assert!(matches!(event::<String>(r#"["e","\ud8"]"#), Err(ArgsError::Malformed(_))));
}

#[test]
fn numbers_out_of_range_are_the_nearest() {
    let digits = "9".repeat(400);
    for (json, number) in [("1e400", f64::MAX), ("-1e400", f64::MIN), (&*digits, f64::MAX)] {
        let json = format!(r#"["e",{json}]"#);
        assert_eq!(event::<f64>(&json).unwrap(), number);
        assert_eq!(event::<Value>(&json).unwrap(), number);
        assert_eq!(event::<Args<f64>>(&json).unwrap().0, [number]);
        assert_eq!(event::<serde_json::Value>(&json).unwrap().as_f64().unwrap_or(number), number);
        assert!(mismatch::<u8>(&json).contains("expected u8"));
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(f64),
    Text(String),
    List(Vec<f64>),
}

#[derive(Debug, PartialEq, Deserialize)]
struct Flattened {
    id: u8,
    #[serde(flatten)]
    inner: Inner,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Inner {
    ratio: f64,
    sum: i64,
}

/// `serde_json/arbitrary_precision` may break this. `make serde-json` runs it with that feature.
#[test]
fn numbers_are_deserialized_in_untagged_enums_and_flattened_structs() {
    assert_eq!(event::<Untagged>(r#"["e",1.5]"#).unwrap(), Untagged::Number(1.5));
    assert_eq!(event::<Untagged>(r#"["e",[1.5,2]]"#).unwrap(), Untagged::List(vec![1.5, 2.0]));
    assert_eq!(event::<Untagged>(r#"["e",1e400]"#).unwrap(), Untagged::Number(f64::MAX));
    let json = r#"["e",{"id":1,"ratio":0.5,"sum":-7,"x":[1.25,1e400],"y":{"z":-0.5}}]"#;
    let inner = Inner { ratio: 0.5, sum: -7 };
    let others = BTreeMap::from([
        ("x".to_owned(), vec![1.25, f64::MAX].into()),
        ("y".to_owned(), Value::from_iter([("z", -0.5)])),
    ]);
    assert_eq!(event::<Flattened>(json).unwrap(), Flattened { id: 1, inner, others });
}

#[test]
fn values_hold_numbers_with_any_features_of_serde_json() {
    let json = r#"["e",1.5,-0.5,18446744073709551616,1,-1,{"a":1.5}]"#;
    let args = event::<Args>(json).unwrap();
    assert!(args[..5].iter().all(Value::is_number), "{args:?}");
    assert_eq!((&args[0], &args[2], &args[5]["a"]), (&1.5.into(), &18446744073709551616.0.into(), &1.5.into()));
    assert_eq!(args[5].as_object().map(Map::len), Some(1));
    assert_eq!(serde_json::to_string(&args[5]).unwrap(), r#"{"a":1.5}"#);
    let json = serde_json::Value::try_from(args[5].clone()).unwrap();
    assert_eq!(json, serde_json::json!({"a": 1.5}));
    let object = r#"["e",{"$serde_json::private::Number":"x","a":"1"}]"#;
    assert_eq!(event::<Value>(object).unwrap()["a"], "1");
}

// Binary.

fn with_one<T: DeserializeOwned + Send + 'static>(argument: &str) -> Result<T, ArgsError> {
    read_args(&format!(r#"["e",{argument}]"#), &[Bytes::from_static(b"abc")], true)
}

const BINARY: &str = r#"{"_placeholder":true,"num":0}"#;

#[test]
fn binary_is_deserialized_as_any_type_of_bytes() {
    #[derive(Deserialize)]
    struct Tuple(u8, u8, u8);
    #[derive(Deserialize)]
    struct Wrapped(Vec<u8>);
    #[derive(Deserialize)]
    struct Inside {
        vec: Option<Vec<u8>>,
    }
    #[derive(Deserialize)]
    struct Buffer(#[serde(with = "serde_bytes")] Vec<u8>);

    assert_eq!(with_one::<Vec<u8>>(BINARY).unwrap(), b"abc");
    assert_eq!(&*with_one::<Box<[u8]>>(BINARY).unwrap(), b"abc");
    assert_eq!(&*with_one::<Arc<[u8]>>(BINARY).unwrap(), b"abc");
    assert_eq!(&*with_one::<Cow<'static, [u8]>>(BINARY).unwrap(), b"abc");
    assert_eq!(with_one::<[u8; 3]>(BINARY).unwrap(), *b"abc");
    assert_eq!(with_one::<Option<Vec<u8>>>(BINARY).unwrap().unwrap(), b"abc");
    assert_eq!(with_one::<(Vec<u8>,)>(BINARY).unwrap().0, b"abc");
    assert_eq!(with_one::<Args<Vec<u8>>>(BINARY).unwrap()[0], b"abc");
    assert_eq!(with_one::<Wrapped>(BINARY).unwrap().0, b"abc");
    assert_eq!(with_one::<Buffer>(BINARY).unwrap().0, b"abc");
    assert_eq!(with_one::<serde_bytes::ByteBuf>(BINARY).unwrap().into_vec(), b"abc");
    let Tuple(a, b, c) = with_one(BINARY).unwrap();
    assert_eq!([a, b, c], *b"abc");
    assert_eq!(with_one::<Inside>(&format!(r#"{{"vec":{BINARY}}}"#)).unwrap().vec.unwrap(), b"abc");
    assert_eq!(with_one::<HashMap<u32, Vec<u8>>>(&format!(r#"{{"7":{BINARY},"8":[1]}}"#)).unwrap()[&7], b"abc");
    assert_eq!(with_one::<BTreeMap<bool, Bytes>>(&format!(r#"{{"true":{BINARY}}}"#)).unwrap()[&true], "abc");
    // Also from arrays of numbers, with and without attachments.
    assert_eq!(with_one::<(Vec<u8>, Vec<u8>)>(&format!("[1,2],{BINARY}")).unwrap(), (vec![1, 2], b"abc".to_vec()));
    assert_eq!(event::<Vec<u8>>(r#"["e",[1,2]]"#).unwrap(), [1, 2]);
    assert_eq!(event::<Bytes>(r#"["e",[1,2]]"#).unwrap(), [1, 2][..]);
}

#[test]
fn binary_of_another_type_is_an_error() {
    fn error<T: DeserializeOwned + Send + 'static>() -> String {
        let Err(ArgsError::Mismatch(error)) = with_one::<T>(BINARY) else { panic!("binary was read") };
        error.to_string()
    }
    fn expected<T: DeserializeOwned + Send + 'static>(expected: &str) {
        let error = error::<T>();
        assert!(error.starts_with(&format!("invalid type: byte array, expected {expected}")), "{error}");
    }
    expected::<String>("a string");
    expected::<u8>("u8");
    expected::<f64>("f64");
    expected::<bool>("a boolean");
    expected::<char>("a character");
    expected::<HashMap<String, u8>>("a map");
    expected::<Inner>("struct Inner");
    expected::<serde_json::Value>("any valid JSON value");
    assert!(error::<[u8; 2]>().contains("invalid length 3"));
    assert!(error::<[u8; 4]>().contains("invalid length 3"));
    // The bytes of a typed array are not its numbers.
    assert!(error::<Vec<u32>>().contains("a byte of binary"));
    assert!(error::<Vec<f32>>().contains("a byte of binary"));
}

#[test]
fn a_value_shares_binary_at_any_depth() {
    let data = Bytes::from(vec![7; 100_000]);
    let attachments = [data.clone()];
    let json = format!(r#"["e",{{"a":[{{"b":{BINARY}}}]}}]"#);
    let mut kept = Vec::new();
    let info = allocation_counter::measure(|| {
        kept.push(read_args::<Value>(&json, &attachments, true).unwrap());
        kept.extend(read_args::<Args>(&json, &attachments, true).unwrap());
        kept.extend(read_args::<(Option<Value>, Rest)>(&json, &attachments, true).unwrap().0);
        kept.push(kept[0].to().unwrap());
        kept.push(kept[0].clone());
    });
    assert!(info.bytes_max < 10_000, "{info:?}");
    for value in &kept {
        assert_eq!(value["a"][0]["b"].as_binary().unwrap().as_ptr(), data.as_ptr());
    }
    // As the only argument of an event or an ack, with any form of placeholder.
    for placeholder in [BINARY, r#"{ "num" : 0 , "_placeholder" : true }"#] {
        let info = allocation_counter::measure(|| {
            let event: Bytes = read_args(&format!(r#"["e",{placeholder}]"#), &attachments, true).unwrap();
            let ack: Bytes = read_args(&format!("[{placeholder}]"), &attachments, false).unwrap();
            assert_eq!((event.as_ptr(), ack.as_ptr()), (data.as_ptr(), data.as_ptr()));
        });
        assert!(info.bytes_max < 10_000, "{info:?}");
    }
}

#[cfg(feature = "typed")]
#[test]
fn binary_of_typed_events_is_shared() {
    use crate::typed::Binary;

    let attachments = [Bytes::from(vec![7; 100])];
    let (name, Binary(data)): (String, _) = read_args(&format!(r#"["e","n",{BINARY}]"#), &attachments, true).unwrap();
    assert_eq!((&*name, data.as_ptr()), ("n", attachments[0].as_ptr()));
    assert_eq!(event::<Binary>(r#"["e",[1,2]]"#).unwrap().0, [1, 2][..]);
    assert!(mismatch::<Binary>(r#"["e",1]"#).contains("expected byte array"));
}

#[test]
fn binary_that_must_be_copied_is_copied_once() {
    #[derive(Deserialize)]
    struct File {
        content: Bytes,
    }
    const SIZE: usize = 500_000;
    let attachments = [Bytes::from(vec![7; SIZE])];
    let json = format!(r#"["e",{{"content":{BINARY}}}]"#);
    let info = allocation_counter::measure(|| {
        let file: File = read_args(&json, &attachments, true).unwrap();
        assert_eq!(file.content.len(), SIZE);
    });
    assert!(info.bytes_max < SIZE as u64 + 10_000, "{info:?}");
    let json = format!(r#"["e",{BINARY}]"#);
    let info = allocation_counter::measure(|| {
        assert_eq!(read_args::<Vec<u8>>(&json, &attachments, true).unwrap().capacity(), SIZE);
        assert_eq!(read_args::<Box<[u8]>>(&json, &attachments, true).unwrap().len(), SIZE);
        assert_eq!(read_args::<(Vec<u8>,)>(&json, &attachments, true).unwrap().0.len(), SIZE);
    });
    assert!(info.bytes_max < SIZE as u64 + 10_000, "{info:?}");
}

/// Placeholders and objects that look like them do not affect other objects.
#[test]
fn objects_are_deserialized_with_attachments_as_without() {
    let json = format!(
        r#"["e",{{"num":{{"num":[{BINARY}]}},"_placeholder":false}},{{"_placeholder":{{"x":1}}}},{{"num":1.5}},{{}}]"#
    );
    let args: Args = read_args(&json, &[Bytes::from_static(b"abc")], true).unwrap();
    assert_eq!(args[0]["num"]["num"][0], Bytes::from_static(b"abc"));
    assert_eq!(args[0]["_placeholder"], false);
    assert_eq!(args[1]["_placeholder"]["x"], 1);
    assert_eq!((&args[2]["num"], args[3].as_object().map(Map::len)), (&1.5.into(), Some(0)));
    let escaped = format!(r#"["e",{{"\u005fplaceholder":true,"num":0}},{BINARY}]"#);
    let args: Args = read_args(&escaped, &[Bytes::from_static(b"abc")], true).unwrap();
    assert_eq!((&args[0]["_placeholder"], &args[0]["num"]), (&true.into(), &0.into()));
}

// Depth.

fn nested(levels: usize, open: &str, close: &str) -> String {
    format!(r#"["e",{}1{}]"#, open.repeat(levels), close.repeat(levels))
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Tree {
    Leaf(#[expect(dead_code, reason = "it is only read")] u8),
    Node(Vec<Self>),
}

impl Tree {
    fn depth(self) -> usize {
        let (mut tree, mut depth) = (self, 0);
        while let Self::Node(mut children) = tree {
            depth += 1;
            tree = children.swap_remove(0);
        }
        depth
    }
}

#[derive(Debug, Default, Deserialize)]
struct Chain {
    next: Link,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Link {
    Next(Box<Chain>),
    End(#[expect(dead_code, reason = "it is only read")] u8),
}

impl Default for Link {
    fn default() -> Self {
        Self::End(0)
    }
}

#[derive(Debug, Deserialize)]
enum Tagged {
    #[serde(rename = "a")]
    Next(#[expect(dead_code, reason = "it is only read")] Box<Self>),
}

#[test]
fn json_is_deserialized_up_to_the_maximum_depth() {
    for levels in [SHALLOW - 1, SHALLOW, SHALLOW + 1, MAX_JSON_DEPTH] {
        let json = nested(levels, "[", "]");
        let value = event::<Value>(&json).unwrap();
        assert!(value.is_within(levels, &mut 0) && !value.is_within(levels - 1, &mut 0));
        let object = nested(levels, r#"{"a":"#, "}");
        let value = event::<Args>(&object).unwrap().remove(0);
        assert!(value.is_within(levels, &mut 0) && !value.is_within(levels - 1, &mut 0));
        assert!(mismatch::<Tagged>(&nested(levels, r#"{"a":"#, "}")).contains("expected"));
        event::<serde_json::Value>(&json).unwrap();
        event::<u8>(&json).unwrap_err();
    }
    let too_deep = nested(MAX_LEVELS, "[", "]");
    assert!(mismatch::<Value>(&too_deep).contains("recursion limit"));
    assert!(read_json::<Value>(too_deep.as_bytes()).is_err());
    assert!(read_json::<Value>(nested(MAX_JSON_DEPTH, "[", "]").as_bytes()).is_ok());
}

/// The worst case: serde buffers each level of an untagged enum, and binary is looked for in all of it.
#[test]
fn recursive_types_are_deserialized_on_a_separate_stack() {
    let small_stack = |work: &(dyn Fn() + Sync)| {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(1 << 20);
            thread.spawn_scoped(scope, work).unwrap().join().unwrap();
        });
    };
    small_stack(&|| assert_eq!(event::<Tree>(&nested(MAX_JSON_DEPTH, "[", "]")).unwrap().depth(), MAX_JSON_DEPTH));
    small_stack(&|| {
        let mut json = nested(MAX_JSON_DEPTH, "[", "]");
        json.insert_str(json.len() - 1, &format!(",{BINARY}"));
        let (tree, data) = read_args::<(Tree, Bytes)>(&json, &[Bytes::from_static(b"abc")], true).unwrap();
        assert_eq!((tree.depth(), &*data), (MAX_JSON_DEPTH, &b"abc"[..]));
    });
    small_stack(&|| {
        let json = nested(MAX_JSON_DEPTH, r#"{"next":"#, "}");
        let mut depth = 0;
        let mut chain = event::<Chain>(&json).unwrap();
        while let Link::Next(next) = chain.next {
            depth += 1;
            chain = *next;
        }
        assert_eq!(depth, MAX_JSON_DEPTH - 1);
    });
}

#[test]
fn a_panic_on_the_separate_stack_is_propagated() {
    #[derive(Debug)]
    struct Panics;

    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Value::deserialize(deserializer)?;
            panic!("so said the type")
        }
    }
    let json = nested(SHALLOW + 1, "[", "]");
    let panicked = std::panic::catch_unwind(|| event::<Panics>(&json).map(drop).map_err(drop)).unwrap_err();
    assert_eq!(panicked.downcast_ref(), Some(&"so said the type"));
}

#[test]
fn json_is_mended_at_any_depth() {
    let json = nested(500, "[", "]").replace('1', r#""\ud83d",1e400"#);
    let (mut value, mut depth) = (event::<Value>(&json).unwrap(), 0);
    while value[0].is_array() {
        value = value[0].take();
        depth += 1;
    }
    assert_eq!((depth, value), (499, vec![Value::from("\u{fffd}"), f64::MAX.into()].into()));
}
