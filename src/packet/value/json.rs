//! Conversions from and to `serde_json::Value`. Without recursion, because a thousand levels would need much stack.

use std::vec;

use serde_json::{Map as JsonMap, Value as Json, map::IntoIter as JsonEntries};

use super::{IntoIter, Map, Value};

/// An array or an object that is partly converted.
enum ToJson {
    Array(vec::IntoIter<Value>, Vec<Json>),
    /// Has the key of the value that is being converted.
    Object(IntoIter, JsonMap<String, Json>, String),
}

impl ToJson {
    fn next(&mut self) -> Option<Value> {
        match self {
            Self::Array(rest, _) => rest.next(),
            Self::Object(rest, _, key) => rest.next().map(|(next, value)| {
                *key = next.into();
                value
            }),
        }
    }

    fn add(&mut self, value: Json) {
        match self {
            Self::Array(_, values) => values.push(value),
            Self::Object(_, entries, key) => drop(entries.insert(std::mem::take(key), value)),
        }
    }

    fn finish(self) -> Json {
        match self {
            Self::Array(_, values) => Json::Array(values),
            Self::Object(_, entries, _) => Json::Object(entries),
        }
    }
}

/// Returns `None` if the value contains binary.
pub(super) fn from_value(value: Value) -> Option<Json> {
    let mut open: Vec<ToJson> = Vec::new();
    let mut value = value;
    loop {
        let mut done = match value {
            Value::Array(values) => {
                let converted = Vec::with_capacity(values.len());
                open.push(ToJson::Array(values.into_iter(), converted));
                None
            }
            Value::Object(entries) => {
                open.push(ToJson::Object(entries.into_iter(), JsonMap::new(), String::new()));
                None
            }
            Value::Null => Some(Json::Null),
            Value::Bool(value) => Some(Json::Bool(value)),
            Value::Number(number) => Some(Json::Number(number.into())),
            Value::String(text) => Some(Json::String(text.into())),
            Value::Binary(_) => return None,
        };
        value = loop {
            match (done.take(), open.last_mut()) {
                (Some(done), None) => return Some(done),
                (Some(done), Some(innermost)) => innermost.add(done),
                (None, _) => {}
            }
            match open.last_mut().and_then(ToJson::next) {
                Some(next) => break next,
                None => done = open.pop().map(ToJson::finish),
            }
        };
    }
}

/// Like [`ToJson`], for the other direction.
enum FromJson {
    Array(vec::IntoIter<Json>, Vec<Value>),
    Object(JsonEntries, Vec<(Box<str>, Value)>, Box<str>),
}

impl FromJson {
    fn next(&mut self) -> Option<Json> {
        match self {
            Self::Array(rest, _) => rest.next(),
            Self::Object(rest, _, key) => rest.next().map(|(next, value)| {
                *key = next.into();
                value
            }),
        }
    }

    fn add(&mut self, value: Value) {
        match self {
            Self::Array(_, values) => values.push(value),
            Self::Object(_, entries, key) => entries.push((std::mem::take(key), value)),
        }
    }

    fn finish(self) -> Value {
        match self {
            Self::Array(_, values) => Value::Array(values),
            Self::Object(_, entries, _) => Value::Object(Map::from_entries(entries)),
        }
    }
}

pub(super) fn to_value(json: Json) -> Value {
    let mut open: Vec<FromJson> = Vec::new();
    let mut json = json;
    loop {
        let mut done = match json {
            Json::Array(values) => {
                let converted = Vec::with_capacity(values.len());
                open.push(FromJson::Array(values.into_iter(), converted));
                None
            }
            Json::Object(entries) => {
                let converted = Vec::with_capacity(entries.len());
                open.push(FromJson::Object(entries.into_iter(), converted, Box::default()));
                None
            }
            Json::Null => Some(Value::Null),
            Json::Bool(value) => Some(Value::Bool(value)),
            Json::Number(number) => Some(Value::Number(number.into())),
            Json::String(text) => Some(Value::String(text.into())),
        };
        json = loop {
            match (done.take(), open.last_mut()) {
                (Some(done), None) => return done,
                (Some(done), Some(innermost)) => innermost.add(done),
                (None, _) => {}
            }
            match open.last_mut().and_then(FromJson::next) {
                Some(next) => break next,
                None => done = open.pop().map(FromJson::finish),
            }
        };
    }
}
