//! Generates the TypeScript interfaces for `socket.io-client`.

use std::fmt::{self, Write as _};

use ts_rs::Config;

#[cfg(feature = "asyncapi")]
use super::types::AckShape;
use super::{AckType, ArgumentType, Direction, Event, schema::TypeSchema, type_names::Types};

/// Words that cannot name a parameter in TypeScript.
const TAKEN: [&str; 48] = [
    "void",
    "yield",
    "arguments",
    "await",
    "break",
    "callback",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "static",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "var",
    "while",
    "with",
];

/// A set of events, which becomes an interface in TypeScript. Implemented by [`events!`](crate::events), or manually.
///
/// ```
/// use tower_socketio::typed::{Event, EventSet, Interface, NoAnswer, Parameter, TypeScript};
///
/// struct Joined;
///
/// impl Event for Joined {
///     const NAME: &'static str = "joined";
///     type Args = (String,);
///     type Ack = NoAnswer;
/// }
///
/// struct ServerToClientEvents;
///
/// impl EventSet for ServerToClientEvents {
///     const NAME: &'static str = "ServerToClientEvents";
///
///     fn describe(interface: &mut Interface<'_>) {
///         interface.event::<Joined>("A user has joined.", &[Parameter::new::<String>("user")]);
///     }
/// }
/// assert!(TypeScript::new().events::<ServerToClientEvents>().to_string().contains("joined: (user: string) => void;"));
/// ```
pub trait EventSet {
    /// The name of the interface.
    const NAME: &'static str;

    /// The comment of the interface.
    const COMMENT: &'static str = "";

    /// Who emits the events. Only AsyncAPI needs it.
    const DIRECTION: Option<Direction> = None;

    /// Adds the events to the interface.
    fn describe(interface: &mut Interface<'_>);
}

/// A named argument of an event.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    name: &'static str,
    ty: fn(&mut Types) -> String,
    #[cfg_attr(not(feature = "asyncapi"), expect(dead_code))]
    pub(super) schema: TypeSchema,
}

impl Parameter {
    /// Creates a parameter from its name and type.
    #[must_use]
    pub fn new<T: ArgumentType>(name: &'static str) -> Self {
        Self { name, ty: T::argument, schema: TypeSchema::default() }
    }

    /// Used by the expansion of `events!`.
    #[doc(hidden)]
    #[must_use]
    pub fn with_schema(self, schema: TypeSchema) -> Self {
        Self { schema, ..self }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name.trim_start_matches("r#")
    }

    fn write(self, types: &mut Types) -> String {
        let name = self.name();
        let suffix = if TAKEN.contains(&name) { "_" } else { "" };
        format!("{name}{suffix}: {}", (self.ty)(types))
    }
}

/// An interface that is being generated. See [`EventSet::describe`].
pub struct Interface<'a> {
    types: &'a mut Types,
    text: String,
    #[cfg(feature = "asyncapi")]
    operations: Vec<Operation>,
}

/// An event as AsyncAPI describes it.
#[cfg(feature = "asyncapi")]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) comment: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) ack: Option<Ack>,
}

/// The ack of an [`Operation`].
#[cfg(feature = "asyncapi")]
pub(super) struct Ack {
    pub(super) shape: AckShape,
    pub(super) schema: TypeSchema,
}

impl<'a> Interface<'a> {
    pub(super) fn new(types: &'a mut Types) -> Self {
        Self {
            types,
            text: String::new(),
            #[cfg(feature = "asyncapi")]
            operations: Vec::new(),
        }
    }

    #[cfg(feature = "asyncapi")]
    pub(super) fn into_operations(self) -> Vec<Operation> {
        self.operations
    }

    /// Adds an event with a comment, which may be empty, and the event's arguments.
    pub fn event<E>(&mut self, comment: &str, parameters: &[Parameter])
    where
        E: Event,
        E::Ack: AckType,
    {
        self.described_event::<E>(comment, parameters, TypeSchema::default());
    }

