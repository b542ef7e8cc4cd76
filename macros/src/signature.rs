//! What the attribute reads of a function: the options, and the arguments with their types.

use syn::{
    Error, FnArg, GenericArgument, Ident, ItemFn, PathArguments, Result, Token, Type,
    parse::{Parse, ParseStream},
    spanned::Spanned,
};

/// The options of the attribute: `on_connect`, `state = Type`.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) on_connect: bool,
    pub(crate) state: Option<Type>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            if name == "on_connect" {
                options.on_connect = true;
            } else if name == "state" {
                input.parse::<Token![=]>()?;
                options.state = Some(input.parse()?);
            } else {
                return Err(Error::new(name.span(), "expected `on_connect` or `state = Type`"));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

/// The types of the arguments. Fails if the function cannot be a handler, whatever its types are.
pub(crate) fn arguments(function: &ItemFn) -> Result<Vec<&Type>> {
    /// The number of arguments that handlers of axum and of this crate may have.
    const MAX: usize = 16;
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(Error::new(signature.fn_token.span(), "a handler must be an `async fn`"));
    }
    if signature.generics.type_params().next().is_some() || signature.generics.const_params().next().is_some() {
        let text = "`#[debug_handler]` cannot check a function with type parameters";
        return Err(Error::new(signature.generics.span(), text));
    }
    if let Some(argument) = signature.inputs.iter().nth(MAX) {
        return Err(Error::new(
            argument.span(),
            "a handler has at most 16 arguments: extract several values as one struct",
        ));
    }
    signature.inputs.iter().map(argument).collect()
}

fn argument(argument: &FnArg) -> Result<&Type> {
    match argument {
        FnArg::Receiver(receiver) => Err(Error::new(receiver.span(), "a handler cannot have a `self` argument")),
        FnArg::Typed(typed) => match &*typed.ty {
            Type::ImplTrait(ty) => {
                Err(Error::new(ty.span(), "`#[debug_handler]` cannot check an argument of type `impl Trait`"))
            }
            ty => Ok(ty),
        },
    }
}

/// The last segment of a type's path.
pub(crate) fn name_of(ty: &Type) -> Option<&Ident> {
    let Type::Path(path) = ty else { return None };
    path.path.segments.last().map(|segment| &segment.ident)
}

pub(crate) fn is_named(ty: &Type, names: &[&str]) -> bool {
    name_of(ty).is_some_and(|name| names.iter().any(|other| name == other))
}

/// The type argument of `State<T>`.
pub(crate) fn state_of(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == "State")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }
}
