//! Modules and their scopes: which item a name means in which file.
//!
//! A module is one parsed file. Its scope is, in falling precedence: its own items, the items of the modules it `use`s, the items of the
//! prelude. `use` is not passed on: a file names what it needs. Files that use each other in a circle are refused.
//!
//! ```text
//! main.tile      use nn;  kernel my(..)        scope: my | rms_norm, rope, .. | exp, log, .., the formats
//! ```
//!
//! From outside (`find`) a bare name is looked up in the root's scope, then in all modules in load order; `module::name` names exactly
//! one item. Program IR writes a kernel's bare name where that finds it again, else the long form.

use crate::derive::derive;
use crate::diags::Diags;
use crate::host::Cx;
use crate::limits::MAX_MODULES;
use std::collections::HashMap;
use tvmc_lang::ast::{EncodeOf, File, FormatMember, Item, ItemKind, UsePath};
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::source::SourceMap;
use tvmc_lang::span::Span;

/// What a `use` asks for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Use<'a> {
    /// `use nn;`: a module of the standard library.
    Library(&'a str),
    /// `use "other.tile";`: a file beside the one that says so.
    File {
        /// The name of the source that asks, as it was given in [`Source::name`].
        from: &'a str,
        /// The path as written.
        path: &'a str,
    },
}

/// A source text with its name. Equal names are the same module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Name or path; appears in messages.
    pub name: String,
    /// The text.
    pub text: String,
}

/// A library and what was wrong with its sources, names and `use`s.
pub struct Loaded {
    /// The modules; usable as far as they could be read.
    pub library: Library,
    /// Syntax errors, unresolved `use`s, names defined twice.
    pub diagnostics: Vec<Diagnostic>,
}

/// An item by its place: module and position in the file.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct ItemId {
    pub module: usize,
    pub item: usize,
}

pub(crate) struct Module {
    pub name: String,
    pub file: File,
    scope: HashMap<String, ItemId>,
}

/// All modules of one compilation; the first is the root.
pub struct Library {
    sources: SourceMap,
    modules: Vec<Module>,
}

/// Built-in functions that work along one axis and keep it (or, as `argmin` and `argmax`, drop it).
pub(crate) const ALONG: [&str; 14] = [
    "argmin",
    "argmax",
    "cumsum",
    "cumprod",
    "cummin",
    "cummax",
    "gather",
    "flip",
    "repeat",
    "repeat_interleave",
    "sort",
    "argsort",
    "top_k",
    "argtop_k",
];

/// The other built-in functions.
const PLAIN: [&str; 38] = [
    "zeros",
    "full",
    "iota",
    "dot",
    "sum",
    "min",
    "max",
    "any",
    "all",
    "where",
    "fma",
    "abs",
    "sqrt",
    "floor",
    "ceil",
    "trunc",
    "round",
    "popcount",
    "bitcast",
    "relayout",
    "view",
    "concat",
    "prod",
    "scatter",
    "atomic_add",
    "atomic_min",
    "atomic_max",
    "atomic_and",
    "atomic_or",
    "atomic_xor",
    "atomic_exchange",
    "atomic_compare_exchange",
    "exit",
    "copy_async",
    "commit",
    "wait",
    "sync",
    "encode_tensor",
];

/// Names that are built in, so that no fn may have them.
pub const BUILTINS: &[&str] = &{
    let mut all = [""; PLAIN.len() + ALONG.len()];
    let (plain, along) = all.split_at_mut(PLAIN.len());
    plain.copy_from_slice(&PLAIN);
    along.copy_from_slice(&ALONG);
    all
};

/// Methods of tiles, beside the field `T`.
pub const METHODS: [&str; 4] = ["unsqueeze", "squeeze", "reshape", "permute"];

struct Loader<'a> {
    library: Library,
    uses: Vec<Vec<(usize, Span)>>,
    load: &'a mut dyn FnMut(Use<'_>) -> Option<Source>,
    diags: Diags,
}

