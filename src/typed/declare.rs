/// Declares events: those that the server emits, and those that it handles.
///
/// ```
/// use tower_socketio::typed::Fallible;
///
/// tower_socketio::events! {
///     /// What the server tells.
///     pub emit ServerToClientEvents {
///         /// Somebody has come.
///         "joined" => Joined { user: String },
///         "are you there" => AreYouThere -> bool,
///     }
///     /// What clients ask for.
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
/// * A block is `emit` or `on`, as in Node. Its name is that of the interface in TypeScript; in Rust it is a type that
///   stands for the set, an [`EventSet`](crate::typed::EventSet). There may be several blocks, or one.
/// * An event becomes a struct of the same visibility. Its fields are the arguments, in their order, up to sixteen; without
///   fields it is a unit struct. Attributes and doc comments stay, and the comments are in the TypeScript too.
/// * What stands behind `->` is the answer, the arguments of the ack: a tuple is several, `()` none, anything else one.
///   [`Fallible<T>`](crate::typed::Fallible) may be an [`EventError`](crate::EventError) instead. Without an arrow there
///   is no answer.
///
/// The arguments of `emit` have to be `Serialize`, those of `on` `DeserializeOwned`, their answers the other way round, and
/// all of them [`TS`](crate::typed::ts_rs::TS): it is implemented for the types of std, and can be derived with the crate
/// `ts-rs`. Names that are reserved or used twice in a block do not compile.
#[macro_export]
macro_rules! events {
    // The answer.
    (@ack) => { $crate::typed::NoAnswer };
    (@ack $ack:ty) => { $ack };

    // The text of doc comments; nothing of other attributes.
    (@docs $(#[$($meta:tt)*])*) => { concat!($($crate::events!(@doc $($meta)*)),*) };
    (@doc doc = $text:expr) => { concat!($text, "\n") };
    (@doc $($other:tt)*) => { "" };

    // An event's struct.
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

    // How it becomes arguments, or is made of them.
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

            fn describe(interface: &mut $crate::typed::Interface<'_>) {
                $(interface.event::<$event>(
                    $crate::events!(@docs $(#[$($meta)*])*),
                    &[$($($crate::typed::Parameter::new::<$ty>(stringify!($field)),)*)?],
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
