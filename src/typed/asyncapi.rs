//! Generates AsyncAPI documents.

use std::{borrow::Cow, fmt};

use http::Uri;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value as Json, json};

use crate::{
    event::EventError,
    packet::{Args, Arity, Value, normalize_name},
};

use super::{
    Binary, Direction, EventSet,
    schema::TypeSchema,
    type_names::Types,
    typescript::{Interface, Operation},
};

/// Generates an [AsyncAPI 3.0](https://www.asyncapi.com/docs/reference/specification/v3.0.0) document from sets of events and the
/// types that they use. `to_string()` returns it as JSON. Requires the feature `asyncapi`.
///
/// ```
/// # tower_socketio::events! {
/// #     pub emit ServerToClientEvents { "joined" => Joined { user: String } }
/// #     pub on ClientToServerEvents { "message" => Message { text: String } -> bool }
/// # }
/// use tower_socketio::typed::AsyncApi;
///
/// let document = AsyncApi::new("Chat", "1.0.0")
///     .server("production", "wss://chat.example.com/socket.io/")
///     .events::<ServerToClientEvents>("/")
///     .events::<ClientToServerEvents>("/");
/// assert_eq!(document.to_json()["operations"]["root.on.message"]["action"], "receive");
/// ```
///
/// The document describes the server: it sends the events of `emit` sets, and receives those of `on` sets. A channel is a namespace.
/// The payload of a message is the argument of the event, or an array if there are several; `x-arguments` has their names. An ack is
/// the reply of its operation.
///
/// All types must derive [`JsonSchema`](super::schemars::JsonSchema). Their schemas are those of deserialization.
#[must_use]
pub struct AsyncApi {
    info: Map<String, Json>,
    servers: Map<String, Json>,
    channels: Map<String, Json>,
    operations: Map<String, Json>,
    generator: SchemaGenerator,
}

const SCHEMAS: &str = "/components/schemas";

impl AsyncApi {
    /// Creates a document without events. The title and the version are those of the application's API.
    pub fn new(title: &str, version: &str) -> Self {
        let settings = SchemaSettings::draft07().with(|settings| {
            settings.definitions_path = SCHEMAS.into();
            settings.meta_schema = None;
        });
        Self {
            info: object(json!({ "title": title, "version": version })),
            servers: Map::new(),
            channels: Map::new(),
            operations: Map::new(),
            generator: settings.into_generator(),
        }
    }

    /// Sets the description of the API, as CommonMark.
    pub fn description(mut self, text: &str) -> Self {
        self.info.insert("description".into(), text.into());
        self
    }

    /// Adds a server with its URL, such as `wss://example.com/socket.io/`.
    ///
    /// # Panics
    ///
    /// Panics if the URL is not absolute.
    #[track_caller]
    pub fn server(mut self, name: &str, url: &str) -> Self {
        let parts = url.parse::<Uri>().map(Uri::into_parts).unwrap_or_default();
        let (Some(protocol), Some(host)) = (parts.scheme, parts.authority) else {
            panic!("`{url}` is not an absolute URL");
        };
        let path = parts.path_and_query.as_ref().map_or("/", |path| path.path());
        let server = json!({ "host": host.as_str(), "protocol": protocol.as_str(), "pathname": path });
        self.servers.insert(identifier(name), server);
        self
    }

    /// Adds the events of a set, which the clients of a namespace send or receive. A pattern, such as `/room/{id}`, is a channel with
    /// parameters.
    ///
    /// # Panics
    ///
    /// Panics if an argument or a response has no JSON Schema, or if the set is not declared by [`events!`](crate::events).
    #[track_caller]
    pub fn events<S: EventSet>(mut self, namespace: &str) -> Self {
        let Some(direction) = S::DIRECTION else {
            panic!("the set `{}` has no direction: declare it with `events!`", S::NAME);
        };
        let mut types = Types::default();
        let mut interface = Interface::new(&mut types);
        S::describe(&mut interface);
        let operations = interface.into_operations();

        let name = normalize_name(namespace);
        let channel = match &*name {
            "/" => "root".to_owned(),
            name => identifier(&name[1..]),
        };
        let entry = self.channels.entry(&channel).or_insert_with(|| new_channel(&name));
        let mut messages = object(entry["messages"].take());
        for operation in operations {
            self.operation(&channel, &mut messages, direction, &operation);
        }
        self.channels[&channel]["messages"] = messages.into();
        self
    }