impl Loader<'_> {
    /// Adds a module, if it is not there yet.
    fn add(&mut self, source: Source) -> usize {
        if let Some(at) = self.library.modules.iter().position(|m| m.name == source.name) {
            return at;
        }
        let id = match self.library.sources.add(source.name.clone(), source.text) {
            Ok(id) => id,
            Err(diagnostic) => {
                let span = diagnostic.primary_span();
                self.diags.push(*diagnostic);
                span.map_or_else(Default::default, |s| s.source)
            }
        };
        let parsed = tvmc_lang::parse(id, self.library.sources.source(id).text());
        parsed.diagnostics.into_iter().for_each(|d| self.diags.push(d));
        let module = Module { name: source.name, file: parsed.file, scope: HashMap::new() };
        self.library.modules.push(module);
        self.uses.push(Vec::new());
        self.library.modules.len() - 1
    }

    /// Follows the `use`s of every module, those of modules added meanwhile included.
    fn follow(&mut self) {
        let mut at = 0;
        while at < self.library.modules.len() {
            let from = self.library.modules[at].name.clone();
            let items = &self.library.modules[at].file.items;
            let uses: Vec<(UsePath, Span)> = items
                .iter()
                .filter_map(|item| match &item.kind {
                    ItemKind::Use(path) => Some((path.clone(), item.span)),
                    ItemKind::Const(_)
                    | ItemKind::Table(_)
                    | ItemKind::Function(_)
                    | ItemKind::Kernel(_)
                    | ItemKind::Format(_)
                    | ItemKind::Program(_) => None,
                })
                .collect();
            for (path, span) in uses {
                let request = match &path {
                    UsePath::Library(name) => Use::Library(&name.name),
                    UsePath::File(path) => Use::File { from: &from, path: &path.value },
                };
                match (self.load)(request) {
                    Some(source) if self.library.modules.len() < MAX_MODULES => {
                        let used = self.add(source);
                        self.uses[at].push((used, span));
                    }
                    Some(_) => {
                        let message = format!("a program has at most {MAX_MODULES} files");
                        self.diags.error(Code::Unsupported, span, message, "one too many");
                    }
                    None => {
                        let (what, help) = match &path {
                            UsePath::Library(name) => (
                                format!("the standard library has no file `{}`", name.name),
                                "a file of your own is written in quotes: `use \"other.tile\";`",
                            ),
                            UsePath::File(path) => (
                                format!("there is no file `{}` beside this one", path.value),
                                "the path is relative to the file that says `use`",
                            ),
                        };
                        let d = Diagnostic::error(Code::UnknownItem, what).at(span, "not found").help(help);
                        self.diags.push(d);
                    }
                }
            }
            at += 1;
        }
    }

    /// Reports circles: a module that is reached again while it is being visited. Iterative, since chains may be long.
    fn circles(&mut self) {
        let count = self.library.modules.len();
        let mut done = vec![false; count];
        for root in 0..count {
            let mut path: Vec<(usize, usize)> = vec![(root, 0)];
            while let Some((module, next)) = path.last_mut() {
                let module = *module;
                if done[module] {
                    path.pop();
                    continue;
                }
                let Some(&(used, span)) = self.uses[module].get(*next) else {
                    done[module] = true;
                    path.pop();
                    continue;
                };
                *next += 1;
                if path.iter().any(|(m, _)| *m == used) {
                    let name = &self.library.modules[used].name;
                    self.diags.push(
                        Diagnostic::error(Code::UseCycle, format!("`{name}` is used in a circle"))
                            .at(span, "this leads back to it")
                            .help("move what both files need into a third one"),
                    );
                } else {
                    path.push((used, 0));
                }
            }
        }
    }

    fn scopes(&mut self, prelude: &[usize]) {
        for at in 0..self.library.modules.len() {
            let own = self.own_items(at);
            let mut scope = HashMap::new();
            for &module in prelude {
                scope.extend(self.items_of(module));
            }
            let mut imported: HashMap<String, ItemId> = HashMap::new();
            for &(used, span) in &self.uses[at] {
                for (name, id) in self.items_of(used) {
                    match imported.get(&name) {
                        Some(first) if *first != id && !own.contains_key(&name) => {
                            let first = self.library.modules[first.module].name.clone();
                            let second = &self.library.modules[used].name;
                            let message = format!("`{name}` is defined both in `{first}` and in `{second}`");
                            self.diags.push(
                                Diagnostic::error(Code::DuplicateName, message)
                                    .at(span, format!("brings in a second `{name}`"))
                                    .help("use one of the two files, or rename one of the items"),
                            );
                        }
                        Some(_) => {}
                        None => {
                            imported.insert(name, id);
                        }
                    }
                }
            }
            scope.extend(imported);
            scope.extend(own);
            self.library.modules[at].scope = scope;
        }
    }

    fn items_of(&self, module: usize) -> Vec<(String, ItemId)> {
        let items = self.library.modules[module].file.items.iter().enumerate();
        items.filter_map(|(item, i)| Some((i.kind.name()?.name.clone(), ItemId { module, item }))).collect()
    }

    fn own_items(&mut self, module: usize) -> HashMap<String, ItemId> {
        let mut own: HashMap<String, ItemId> = HashMap::new();
        for (item, i) in self.library.modules[module].file.items.iter().enumerate() {
            let Some(name) = i.kind.name() else { continue };
            if BUILTINS.contains(&name.name.as_str()) {
                self.diags.push(
                    Diagnostic::error(Code::DuplicateName, format!("`{}` is built in", name.name))
                        .at(name.span, "cannot be defined anew")
                        .help("choose another name"),
                );
            }
            if let Some(first) = own.get(&name.name) {
                let first = self.library.modules[module].file.items[first.item].kind.name().map(|n| n.span);
                let d = Diagnostic::error(Code::DuplicateName, format!("`{}` is defined twice", name.name))
                    .at(name.span, "second definition")
                    .help("rename one of them");
                self.diags.push(match first {
                    Some(first) => d.also(first, "first definition"),
                    None => d,
                });
                continue;
            }
            own.insert(name.name.clone(), ItemId { module, item });
        }
        own
    }
}

