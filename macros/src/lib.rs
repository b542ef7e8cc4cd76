//! The macros of tower-socketio, which exports them.

mod check;
mod signature;

use proc_macro::TokenStream;
use syn::{ItemFn, parse_macro_input};

/// Points to the mistakes of an event handler, or of a handler of CONNECT.
///
/// A function that is not a handler makes the call of `Namespace::on` fail with an error that lists what a handler must be. With this
/// attribute on the function, the compiler points to the argument, the result, the missing `async`, or the value that makes the future
/// not `Send`. The attribute does not change the function.
///
/// ```text
/// #[tower_socketio::debug_handler]
/// async fn message(socket: SocketRef, text: String) {}
///
/// error[E0277]: `String` is not an extractor for event handlers
///  --> src/main.rs
///   |
///   | async fn message(socket: SocketRef, text: String) {}
///   |                                           ^^^^^^
/// ```
///
/// `#[debug_handler(on_connect)]` checks a handler for `Namespace::on_connect`.
///
/// The type of the state is that of the argument `State<T>`. If the state of the namespace is another type, because `T` implements
/// `FromRef` for it, or if there are several, set it by `#[debug_handler(state = App)]`.
///
/// Functions with type parameters, `impl Trait` arguments or `self` cannot be checked.
#[proc_macro_attribute]
pub fn debug_handler(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as signature::Options);
    let function = parse_macro_input!(item as ItemFn);
    check::expand(&options, &function).into()
}
