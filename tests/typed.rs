//! Typed events on the wire.

use axum::extract::State;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tower::timeout::TimeoutLayer;
use tower_socketio::{
    Ack, Args, EventError, Namespace, SocketIo, SocketIoConfig, SocketIoService, SocketRef, Value,
    engine::Packet,
    extract::AckSender,
    handler::EventHandler,
    typed::{Binary, Event, EventSet, Fallible, Interface, NoAnswer, Parameter, ServerEvent, TypeScript, Typed},
};
use ts_rs::TS;

use crate::support::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Point {
    x: i32,
    y: i32,
}

tower_socketio::events! {
    /// What the server tells.
    pub emit ServerToClientEvents {
        "joined" => Joined { user: String },
        "moved" => Moved { from: (i32, i32), to: Point },
        "file" => File { name: String, content: Binary },
        "reset" => Reset,
        /// Asks.
        "name?" => NameAsked { greeting: String } -> String,
        "pair?" => PairAsked -> (u8, bool),
        "done?" => DoneAsked {} -> (),
    }
    /// What clients ask for.
    pub on ClientToServerEvents {
        #[derive(Debug, Clone, PartialEq)]
        "move" => Move {
            /// Where from.
            from: (i32, i32),
            to: Point,
            color: Option<String>,
        } -> Point,
        "leave" => Leave,
        "pair" => Pair { r#type: u8 } -> (u8, u8),
        "done" => Done -> (),
        "divide" => Divide { a: u8, b: u8 } -> Fallible<u8>,
        "upload" => Upload { content: Binary } -> u32,
    }
}

fn service<S: Clone + Send + Sync + 'static>(namespace: Namespace<S>, state: S) -> SocketIo {
    SocketIoService::new(SocketIoConfig::new().namespace("/", namespace.with_state(state))).io()
}

