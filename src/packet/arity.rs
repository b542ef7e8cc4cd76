use std::any::type_name;

/// The number of arguments that a type is encoded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arity {
    /// `()`.
    None,
    One,
    /// A tuple, [`Args`](super::Args) or [`Rest`](super::Rest).
    Several,
}

// No other type of that module begins with these names.
const ARGS: &str = "tower_socketio::packet::args::Args";
const REST: &str = "tower_socketio::packet::args::Rest";

/// Returns the arity of a type.
///
/// serde serializes `(1, 2)` and `[1, 2]` by the same call, but only the first is two arguments. Therefore the name of the type
/// is compared. Its first byte is sufficient for most types.
pub(crate) fn arity<T: ?Sized>() -> Arity {
    let name = type_name::<T>();
    match name.as_bytes() {
        [b'(' | b'&' | b'a' | b't', ..] => arity_of(name),
        _ => Arity::One,
    }
}

fn arity_of(mut name: &str) -> Arity {
    while let Some(target) = pointer_target(name) {
        name = target;
    }
    // The closing brackets of pointers are still at the end of the name.
    if name.starts_with("()") {
        Arity::None
    } else if name.starts_with('(') || name.starts_with(ARGS) || name.starts_with(REST) {
        Arity::Several
    } else {
        Arity::One
    }
}

/// Returns the target of a pointer type that serializes as its target.
fn pointer_target(name: &str) -> Option<&str> {
    if let Some(target) = name.strip_prefix('&') {
        return Some(target.strip_prefix("mut ").unwrap_or(target));
    }
    let name = name.strip_prefix("alloc::")?;
    match name.as_bytes() {
        [b'b', b'o', b'x', ..] => name.strip_prefix("boxed::Box<"),
        [b'r', b'c', ..] => name.strip_prefix("rc::Rc<"),
        [b's', b'y', ..] => name.strip_prefix("sync::Arc<"),
        [b'b', b'o', b'r', ..] => {
            let target = name.strip_prefix("borrow::Cow<")?;
            // Older compilers omit the lifetime.
            Some(target.strip_prefix("'_, ").unwrap_or(target))
        }
        _ => None,
    }
}

/// Returns `true` if a type is [`Rest`](super::Rest).
pub(super) fn is_rest<T: ?Sized>() -> bool {
    type_name::<T>().starts_with(REST)
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, rc::Rc, sync::Arc};

    use super::{
        super::{Args, Rest},
        *,
    };

    #[test]
    fn tuples_are_several_arguments_and_other_types_are_one() {
        assert_eq!(arity::<(u8, u8)>(), Arity::Several);
        assert_eq!(arity::<Args>(), Arity::Several);
        assert_eq!(arity::<Rest<u8>>(), Arity::Several);
        assert_eq!(arity::<()>(), Arity::None);
        assert_eq!(arity::<[u8; 2]>(), Arity::One);
        assert_eq!(arity::<Vec<(u8, u8)>>(), Arity::One);
        assert_eq!(arity::<Option<(u8, u8)>>(), Arity::One);
        assert_eq!(arity::<str>(), Arity::One);
        assert!(is_rest::<Rest>() && is_rest::<Rest<String>>());
        assert!(!is_rest::<Args>() && !is_rest::<Vec<Rest>>());
    }

    #[test]
    fn pointers_have_the_arity_of_their_target() {
        assert_eq!(arity::<&&mut (u8,)>(), Arity::Several);
        assert_eq!(arity::<&Args<u8>>(), Arity::Several);
        assert_eq!(arity::<Box<(u8, u8)>>(), Arity::Several);
        assert_eq!(arity::<Rc<(u8, u8)>>(), Arity::Several);
        assert_eq!(arity::<&Arc<Box<(u8, u8)>>>(), Arity::Several);
        assert_eq!(arity::<Cow<'_, (u8, u8)>>(), Arity::Several);
        assert_eq!(arity::<Arc<Args>>(), Arity::Several);
        assert_eq!(arity::<Box<()>>(), Arity::None);
        assert_eq!(arity::<Box<str>>(), Arity::One);
        assert_eq!(arity::<Cow<'_, [(u8, u8)]>>(), Arity::One);
    }
}
