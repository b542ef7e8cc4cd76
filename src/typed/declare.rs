/// Declares typed events: those that the server emits, and those that it handles.
///
/// ```
/// use tower_socketio::typed::Fallible;
///
/// tower_socketio::events! {
///     /// Events from the server.
///     pub emit ServerToClientEvents {
///         /// A user has joined.
///         "joined" => Joined { user: String },
///         "are you there" => AreYouThere -> bool,
///     }
///     /// Events from clients.
///     pub on ClientToServerEvents {
///         "move" => Move { x: i32, y: i32 },
///         "rename" => Rename { name: String } -> Fallible<()>,
///     }
/// }
/// # fn doc(socket: tower_socketio::SocketRef) {
/// socket.emit_event(&Joined { user: String::from("Ada") }).ok();
/// # }
/// ```
///
/// * A block begins with `emit` or `on`, as in Node. Its name becomes that of the TypeScript interface, and of a Rust type that
///   implements [`EventSet`](crate::typed::EventSet). There may be several blocks.
/// * An event becomes a struct of the same visibility. Its fields are the arguments, in order, up to sixteen. Without fields it is
///   a unit struct. Attributes and doc comments are kept, and comments are also generated in the TypeScript.
/// * The type after `->` is the response, the arguments of the ack: a tuple stands for several, `()` for none, any other type for
///   one. With [`Fallible<T>`](crate::typed::Fallible), the response may be an [`EventError`](crate::EventError) instead. Without
///   an arrow there is no response.
///
/// The arguments of `emit` must implement `Serialize`, and their responses `DeserializeOwned`; for `on` it is the reverse. All
/// types must implement [`TS`](crate::typed::ts_rs::TS), which can be derived with the crate `ts-rs`. Names that are reserved, or
/// used twice in a block, do not compile.
#[macro_export]
macro_rules! events {
    // The type of the response.
    (@ack) => { $crate::typed::NoAnswer };
    (@ack $ack:ty) => { $ack };

    // The JSON Schema of a type, if it has one.
    (@schema) => { ::core::default::Default::default() };
    (@schema $ty:ty) => {{
        #[allow(unused_imports)]
        use $crate::typed::private::{WithSchema as _, WithoutSchema as _};
        (&$crate::typed::private::Probe::<$ty>::NEW).schema()
    }};

    (@side emit) => { $crate::typed::Direction::Emit };
    (@side $on:ident) => { $crate::typed::Direction::On };

    // The text of doc comments. Other attributes are ignored.
    (@docs $(#[$($meta:tt)*])*) => { concat!($($crate::events!(@doc $($meta)*)),*) };
    (@doc doc = $text:expr) => { concat!($text, "\n") };
    (@doc $($other:tt)*) => { "" };

    // The struct of an event.
    (@struct [$($meta:tt)*] [$vis:vis] $event:ident) => {
        $($meta)*
        $vis struct $event;
    };
    (@struct [$($meta:tt)*] [$vis:vis] $event:ident {
        $($(#[$($field_meta:tt)*])* $field:ident : $ty:ty),* $(,)?
    }) => {
        $($meta)*
        $vis struct $event {
            $($(#[$($field_meta)*])* $vis $field: $ty,)*
        }
    };

    // The conversion to or from arguments.
    (@direction emit $event:ident) => {
        impl $crate::typed::ServerEvent for $event {
            fn args(&self) -> impl $crate::typed::private::Serialize {}
        }
    };
    (@direction emit $event:ident $($field:ident)+) => {
        impl $crate::typed::ServerEvent for $event {
            fn args(&self) -> impl $crate::typed::private::Serialize {
                ($(&self.$field,)*)
            }
        }
    };
    (@direction on $event:ident $($field:ident)*) => {
        impl $crate::typed::ClientEvent for $event {
            fn from_args(($($field,)*): Self::Args) -> Self {
                Self { $($field,)* }
            }
        }
    };
    (@direction $other:ident $($rest:tt)*) => {
        compile_error!(concat!("a block of events is `emit` or `on`, not `", stringify!($other), "`"));
    };

    (@set $direction:ident [$($set_meta:tt)*] [$vis:vis] $set:ident {
        $(
            $(#[$($meta:tt)*])*
            $name:literal => $event:ident
            $({ $($(#[$($field_meta:tt)*])* $field:ident : $ty:ty),* $(,)? })?
            $(-> $ack:ty)?
        ),* $(,)?
    }) => {
        $($set_meta)*
        #[derive(Debug)]
        $vis enum $set {}

        impl $crate::typed::EventSet for $set {
            const NAME: &'static str = stringify!($set);
            const COMMENT: &'static str = $crate::events!(@docs $($set_meta)*);
            const DIRECTION: Option<$crate::typed::Direction> = Some($crate::events!(@side $direction));

            fn describe(interface: &mut $crate::typed::Interface<'_>) {
                $(interface.described_event::<$event>(
                    $crate::events!(@docs $(#[$($meta)*])*),
                    &[$($(
                        $crate::typed::Parameter::new::<$ty>(stringify!($field)).with_schema($crate::events!(@schema $ty)),
                    )*)?],
                    $crate::events!(@schema $($ack)?),
                );)*
            }
        }

        const _: () = $crate::typed::private::check_names(&[
            $(($name, concat!("the event name `", $name, "` is reserved, or declared twice"))),*
        ]);

        $(
            $crate::events!(@struct [$(#[$($meta)*])*] [$vis] $event
                $({ $($(#[$($field_meta)*])* $field: $ty,)* })?);

            impl $crate::typed::Event for $event {
                const NAME: &'static str = $name;
                type Args = ($($($ty,)*)?);
                type Ack = $crate::events!(@ack $($ack)?);
            }

            impl $crate::typed::DeclaredEvent for $event {
                fn from_arguments(($($($field,)*)?): Self::Args) -> Self {
                    Self { $($($field,)*)? }
                }

                #[allow(clippy::unused_unit)]
                fn into_arguments(self) -> Self::Args {
                    let Self { $($($field,)*)? } = self;
                    ($($($field,)*)?)
                }
            }

            $crate::events!(@direction $direction $event $($($field)*)?);
        )*
    };

    ($(
        $(#[$($set_meta:tt)*])*
        $vis:vis $direction:ident $set:ident { $($events:tt)* }
    )*) => {
        $($crate::events!(@set $direction [$(#[$($set_meta)*])*] [$vis] $set { $($events)* });)*
    };
}