    /// Adds an event, and its messages to those of the channel.
    #[track_caller]
    fn operation(
        &mut self,
        channel: &str,
        messages: &mut Map<String, Json>,
        direction: Direction,
        operation: &Operation,
    ) {
        let (action, prefix) = match direction {
            Direction::Emit => ("send", "emit"),
            Direction::On => ("receive", "on"),
        };
        let reference = |id: &str| json!({ "$ref": format!("#/channels/{channel}/messages/{id}") });
        let to_channel = || json!({ "$ref": format!("#/channels/{channel}") });
        let id = unused(messages, &format!("{prefix}.{}", identifier(operation.name)));

        let mut message = json!({ "name": operation.name, "title": operation.name });
        describe(&mut message, operation.comment.trim());
        let names: Vec<&str> = operation.parameters.iter().map(|parameter| parameter.name()).collect();
        let mut schemas: Vec<Json> = Vec::new();
        for parameter in &operation.parameters {
            let what = || format!("the argument `{}` of the event `{}`", parameter.name(), operation.name);
            schemas.push(self.schema(parameter.schema, what));
        }
        message["payload"] = match schemas.len() {
            1 => schemas.remove(0),
            count => json!({ "type": "array", "items": schemas, "minItems": count, "maxItems": count }),
        };
        if names.is_empty() {
            message["payload"] = json!({ "type": "array", "maxItems": 0 });
        }
        message["x-arguments"] = names.into();
        messages.insert(id.clone(), message);

        let mut entry = json!({ "action": action, "channel": to_channel(), "messages": [reference(&id)] });
        describe(&mut entry, operation.comment.trim());
        if let Some(ack) = &operation.ack {
            let ack_id = unused(messages, &format!("{id}.ack"));
            let payload = match ack.shape.arity {
                Arity::None => json!({ "type": "array", "maxItems": 0 }),
                Arity::One | Arity::Several => {
                    self.schema(ack.schema, || format!("the response of the event `{}`", operation.name))
                }
            };
            let title = format!("ack of {}", operation.name);
            messages.insert(ack_id.clone(), json!({ "name": title, "title": title, "payload": payload }));
            let mut replies = vec![reference(&ack_id)];
            if ack.shape.is_fallible {
                let payload =
                    self.schema(TypeSchema(Some(|generator| generator.subschema_for::<EventError>())), String::new);
                messages.insert("error".into(), json!({ "name": "error", "title": "error", "payload": payload }));
                replies.push(reference("error"));
            }
            entry["reply"] = json!({ "channel": to_channel(), "messages": replies });
        }
        self.operations.insert(format!("{channel}.{id}"), entry);
    }

    #[track_caller]
    fn schema(&mut self, schema: TypeSchema, what: impl FnOnce() -> String) -> Json {
        let Some(generate) = schema.0 else {
            panic!("{} has no JSON Schema: derive `schemars::JsonSchema` for its type", what());
        };
        let mut schema = generate(&mut self.generator);
        self.generator.transforms_mut().for_each(|transform| transform.transform(&mut schema));
        schema.to_value()
    }

    /// Returns the document.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let schemas = self.generator.clone().take_definitions(true);
        let mut document = json!({
            "asyncapi": "3.0.0",
            "info": self.info,
            "defaultContentType": "application/json",
            "servers": self.servers,
            "channels": self.channels,
            "operations": self.operations,
            "components": { "schemas": schemas },
        });
        if self.servers.is_empty() {
            document.as_object_mut().expect("it is an object").remove("servers");
        }
        document
    }
}

fn object(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(object) => object,
        _ => Map::new(),
    }
}

/// Creates a channel without messages. The parameters of a pattern are those of the channel.
fn new_channel(namespace: &str) -> Json {
    let mut channel = json!({ "address": namespace.replace("{*", "{"), "messages": {} });
    let parameters: Map<_, _> = namespace
        .split('{')
        .skip(1)
        .filter_map(|rest| Some((rest.split_once('}')?.0.trim_start_matches('*').to_owned(), json!({}))))
        .collect();
    if !parameters.is_empty() {
        channel["parameters"] = parameters.into();
    }
    channel
}

/// Adds a comment: its first line as a summary, and all of it if it is longer.
fn describe(entry: &mut Json, comment: &str) {
    if let Some(first) = comment.lines().next() {
        entry["summary"] = first.trim().into();
        if comment.lines().nth(1).is_some() {
            entry["description"] = comment.lines().map(str::trim).collect::<Vec<_>>().join("\n").into();
        }
    }
}

/// Returns a name as an identifier of AsyncAPI, which other names may share.
fn identifier(name: &str) -> String {
    let keeps = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    name.chars().filter(|c| !matches!(c, '{' | '}')).map(|c| if keeps(c) { c } else { '-' }).collect()
}

fn unused(messages: &Map<String, Json>, id: &str) -> String {
    let others = (2..).map(|number| format!("{id}-{number}"));
    let free = std::iter::once(id.to_owned()).chain(others).find(|id| !messages.contains_key(id));
    free.expect("numbers do not end")
}

impl fmt::Display for AsyncApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:#}", self.to_json())
    }
}

impl fmt::Debug for AsyncApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncApi").field("info", &self.info).finish_non_exhaustive()
    }
}

impl JsonSchema for Binary {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Binary".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "binary" })
    }
}

impl JsonSchema for Value {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

impl<T: JsonSchema> JsonSchema for Args<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Vec::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<T>::json_schema(generator)
    }
}

impl JsonSchema for EventError {
    fn schema_name() -> Cow<'static, str> {
        "EventError".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The response of a handler that fails.",
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["message"],
                    "properties": { "message": { "type": "string" }, "data": true },
                },
            },
        })
    }
}
