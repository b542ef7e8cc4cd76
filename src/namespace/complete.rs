use super::builder::Namespace;

/// A [`Namespace`] whose state has been provided.
///
/// Implemented for `Namespace<()>` only. Servers take no other namespace.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a namespace that has its state",
    label = "expected `Namespace<()>`",
    note = "provide the state of its handlers: `namespace.with_state(state)`"
)]
pub trait CompleteNamespace: Into<Namespace> {}

impl CompleteNamespace for Namespace {}
