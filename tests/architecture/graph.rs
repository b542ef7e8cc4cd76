//! Which file of the crate imports which, parsed from the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    File, Item, UseTree, Visibility,
    visit::{self, Visit},
};

/// The path of a module: `["engine", "packet"]`. The path of the crate root is empty.
type Module = Vec<String>;

/// For each file, the files whose items it uses.
pub type Edges = BTreeMap<String, BTreeSet<String>>;

pub struct Graph {
    pub files: Edges,
}

/// The contents of a module: its children, the names that it re-exports, and the paths that its code uses.
#[derive(Default)]
struct Contents {
    file: PathBuf,
    children: BTreeSet<String>,
    /// The absolute path of each imported name.
    imports: BTreeMap<String, Vec<String>>,
    /// Imports that are only re-exported, unless the code uses them too.
    reexports: BTreeSet<String>,
    /// Modules of which all items are re-exported: `pub use x::*`.
    globs: Vec<Vec<String>>,
    /// Absolute paths that the code uses.
    paths: BTreeSet<Vec<String>>,
    /// Identifiers that are the first segment of a path in the code.
    names: BTreeSet<String>,
}

impl Graph {
    pub fn read() -> Self {
        let source = crate::docs::folder().join("src");
        let mut modules = BTreeMap::new();
        read_module(&source, &source.join("lib.rs"), Vec::new(), &mut modules);
        let name = |contents: &Contents| {
            let path = contents.file.strip_prefix(&source).expect("it is in `src`");
            path.to_string_lossy().replace('\\', "/")
        };
        let mut files = Edges::new();
        for (module, contents) in &modules {
            let own = name(contents);
            let uses = files.entry(own.clone()).or_default();
            let imports = contents
                .imports
                .iter()
                .filter(|(name, _)| !contents.reexports.contains(*name) || contents.names.contains(*name));
            for path in imports.map(|(_, path)| path).chain(&contents.paths) {
                if let Some(target) = resolve(&modules, path, 0).filter(|target| target != module) {
                    let target = name(&modules[&target]);
                    // The crate root only re-exports items.
                    if target != own && target != "lib.rs" && own != "lib.rs" {
                        uses.insert(target);
                    }
                }
            }
        }
        Self { files }
    }

    /// Returns, for each top-level module, the top-level modules that it imports.
    pub fn modules(&self) -> Edges {
        let mut modules = Edges::new();
        for (file, uses) in &self.files {
            let own = top(file);
            let uses = uses.iter().map(|file| top(file)).filter(|other| *other != own);
            modules.entry(own.clone()).or_default().extend(uses);
        }
        modules
    }

    /// For each folder, which of the files and folders in it import which others of them.
    pub fn folders(&self) -> BTreeMap<String, Edges> {
        let mut folders: BTreeMap<String, Edges> = BTreeMap::new();
        for (file, uses) in &self.files {
            for other in uses {
                let (file, other): (Vec<&str>, Vec<&str>) = (file.split('/').collect(), other.split('/').collect());
                let shared = file.iter().zip(&other).take_while(|(file, other)| file == other).count();
                let entries = folders.entry(file[..shared].join("/")).or_default();
                entries.entry(other[shared].to_owned()).or_default();
                entries.entry(file[shared].to_owned()).or_default().insert(other[shared].to_owned());
            }
        }
        folders
    }
}

/// Returns the top-level module of a file.
pub fn top(file: &str) -> String {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs").to_owned()
}

fn read_module(source: &Path, file: &Path, module: Module, modules: &mut BTreeMap<Module, Contents>) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut contents = Contents { file: file.to_owned(), ..Contents::default() };
    let folder = module.iter().fold(source.to_owned(), |folder, name| folder.join(name));
    let mut children = Vec::new();
    for item in &parsed.items {
        if let Item::Mod(child) = item
            && child.content.is_none()
            && !is_test(&child.attrs)
        {
            let name = child.ident.to_string();
            contents.children.insert(name.clone());
            let flat = folder.join(format!("{name}.rs"));
            let path = if flat.exists() { flat } else { folder.join(&name).join("mod.rs") };
            let path_attribute = child.attrs.iter().any(|attribute| attribute.path().is_ident("path"));
            if path.exists() && !path_attribute {
                children.push((path, [&module[..], &[name]].concat()));
            }
        }
    }
    Reader { contents: &mut contents, module: &module }.read(&parsed);
    modules.insert(module, contents);
    for (path, child) in children {
        read_module(source, &path, child, modules);
    }
}