    /// Used by the expansion of `events!`. Like [`event`](Self::event), with the schema of the ack.
    #[doc(hidden)]
    #[cfg_attr(not(feature = "asyncapi"), expect(unused_variables))]
    pub fn described_event<E>(&mut self, comment: &str, parameters: &[Parameter], ack: TypeSchema)
    where
        E: Event,
        E::Ack: AckType,
    {
        #[cfg(feature = "asyncapi")]
        self.operations.push(Operation {
            name: E::NAME,
            comment: comment.to_owned(),
            parameters: parameters.to_vec(),
            ack: E::Ack::shape().map(|shape| Ack { shape, schema: ack }),
        });
        let mut signature: Vec<String> = parameters.iter().map(|parameter| parameter.write(self.types)).collect();
        if let Some(answer) = E::Ack::parameters(self.types) {
            signature.push(format!("callback: ({answer}) => void"));
        }
        write_comment(&mut self.text, "  ", comment);
        let (name, signature) = (property(E::NAME), signature.join(", "));
        writeln!(self.text, "  {name}: ({signature}) => void;").expect("a string takes what is written");
    }
}

impl fmt::Debug for Interface<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interface").field("text", &self.text).finish_non_exhaustive()
    }
}

fn write_comment(text: &mut String, indent: &str, comment: &str) {
    let comment = comment.trim().replace("*/", "*\\/");
    let mut lines = comment.lines().map(str::trim);
    match (lines.next(), lines.next()) {
        (None, _) => {}
        (Some(line), None) => text.extend([indent, "/** ", line, " */\n"]),
        _ => {
            text.extend([indent, "/**\n"]);
            comment.lines().for_each(|line| text.extend([indent, format!(" * {}", line.trim()).trim_end(), "\n"]));
            text.extend([indent, " */\n"]);
        }
    }
}

/// Returns a name as the key of a property.
fn property(name: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    if name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() {
        name.to_owned()
    } else {
        serde_json::Value::from(name).to_string()
    }
}

/// Generates one TypeScript module from sets of events and the types that they use. `to_string()` returns the module.
///
/// ```
/// # tower_socketio::events! {
/// #     pub emit ServerToClientEvents { "joined" => Joined { user: String } }
/// #     pub on ClientToServerEvents { "message" => Message { text: String } -> bool }
/// # }
/// use tower_socketio::typed::TypeScript;
///
/// let text = TypeScript::new().events::<ServerToClientEvents>().events::<ClientToServerEvents>().to_string();
/// ```
///
/// Types are mapped by [ts-rs](super::ts_rs), as JSON represents them: all numbers are `number`, including those of 64 and 128
/// bits. [`Value`](crate::Value) is `unknown`, [`Binary`](super::Binary) is `ArrayBuffer | Uint8Array`.
#[derive(Default)]
#[must_use]
pub struct TypeScript {
    types: Types,
    interfaces: Vec<(&'static str, String)>,
}

impl TypeScript {
    /// Creates an empty module.
    pub fn new() -> Self {
        let types = Types::new(Config::new().with_large_int("number"));
        Self { types, interfaces: Vec::new() }
    }

    /// Adds an interface.
    ///
    /// # Panics
    ///
    /// Panics if two types, or a type and an interface, have the same name in TypeScript.
    pub fn events<S: EventSet>(mut self) -> Self {
        let mut interface = Interface::new(&mut self.types);
        S::describe(&mut interface);
        let members = interface.text;
        let mut text = String::new();
        write_comment(&mut text, "", S::COMMENT);
        text.extend(["export interface ", S::NAME, " {\n", &members, "}\n"]);
        self.interfaces.push((S::NAME, text));
        self.check_names();
        self
    }

    fn check_names(&self) {
        for (i, (name, _)) in self.interfaces.iter().enumerate() {
            let is_taken = self.types.declarations.contains_key(*name)
                || self.interfaces[..i].iter().any(|(other, _)| other == name);
            assert!(
                !is_taken,
                "the interface `{name}` has a name that another interface or type has: rename one of them"
            );
        }
    }
}

impl fmt::Display for TypeScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("// Generated by tower-socketio. Do not edit.\n")?;
        let interfaces = self.interfaces.iter().map(|(_, text)| text);
        self.types.declarations.values().chain(interfaces).try_for_each(|item| write!(f, "\n{item}"))
    }
}

impl fmt::Debug for TypeScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeScript").field("interfaces", &self.interfaces).finish_non_exhaustive()
    }
}
