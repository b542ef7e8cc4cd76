use std::{
    any::TypeId,
    collections::{BTreeMap, HashSet},
    fmt,
};

use ts_rs::{Config, TS, TypeVisitor};

use crate::packet::{Arity, arity};

/// The declarations of the types that interfaces use, by name.
#[doc(hidden)]
#[derive(Default)]
pub struct Types {
    config: Config,
    seen: HashSet<TypeId>,
    pub(super) declarations: BTreeMap<String, String>,
}

impl Types {
    pub(super) fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Returns the name of a type, and stores its declaration.
    pub(super) fn name<T: TS + ?Sized + 'static>(&mut self) -> String {
        self.visit::<T>();
        T::visit_generics(self);
        T::name(&self.config)
    }

    fn declare(&mut self, name: String, declaration: String) {
        if let Some(other) = self.declarations.get(&name) {
            assert!(
                *other == declaration,
                "two types are called `{name}` in TypeScript: rename one of them with `#[ts(rename = \"..\")]`"
            );
        }
        self.declarations.insert(name, declaration);
    }
}

impl TypeVisitor for Types {
    fn visit<T: TS + ?Sized + 'static>(&mut self) {
        if !self.seen.insert(TypeId::of::<T>()) {
            return;
        }
        if T::output_path().is_some() {
            let docs = T::docs().unwrap_or_default();
            let declaration = format!("{docs}export {}\n", T::decl(&self.config));
            self.declare(T::ident(&self.config), declaration);
        }
        T::visit_dependencies(self);
        T::visit_generics(self);
    }
}

/// Returns a type as parameters of a function: several for a tuple, otherwise one. The first may also have the type `alternative`.
pub(super) fn signature<T: TS + 'static>(types: &mut Types, label: &str, alternative: Option<&str>) -> String {
    let (arity, name) = match arity::<T>() {
        Arity::None => (Arity::None, "[]".to_owned()),
        arity => (arity, types.name::<T>()),
    };
    match (arity, alternative) {
        (Arity::None, None) => String::new(),
        (Arity::None, Some(alternative)) => format!("{label}?: {alternative}"),
        (Arity::One, None) => format!("{label}: {name}"),
        (Arity::One, Some(alternative)) => format!("{label}: {name} | {alternative}"),
        (Arity::Several, None) => format!("...{label}: {name}"),
        (Arity::Several, Some(alternative)) => format!("...{label}: {name} | [{alternative}]"),
    }
}

impl fmt::Debug for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Types").field("declarations", &self.declarations).finish_non_exhaustive()
    }
}