#[tokio::test]
async fn an_event_is_emitted_by_everything_that_emits() {
    let io = service(Namespace::new(), ());
    let mut client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    let joined = Joined { user: "Ada".to_owned() };
    until(|| socket.is_writable()).await;
    socket.volatile().emit_event(&joined).unwrap();
    socket.emit_event(&joined).unwrap();
    socket.within("none").within(socket.id()).emit_event(&joined).unwrap();
    io.emit_event(&joined).unwrap();
    io.of("/").unwrap().emit_event(&joined).unwrap();
    io.fetch_sockets().await.unwrap()[0].emit_event(&joined).unwrap();
    for _ in 0..6 {
        client.expect(r#"42["joined","Ada"]"#).await;
    }
    socket.disconnect();
    assert!(socket.emit_event(&joined).is_err());
}

#[tokio::test]
async fn its_fields_are_its_arguments() {
    let io = service(Namespace::new(), ());
    let mut client = Memory::join(&io).await;
    // A nested tuple is one argument.
    io.emit_event(&Moved { from: (1, 2), to: Point { x: 3, y: 4 } }).unwrap();
    client.expect(r#"42["moved",[1,2],{"x":3,"y":4}]"#).await;
    io.emit_event(&Reset).unwrap();
    client.expect(r#"42["reset"]"#).await;
    io.emit_event(&File { name: "n".to_owned(), content: Bytes::from_static(b"abc").into() }).unwrap();
    client.expect(r#"451-["file","n",{"_placeholder":true,"num":0}]"#).await;
    assert_eq!(client.packet().await, Some(Packet::binary(&b"abc"[..])));
}

#[tokio::test]
async fn its_ack_has_the_type_that_is_declared() {
    let io = service(Namespace::new(), ());
    let mut client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    let name = socket.emit_event_with_ack(&NameAsked { greeting: "hi".to_owned() });
    client.expect(r#"420["name?","hi"]"#).await;
    client.say(r#"430["Ada"]"#);
    assert_eq!(soon(name).await.unwrap(), "Ada");
    let pair = socket.timeout(PATIENCE).emit_event_with_ack(&PairAsked);
    client.expect(r#"421["pair?"]"#).await;
    client.say("431[7,true]");
    assert_eq!(soon(pair).await.unwrap(), (7, true));
    let wrong = socket.emit_event_with_ack(&PairAsked);
    client.expect(r#"422["pair?"]"#).await;
    client.say(r#"432["seven"]"#);
    assert!(soon(wrong).await.is_err());
    let everyone = io.emit_event_with_ack(&DoneAsked {}).unwrap();
    client.expect(r#"423["done?"]"#).await;
    client.say("433[]");
    assert_eq!(soon(everyone.responses()).await.answers.len(), 1);
    let namespace = io.of("/").unwrap().emit_event_with_ack(&DoneAsked {}).unwrap();
    let room = io.to(socket.id()).emit_event_with_ack(&DoneAsked {}).unwrap();
    assert_eq!((namespace.remaining(), room.remaining()), (1, 1));
}

#[tokio::test]
async fn a_handler_takes_the_event_and_answers_it() {
    async fn moved(State(offset): State<i32>, Typed(event): Typed<Move>) -> Ack<Point> {
        let expected = Move { from: (1, 2), to: Point { x: 3, y: 4 }, color: event.color.clone() };
        assert_eq!(event, expected);
        Ack(Point { x: event.to.x + offset, y: event.color.map_or(0, |color| color.len() as i32) })
    }
    async fn divide(Typed(Divide { a, b }): Typed<Divide>) -> Result<Ack<u8>, EventError> {
        a.checked_div(b).map(Ack).ok_or(EventError::new("by zero"))
    }
    let namespace = Namespace::new()
        .on_event(moved)
        .on_event(divide.layer(TimeoutLayer::new(PATIENCE)))
        .on_event(async |socket: SocketRef, Typed(Leave): Typed<Leave>| socket.disconnect())
        .on_event(async |Typed(pair): Typed<Pair>| Ack((pair.r#type, 2)))
        .on_event::<Done, _, _>(async |_: Typed<Done>| Ack(()))
        .on_event(async |Typed(upload): Typed<Upload>| Ack(upload.content.0.len() as u32));
    let io = service(namespace, 10);
    let mut client = Memory::join(&io).await;
    for (event, answer) in [
        (r#"420["move",[1,2],{"x":3,"y":4},"red"]"#, r#"430[{"x":13,"y":3}]"#),
        (r#"421["move",[1,2],{"x":3,"y":4}]"#, r#"431[{"x":13,"y":0}]"#),
        (r#"422["pair",1]"#, "432[1,2]"),
        (r#"423["done","more"]"#, "433[]"),
        (r#"424["divide",7,2]"#, "434[3]"),
        (r#"425["divide",7,0]"#, r#"435[{"error":{"message":"by zero"}}]"#),
    ] {
        client.say(event);
        client.expect(answer).await;
    }
    client.say(r#"451-6["upload",{"_placeholder":true,"num":0}]"#);
    client.send(Packet::binary(&b"abc"[..]));
    client.expect("436[3]").await;
    client.say(r#"42["leave"]"#);
    client.expect("41").await;
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_rejected() {
    let io = service(Namespace::new().on_event(async |Typed(event): Typed<Pair>| Ack((event.r#type, 0))), ());
    let mut client = Memory::join(&io).await;
    for arguments in ["", r#","one""#, ",256", ",[1]"] {
        client.say(&format!(r#"420["pair"{arguments}]"#));
        let answer = client.text().await;
        assert!(answer.starts_with(r#"430[{"error":{"message":"invalid arguments: "#), "{answer}");
    }
    assert_eq!(io.stats().rejections, 4);
}

#[tokio::test]
async fn an_ack_may_be_answered_later_without_a_check() {
    async fn done(ack: AckSender, Typed(Done): Typed<Done>) {
        ack.send(&()).unwrap();
    }
    let io = service(Namespace::new().on(Done::NAME, done), ());
    let mut client = Memory::join(&io).await;
    client.say(r#"427["done"]"#);
    client.expect("437[]").await;
}

/// A type with a manual implementation: it borrows, and takes a variable number of arguments.
struct Log<'a>(&'a [&'a str]);

impl Event for Log<'_> {
    const NAME: &'static str = "log";
    type Args = Args<String>;
    type Ack = NoAnswer;
}

impl ServerEvent for Log<'_> {
    fn args(&self) -> impl Serialize {
        Args(self.0.to_vec())
    }
}

#[tokio::test]
async fn an_event_may_be_declared_by_hand() {
    let io = service(Namespace::new(), ());
    let mut client = Memory::join(&io).await;
    io.emit_event(&Log(&["a", "b"])).unwrap();
    client.expect(r#"42["log","a","b"]"#).await;
}

fn export<S: EventSet>() -> String {
    TypeScript::new().events::<S>().to_string()
}

#[test]
fn the_interfaces_are_those_of_the_client() {
    assert_eq!(
        export::<ServerToClientEvents>(),
        r#"// Generated by tower-socketio. Do not edit.

export type Point = { x: number, y: number, };

/** What the server tells. */
export interface ServerToClientEvents {
  joined: (user: string) => void;
  moved: (from: [number, number], to: Point) => void;
  file: (name: string, content: ArrayBuffer | Uint8Array) => void;
  reset: () => void;
  /** Asks. */
  "name?": (greeting: string, callback: (answer: string) => void) => void;
  "pair?": (callback: (...answer: [number, boolean]) => void) => void;
  "done?": (callback: () => void) => void;
}
"#
    );
    let text = export::<ClientToServerEvents>();
    for line in [
        "move: (from: [number, number], to: Point, color: string | null, callback: (answer: Point) => void) => void;",
        "leave: () => void;",
        "pair: (type: number, callback: (...answer: [number, number]) => void) => void;",
        "divide: (a: number, b: number, callback: (answer: number | EventError) => void) => void;",
        "export type EventError = { error: { message: string, data?: unknown } };",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn types_are_declared_with_all_that_they_use() {
    mod nested {
        use super::*;

        /// The innermost.
        #[derive(Serialize, TS)]
        pub struct Leaf(pub u64);

        #[derive(Serialize, TS)]
        pub struct Tree<T> {
            pub leaves: Vec<Option<T>>,
            pub children: Vec<Self>,
            pub anything: serde_json::Value,
        }

        #[allow(dead_code)]
        #[derive(Serialize, TS)]
        #[serde(tag = "kind", rename_all = "lowercase")]
        pub enum Shape {
            Tree(Tree<Leaf>),
            Nothing,
        }

        tower_socketio::events! {
            pub emit Nested {
                "shapes" => Shapes { shapes: std::collections::HashMap<String, Shape>, value: Value, rest: Args },
            }
        }
    }
    let text = export::<nested::Nested>();
    for line in [
        "export type Leaf = number;",
        "export type Tree<T> = { leaves: Array<T | null>, children: Array<Tree<T>>, anything: JsonValue, };",
        r#"export type Shape = { "kind": "tree" } & Tree<Leaf> | { "kind": "nothing" };"#,
        "export type JsonValue = ",
        "shapes: (shapes: { [key in string]: Shape }, value: unknown, rest: Array<unknown>) => void;",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(text.matches("export type").count(), 4, "{text}");
}

/// A set with a manual implementation and unusual types.
struct Odd;

impl Event for Odd {
    const NAME: &'static str = "it's \"odd\"\n*/";
    type Args = (u8, u8);
    type Ack = NoAnswer;
}

impl EventSet for Odd {
    const NAME: &'static str = "OddEvents";

    fn describe(interface: &mut Interface<'_>) {
        let parameters = [Parameter::new::<u8>("default"), Parameter::new::<u8>("callback")];
        interface.event::<Self>("Ends */ early.\n\nSecond line.", &parameters);
    }
}

#[test]
fn names_and_comments_cannot_break_out() {
    assert_eq!(
        export::<Odd>(),
        r#"// Generated by tower-socketio. Do not edit.

export interface OddEvents {
  /**
   * Ends *\/ early.
   *
   * Second line.
   */
  "it's \"odd\"\n*/": (default_: number, callback_: number) => void;
}
"#
    );
}

#[test]
#[should_panic(expected = "two types are called `Point`")]
fn two_types_of_one_name_are_noticed() {
    mod other {
        #[derive(serde::Serialize, ts_rs::TS)]
        pub struct Point {
            z: i32,
        }
        tower_socketio::events! {
            emit OtherEvents { "point" => PointMoved { point: Point } }
        }
        pub fn add(text: tower_socketio::typed::TypeScript) -> tower_socketio::typed::TypeScript {
            text.events::<OtherEvents>()
        }
    }
    let _ = other::add(TypeScript::new().events::<ServerToClientEvents>());
}

#[test]
#[should_panic(expected = "the interface `OddEvents` has a name")]
fn two_interfaces_of_one_name_are_noticed() {
    let _ = TypeScript::new().events::<Odd>().events::<Odd>();
}

#[test]
fn the_guide_shows_the_example() {
    let guide = include_str!("../docs/typed-events.md");
    let (_, client) = include_str!("../examples/typed-events/client.ts").split_once("\n\n").unwrap();
    assert!(guide.contains(include_str!("../examples/typed-events/events.ts")));
    assert!(guide.contains(client));
}

#[test]
fn a_typed_event_derefs_to_it() {
    let mut event = Typed(Divide { a: 6, b: 2 });
    event.b += 1;
    assert_eq!(event.a / event.b, 2);
}

#[cfg(feature = "asyncapi")]
mod asyncapi {
    use schemars::JsonSchema;
    use serde_json::json;
    use tower_socketio::typed::AsyncApi;

    use super::*;

    /// Where a piece stands.
    #[derive(Serialize, Deserialize, TS, JsonSchema)]
    struct Square {
        column: u8,
        row: Option<i32>,
    }

    #[allow(dead_code)]
    #[derive(Serialize, TS, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Turn {
        White,
        Black,
    }

    tower_socketio::events! {
        /// What the server tells.
        emit Told {
            /// A piece has moved.
            ///
            /// To all players.
            "moved" => Moved { from: Square, to: Square },
            "file" => Received { content: Binary },
            "are you there?" => AreYouThere -> (u16, String),
            "are you there!" => AreYouThereNow -> (),
        }
        on Asked {
            "moved" => MovedByClient { r#type: Option<Square> } -> Fallible<Turn>,
            "anything" => Anything { value: Value, rest: Args },
        }
    }

    fn document() -> serde_json::Value {
        let document = AsyncApi::new("Chess", "1.2.3")
            .description("For *two*.")
            .server("production", "wss://chess.example.com/socket.io/")
            .events::<Told>("/game/{id}")
            .events::<Asked>("/game/{id}")
            .events::<Asked>("/");
        serde_json::from_str(&document.to_string()).unwrap()
    }

    #[test]
    fn an_asyncapi_document_describes_channels_operations_and_messages() {
        let document = document();
        assert_eq!(document["asyncapi"], "3.0.0");
        assert_eq!(document["info"], json!({"title": "Chess", "version": "1.2.3", "description": "For *two*."}));
        let server = json!({"host": "chess.example.com", "protocol": "wss", "pathname": "/socket.io/"});
        assert_eq!(document["servers"], json!({ "production": server }));
        let channel = &document["channels"]["game-id"];
        assert_eq!((&channel["address"], &channel["parameters"]), (&json!("/game/{id}"), &json!({"id": {}})));
        assert_eq!(document["channels"]["root"]["address"], "/");
        let reference = |id: &str| json!({ "$ref": format!("#/channels/game-id/messages/{id}") });
        assert_eq!(
            document["operations"]["game-id.emit.moved"],
            json!({
                "action": "send",
                "channel": { "$ref": "#/channels/game-id" },
                "messages": [reference("emit.moved")],
                "summary": "A piece has moved.",
                "description": "A piece has moved.\n\nTo all players.",
            })
        );
        // An event of the same name in the other direction, and two names that share an identifier.
        assert_eq!(
            document["operations"]["game-id.on.moved"]["reply"],
            json!({
                "channel": { "$ref": "#/channels/game-id" },
                "messages": [reference("on.moved.ack"), reference("error")],
            })
        );
        let messages = &channel["messages"];
        assert_eq!(messages["emit.are-you-there-"]["name"], "are you there?");
        assert_eq!(messages["emit.are-you-there--2"]["name"], "are you there!");
        assert!(document["operations"]["game-id.emit.file"].get("reply").is_none());
    }

    #[test]
    fn the_payloads_of_an_asyncapi_document_are_those_on_the_wire() {
        let document = document();
        let messages = &document["channels"]["game-id"]["messages"];
        let square = json!({"$ref": "#/components/schemas/Square"});
        let moved = json!({"type": "array", "items": [square, square], "minItems": 2, "maxItems": 2});
        assert_eq!(messages["emit.moved"]["payload"], moved);
        assert_eq!(messages["emit.moved"]["x-arguments"], json!(["from", "to"]));
        assert_eq!(messages["emit.file"]["payload"], json!({"type": "string", "format": "binary"}));
        assert_eq!(messages["emit.are-you-there-"]["payload"], json!({"type": "array", "maxItems": 0}));
        let pair = &messages["emit.are-you-there-.ack"]["payload"];
        assert_eq!((&pair["items"][0]["type"], &pair["items"][1]["type"]), (&json!("integer"), &json!("string")));
        assert_eq!(messages["emit.are-you-there--2.ack"]["payload"], json!({"type": "array", "maxItems": 0}));
        assert_eq!(messages["on.moved"]["payload"]["anyOf"], json!([square, {"type": "null"}]));
        assert_eq!(messages["on.moved"]["x-arguments"], json!(["type"]));
        assert_eq!(messages["on.moved.ack"]["payload"], json!({"$ref": "#/components/schemas/Turn"}));
        assert_eq!(messages["error"]["payload"], json!({"$ref": "#/components/schemas/EventError"}));
        assert_eq!(messages["on.anything"]["payload"]["items"], json!([true, {"type": "array", "items": true}]));
        let schemas = &document["components"]["schemas"];
        // Integers remain integers.
        let column = json!({"type": "integer", "format": "uint8", "minimum": 0, "maximum": 255});
        assert_eq!(schemas["Square"]["properties"]["column"], column);
        assert_eq!(schemas["Square"]["required"], json!(["column"]));
        assert_eq!(schemas["Square"]["description"], "Where a piece stands.");
        assert_eq!(schemas["Turn"]["enum"], json!(["white", "black"]));
    }

    #[test]
    #[should_panic(
        expected = "the argument `to` of the event `moved` has no JSON Schema: derive `schemars::JsonSchema`"
    )]
    fn a_type_without_a_schema_is_named() {
        let _ = AsyncApi::new("a", "1").events::<ServerToClientEvents>("/");
    }

    #[test]
    #[should_panic(expected = "the set `OddEvents` has no direction")]
    fn a_set_without_a_direction_is_refused() {
        let _ = AsyncApi::new("a", "1").events::<Odd>("/");
    }

    #[test]
    #[should_panic(expected = "`example.com` is not an absolute URL")]
    fn a_server_needs_an_absolute_url() {
        let _ = AsyncApi::new("a", "1").server("a", "example.com");
    }
}
