//! Code that does not compile where a function is not a handler.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Error, ItemFn, Result, ReturnType, Type, spanned::Spanned};

use crate::signature::{Options, arguments, is_named, name_of, state_of};

/// Extractors that read the body of a request, by their names.
const BODY: [&str; 8] = ["Json", "Form", "Multipart", "Bytes", "String", "Request", "Body", "RawForm"];

/// Returns the function, with checks or with an error.
pub(crate) fn expand(options: &Options, function: &ItemFn) -> TokenStream {
    let checks = checks(options, function).unwrap_or_else(Error::into_compile_error);
    quote! {
        #function
        #checks
    }
}

fn checks(options: &Options, function: &ItemFn) -> Result<TokenStream> {
    let types = arguments(function)?;
    if options.on_connect {
        check_connect_names(&types, &function.sig.output)?
    } else {
        check_event_names(&types)?
    }
    let state = state(options, &types)?;
    let arguments = types.iter().enumerate().map(|(index, ty)| {
        let is_last = index + 1 == types.len();
        let bound = match (options.on_connect, is_last) {
            (false, _) => quote_spanned!(ty.span()=> ::tower_socketio::handler::private::FromEvent<#state>),
            (true, false) => quote_spanned!(ty.span()=> ::tower_socketio::handler::private::FromRequestParts<#state>),
            (true, true) => quote_spanned!(ty.span()=> ::tower_socketio::handler::private::FromRequest<#state, M>),
        };
        let check = format_ident!("argument_{index}");
        if !(options.on_connect && is_last) {
            return quote_spanned!(ty.span()=> fn #check() where #ty: #bound + ::core::marker::Send {});
        }
        // axum infers `M`. A bound with a parameter is only checked where the function is called.
        let call = format_ident!("call_{index}");
        quote_spanned!(ty.span()=>
            fn #check<M>() where #ty: #bound + ::core::marker::Send {}
            fn #call() {
                #check();
            }
        )
    });
    let output = output(options, &function.sig.output);
    let send = is_send(function, types.len());
    Ok(quote! {
        #[allow(warnings)]
        const _: () = {
            #(#arguments)*
            #output
            #send
        };
    })
}

fn check_event_names(types: &[&Type]) -> Result<()> {
    let reads_arguments = |ty: &&&Type| is_named(ty, &["Data", "Typed"]);
    if let Some(second) = types.iter().filter(reads_arguments).nth(1) {
        let text = "the second extractor of the event's arguments, which would begin with the first argument again: extract several \
                    arguments as a tuple, `Data<(A, B)>`";
        return Err(Error::new(second.span(), text));
    }
    let typed = types.iter().position(|ty| is_named(ty, &["Typed"]));
    if let Some(index) = typed.filter(|index| index + 1 < types.len()) {
        return Err(Error::new(types[index].span(), "`Typed` must be the last argument"));
    }
    let axums = ["Json", "Query", "Path", "HeaderMap", "Session", "AuthSession", "ConnectInfo"];
    if let Some(ty) = types.iter().find(|ty| is_named(ty, &axums))
        && let Some(name) = name_of(ty)
    {
        let text = if name == "Json" {
            "the arguments of an event are extracted by `Data<T>`".to_owned()
        } else {
            format!("an axum extractor is `FromHandshake<{name}..>` in an event handler")
        };
        return Err(Error::new(ty.span(), text));
    }
    Ok(())
}

fn check_connect_names(types: &[&Type], output: &ReturnType) -> Result<()> {
    if let Some(ty) = types.iter().find(|ty| is_named(ty, &["Data", "Typed", "AckSender", "EventName"])) {
        let text = "this extractor is for events; `Json<T>` extracts the client's `auth` payload";
        return Err(Error::new(ty.span(), text));
    }
    if let Some((_, others)) = types.split_last()
        && let Some(ty) = others.iter().find(|ty| is_named(ty, &BODY))
    {
        return Err(Error::new(ty.span(), "an extractor of the body must be the last argument"));
    }
    if let ReturnType::Type(_, ty) = output
        && is_named(ty, &["Ack"])
    {
        let text = "CONNECT has no ack: return `()`, or a `Result<(), E>` whose error rejects the client, and emit an event to send data";
        return Err(Error::new(ty.span(), text));
    }
    Ok(())
}

/// The type of the state: the option, or that of the only `State<T>`, or `()`.
fn state(options: &Options, types: &[&Type]) -> Result<Type> {
    if let Some(state) = &options.state {
        return Ok(state.clone());
    }
    let mut states = types.iter().filter_map(|ty| state_of(ty));
    let Some(first) = states.next() else { return Ok(syn::parse_quote!(())) };
    match states.find(|other| *other != first) {
        Some(other) => Err(Error::new(other.span(), "set the state of the namespace: `#[debug_handler(state = App)]`")),
        None => Ok(first.clone()),
    }
}

fn output(options: &Options, output: &ReturnType) -> Option<TokenStream> {
    let ReturnType::Type(_, ty) = output else { return None };
    if matches!(**ty, Type::ImplTrait(_) | Type::Never(_)) {
        return None;
    }
    let bound = if options.on_connect {
        quote_spanned!(ty.span()=> ::tower_socketio::handler::private::IntoResponse)
    } else {
        quote_spanned!(ty.span()=> ::tower_socketio::event::IntoEventResponse)
    };
    Some(quote_spanned!(ty.span()=>
        fn output() where #ty: #bound {}
    ))
}

/// Checks that the future is `Send`.
fn is_send(function: &ItemFn, arguments: usize) -> TokenStream {
    let name = &function.sig.ident;
    let values = (0..arguments).map(|_| quote!(::core::unreachable!()));
    let call = quote_spanned!(name.span()=> is_send(#name(#(#values),*)));
    quote! {
        fn is_send<F: ::core::future::Future + ::core::marker::Send>(_: F) {}
        fn future() {
            #call
        }
    }
}