/// Whether an item exists only in tests. Items with `feature = "test-util"` do not.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = match &attribute.meta {
            syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string(),
            _ => return attribute.path().is_ident("test"),
        };
        text == "test" || text.starts_with("any (test") || text.starts_with("all (test") || text == "fuzzing"
    })
}

struct Reader<'a> {
    contents: &'a mut Contents,
    module: &'a [String],
}

impl Reader<'_> {
    fn read(&mut self, file: &File) {
        for item in &file.items {
            self.visit_item(item);
        }
    }

    /// Returns the absolute form of a path that begins with `crate`, `self` or `super`.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut base = match &**first {
            "crate" | "$crate" => Vec::new(),
            "self" => self.module.to_vec(),
            "super" => self.module[..self.module.len().checked_sub(1)?].to_vec(),
            name if self.contents.children.contains(name) => [self.module, &[name.to_owned()]].concat(),
            _ => return None,
        };
        for segment in rest {
            match &**segment {
                "super" => drop(base.pop()?),
                segment => base.push(segment.to_owned()),
            }
        }
        Some(base)
    }

    fn tree(&mut self, tree: &UseTree, prefix: &[String], is_public: bool) {
        let with = |name: String| [prefix, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(path.ident.to_string()), is_public),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, prefix, is_public)),
            UseTree::Name(name) if name.ident == "self" => {
                let last = prefix.last().cloned().unwrap_or_default();
                self.import(&last, prefix, is_public);
            }
            UseTree::Name(name) => self.import(&name.ident.to_string(), &with(name.ident.to_string()), is_public),
            UseTree::Rename(rename) => {
                self.import(&rename.rename.to_string(), &with(rename.ident.to_string()), is_public);
            }
            UseTree::Glob(_) => self.contents.globs.extend(self.absolute(prefix)),
        }
    }

    fn import(&mut self, name: &str, path: &[String], is_public: bool) {
        if let Some(path) = self.absolute(path) {
            self.contents.imports.insert(name.to_owned(), path);
            if is_public {
                self.contents.reexports.insert(name.to_owned());
            }
        }
    }

    fn path(&mut self, path: &[String]) {
        if let Some(first) = path.first() {
            self.contents.names.insert(first.clone());
        }
        self.contents.paths.extend(self.absolute(path));
    }

    /// The paths in the arguments of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 && !path.is_empty() {
                        self.path(&std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.path(&std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.path(&path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_public = !matches!(item.vis, Visibility::Inherited);
        self.tree(&item.tree, &[], is_public);
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {
        // `pub(super)` names no module that is used.
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(&segments);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let segments: Vec<String> = item.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(&segments);
        self.tokens(item.tokens.clone());
    }
}

/// Returns the module that defines the item of an absolute path, or `None` if it is not in this crate.
fn resolve(modules: &BTreeMap<Module, Contents>, path: &[String], depth: usize) -> Option<Module> {
    // Cyclic re-exports do not compile. The limit handles distinct items with the same name.
    if depth > 16 {
        return None;
    }
    let mut module = Module::new();
    for (index, segment) in path.iter().enumerate() {
        let contents = modules.get(&module)?;
        if let Some(import) = contents.imports.get(segment).filter(|import| **import != path[..=index]) {
            return resolve(modules, &[import, &path[index + 1..]].concat(), depth + 1);
        }
        if !contents.children.contains(segment) {
            return Some(module);
        }
        module.push(segment.clone());
    }
    Some(module)
}

/// Returns all sets of at least two files that import one another, directly or indirectly.
pub fn circles(edges: &Edges) -> Vec<BTreeSet<String>> {
    let reachable: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|from| (&**from, reachable(edges, from))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (from, targets) in &reachable {
        if circles.iter().any(|circle| circle.contains(*from)) {
            continue;
        }
        let is_mutual = |to: &&&str| reachable.get(**to).is_some_and(|back| back.contains(from));
        let circle: BTreeSet<String> = targets.iter().filter(is_mutual).map(|to| (*to).to_owned()).collect();
        if circle.len() > 1 {
            circles.push(circle);
        }
    }
    circles
}

fn reachable<'a>(edges: &'a Edges, from: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&str> = edges.get(from).into_iter().flatten().map(|to| &**to).collect();
    while let Some(file) = next.pop() {
        if seen.insert(file) {
            next.extend(edges.get(file).into_iter().flatten().map(|to| &**to));
        }
    }
    seen
}