impl Library {
    /// Reads the root source, everything it uses, and the prelude (standard library modules that every file sees without a `use`).
    ///
    /// `load` gives the text for a `use`, or `None` if there is no such file; this crate does no input or output itself.
    pub fn load(root: Source, prelude: &[&str], load: &mut dyn FnMut(Use<'_>) -> Option<Source>) -> Loaded {
        let library = Library { sources: SourceMap::new(), modules: Vec::new() };
        let mut loader = Loader { library, uses: Vec::new(), load, diags: Diags::default() };
        loader.add(root);
        let mut modules = Vec::new();
        for name in prelude {
            if let Some(source) = (loader.load)(Use::Library(name)) {
                modules.push(loader.add(source));
            }
        }
        loader.follow();
        loader.circles();
        loader.scopes(&modules);
        Loaded { library: loader.library, diagnostics: loader.diags.into_vec() }
    }

    /// The sources, for showing diagnostics.
    pub fn sources(&self) -> &SourceMap {
        &self.sources
    }

    /// Names of all kernels in scope of the root, sorted.
    pub fn kernels(&self) -> Vec<&str> {
        self.names(|kind| matches!(kind, ItemKind::Kernel(_)))
    }

    /// Names of all programs in scope of the root, sorted.
    pub fn programs(&self) -> Vec<&str> {
        self.names(|kind| matches!(kind, ItemKind::Program(_)))
    }

    /// Names of all formats in scope of the root, sorted.
    pub fn formats(&self) -> Vec<&str> {
        self.names(|kind| matches!(kind, ItemKind::Format(_)))
    }

    /// Names of the formats in scope of the root that a kernel can store to: they say how numbers are encoded, or it follows from how they are
    /// decoded. Sorted.
    pub fn stored_formats(&self) -> Vec<&str> {
        let encodes =
            |member: &FormatMember| matches!(member, FormatMember::Encode { of: EncodeOf::Groups, .. });
        let says =
            |kind: &ItemKind| matches!(kind, ItemKind::Format(format) if format.members.iter().any(encodes));
        let mut names = self.formats();
        names.retain(|name| {
            let id = self.find(name, |kind| matches!(kind, ItemKind::Format(_)));
            id.is_some_and(|id| {
                let follows =
                    || crate::format::compile(&mut Cx::new(self), id).is_some_and(|f| derive(&f).is_ok());
                says(&self.item(id).kind) || follows()
            })
        });
        names
    }

    fn names(&self, wanted: impl Fn(&ItemKind) -> bool) -> Vec<&str> {
        let Some(root) = self.modules.first() else { return Vec::new() };
        let found = root.scope.iter().filter(|(_, id)| wanted(&self.item(**id).kind));
        let mut names: Vec<&str> = found.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The text of the file that defines a kernel.
    pub fn kernel_source(&self, kernel: &str) -> Option<&str> {
        let id = self.find(kernel, |kind| matches!(kind, ItemKind::Kernel(_)))?;
        let name = self.item(id).kind.name()?;
        Some(self.sources.get(name.span.source)?.text())
    }

    pub(crate) fn module(&self, at: usize) -> &Module {
        &self.modules[at]
    }

    pub(crate) fn item(&self, id: ItemId) -> &Item {
        &self.modules[id.module].file.items[id.item]
    }

    /// Every item, modules in load order.
    pub(crate) fn items(&self) -> impl Iterator<Item = ItemId> {
        let modules = self.modules.iter().enumerate();
        modules.flat_map(|(module, m)| (0..m.file.items.len()).map(move |item| ItemId { module, item }))
    }

    /// What a name means in a module.
    pub(crate) fn lookup(&self, module: usize, name: &str) -> Option<ItemId> {
        self.modules.get(module)?.scope.get(name).copied()
    }

    /// Names visible in a module, for suggestions; sorted, so that ties are stable.
    pub(crate) fn visible(&self, module: usize) -> Vec<&str> {
        let mut names: Vec<&str> = self.modules[module].scope.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// An item by the name that a caller gives: see the head of this file.
    pub(crate) fn find(&self, name: &str, wanted: fn(&ItemKind) -> bool) -> Option<ItemId> {
        let good = |id: &ItemId| wanted(&self.item(*id).kind);
        let named = |id: &ItemId, bare: &str| self.item(*id).kind.name().is_some_and(|n| n.name == bare);
        if let Some((module, bare)) = name.rsplit_once("::") {
            let at = self.modules.iter().position(|m| m.name == module)?;
            return self.items().filter(|id| id.module == at && named(id, bare)).find(good);
        }
        let own = self.lookup(0, name).filter(good);
        own.or_else(|| self.items().filter(|id| named(id, name)).find(good))
    }

    /// The name under which `find` gives exactly this item.
    pub(crate) fn name_of(&self, id: ItemId, wanted: fn(&ItemKind) -> bool) -> String {
        let bare = self.item(id).kind.name().map_or("", |n| n.name.as_str());
        if self.find(bare, wanted) == Some(id) {
            bare.to_owned()
        } else {
            format!("{}::{bare}", self.modules[id.module].name)
        }
    }

    /// The diagnostic for a name that no item of the wanted kind has.
    pub(crate) fn no_such(&self, kind: &str, name: &str, names: Vec<&str>) -> Diagnostic {
        let d = Diagnostic::error(Code::UnknownName, format!("there is no {kind} `{name}`"));
        match closest(name, names.iter().copied()) {
            Some(near) => d.help(format!("did you mean `{near}`?")),
            None if names.is_empty() => d.help(format!("the source defines no {kind}")),
            None => d.help(format!("there are: {}", names.join(", "))),
        }
    }

    /// `file:line:column` of the start of a span.
    pub(crate) fn location(&self, span: Span) -> String {
        match self.sources.get(span.source) {
            Some(source) => {
                let at = source.position(span.start);
                format!("{}:{}:{}", source.name(), at.line, at.column)
            }
            None => String::new(),
        }
    }
}
