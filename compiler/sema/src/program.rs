//! Programs: declarations and straight calls to program IR.
//!
//! Names of an expression are hyper-parameters, constants, dimensions, scalar inputs and loop counters. A dimension is a capital name that
//! stands alone as an extent of a weight (bound by the file), an input or an output (bound by the call). A `let` of a number or of a part of memory is a
//! name for the expression and leaves no trace.
//!
//! ```text
//! let q = buffer f32[S, H * E];                       buffer b2 "q": f32[S, mul(H, E)]
//! rope(q.view(S, H, E / 2, 2), start, theta);         launch rope(b2 as [S, H, div(E, 2), 2], start, theta)
//! ```
//!
//! A launch is checked against the kernel's interface: number, kind, dtype and rank of the arguments, sizes where they are known, tune names, and
//! that what the kernel writes may be written and overlaps no other argument.
//!
//! What is given is [`Verified`]: a program that breaks a rule of program IR is refused with an error at its name. That would be a fault of this
//! file, except for the limits on sizes, which a source can exceed.

mod declare;
mod launch;
mod memory;
mod phase;

use crate::constant::Constant;
use crate::host::{Cx, Env, Host, Named, is_small};
use crate::library::{ItemId, Library};
use phase::Phases;
use std::collections::BTreeMap;
use tvmc_ir::host::Expr;
use tvmc_ir::program::{
    self as ir, Base, MAX_EXPRESSION, MemoryElement, Program, Rule, Stmt, Verified, View, WeightElement,
};
use tvmc_ir::tile::MAX_RANK;
use tvmc_lang::ast::{self, Block, ExprId, ExprKind, Ident, ItemKind, StmtKind, TypeName};
use tvmc_lang::diag::{Code, Diagnostic, INTERNAL, closest};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

/// Memory under a name, or a part of it.
#[derive(Clone, Debug)]
struct Memory {
    base: Base,
    element: WeightElement,
    /// Extents of this part.
    shape: Vec<Host>,
    views: Vec<View>,
    /// A list of weights that is not indexed yet.
    list: bool,
    writable: bool,
}

#[derive(Clone, Debug)]
enum Meaning {
    Number(Host),
    Memory(Memory),
    Poison,
}

struct Scope {
    names: Vec<BTreeMap<String, (Meaning, Span)>>,
}

impl Scope {
    fn find(&self, name: &str) -> Option<&Meaning> {
        self.names.iter().rev().find_map(|n| n.get(name)).map(|(m, _)| m)
    }
}

impl Env for Scope {
    fn name(&self, name: &str) -> Named {
        match self.find(name) {
            Some(Meaning::Number(host)) => Named::Value(host.clone()),
            Some(Meaning::Memory(_)) => Named::Other("memory"),
            Some(Meaning::Poison) => Named::Poison,
            None => Named::Unknown,
        }
    }

    fn group(&self, _: &str) -> Option<Constant> {
        None
    }

    fn names(&self) -> Vec<String> {
        self.names.iter().flat_map(|n| n.keys().cloned()).collect()
    }
}

struct Compiler<'c, 'l> {
    cx: &'c mut Cx<'l>,
    module: usize,
    file: &'l ast::File,
    scope: Scope,
    program: Program,
    phases: Phases,
    /// Counters of loops so far.
    counters: BTreeMap<String, Span>,
    /// What the program's generic parameters stand for.
    elements: BTreeMap<String, MemoryElement>,
}

/// A program by its name, its generic parameters all f32.
pub fn program(library: &Library, name: &str) -> Result<Verified, Vec<Diagnostic>> {
    program_with(library, name, &BTreeMap::new())
}

/// A program by its name. `elements` gives generic parameters a dtype or the name of a format that is in scope where the program stands;
/// those it does not name are f32.
pub fn program_with(
    library: &Library,
    name: &str,
    elements: &BTreeMap<String, MemoryElement>,
) -> Result<Verified, Vec<Diagnostic>> {
    let Some(id) = library.find(name, |kind| matches!(kind, ItemKind::Program(_))) else {
        return Err(vec![library.no_such("program", name, library.programs())]);
    };
    let mut cx = Cx::new(library);
    match compile(&mut cx, id, elements) {
        Some(program) if cx.diags.errors() == 0 => Ok(program),
        Some(_) | None => Err(cx.diags.into_vec()),
    }
}

/// Compiles a program item; errors are reported.
pub(crate) fn compile(cx: &mut Cx, id: ItemId, chosen: &BTreeMap<String, MemoryElement>) -> Option<Verified> {
    let lib = cx.lib;
    let ItemKind::Program(ast) = &lib.item(id).kind else { return None };
    let errors = cx.diags.errors();
    let program = Program { name: ast.name.name.clone(), ..Program::default() };
    let file = &lib.module(id.module).file;
    let scope = Scope { names: vec![BTreeMap::new()] };
    let elements = generic_elements(cx, id, ast, chosen)?;
    let mut compiler = Compiler {
        cx,
        module: id.module,
        file,
        scope,
        program,
        phases: Phases::default(),
        counters: BTreeMap::new(),
        elements,
    };
    compiler.dims(&ast.body);
    let body = compiler.stmts(&ast.body.stmts);
    let mut program = compiler.program;
    program.body = body;
    if cx.diags.errors() > errors {
        return None;
    }
    match ir::verify(program) {
        Ok(program) => Some(program),
        Err(broken) => {
            for error in broken {
                let message = match error.rule {
                    Rule::Limits => format!("the program is too large: {}: {}", error.at, error.message),
                    _ => format!("{INTERNAL}: the compiled program is not well-formed: {error}"),
                };
                cx.diags.error(Code::Unsupported, ast.name.span, message, "this program");
            }
            None
        }
    }
}

/// What each generic parameter of a program stands for.
fn generic_elements(
    cx: &mut Cx,
    id: ItemId,
    ast: &ast::Program,
    chosen: &BTreeMap<String, MemoryElement>,
) -> Option<BTreeMap<String, MemoryElement>> {
    let mut elements = BTreeMap::new();
    for generic in &ast.generics {
        let name = &generic.name.name;
        let default = match generic.default.as_ref().map(|default| &default.ident().name) {
            Some(default) => match DType::from_name(default) {
                Some(dtype) => MemoryElement::DType(dtype),
                None => MemoryElement::Format(default.clone()),
            },
            None => MemoryElement::DType(DType::F32),
        };
        let element = chosen.get(name).cloned().unwrap_or(default);
        let fits = match (&element, generic.kind) {
            (MemoryElement::DType(_), ast::GenericKind::Format | ast::GenericKind::Dtype) => true,
            (MemoryElement::DType(dtype), ast::GenericKind::Float) => dtype.is_float(),
            (MemoryElement::DType(dtype), ast::GenericKind::Int) => dtype.is_integer(),
            (MemoryElement::Format(format), ast::GenericKind::Format) => cx
                .lib
                .lookup(id.module, format)
                .is_some_and(|found| matches!(cx.lib.item(found).kind, ItemKind::Format(_))),
            (MemoryElement::Format(_), _) => false,
        };
        if !fits {
            let kind = generic.kind.symbol();
            let message = format!("`{}` cannot stand for `{name}`, which is a {kind}", element.name());
            cx.diags.error(Code::WrongType, generic.span, message, "this parameter");
            return None;
        }
        if elements.insert(name.clone(), element).is_some() {
            cx.diags.error(Code::DuplicateName, generic.span, format!("`{name}` is defined twice"), "again");
            return None;
        }
    }
    if let Some(unknown) = chosen.keys().find(|name| !elements.contains_key(*name)) {
        let message = format!("program `{}` has no parameter `{unknown}`", ast.name.name);
        let names: Vec<&str> = elements.keys().map(String::as_str).collect();
        let d = Diagnostic::error(Code::UnknownName, message).at(ast.name.span, "this program");
        cx.diags.push(if names.is_empty() {
            d.help("it has none")
        } else {
            d.help(format!("it has: {}", names.join(", ")))
        });
        return None;
    }
    Some(elements)
}

impl Compiler<'_, '_> {
    #[track_caller]
    fn error(&mut self, code: Code, span: Span, message: impl Into<String>, label: impl Into<String>) {
        self.cx.diags.error(code, span, message, label);
    }

    fn define(&mut self, name: &Ident, meaning: Meaning) {
        let inner = self.scope.names.len() - 1;
        if let Some((_, first)) = self.scope.names[inner].get(&name.name) {
            let first = *first;
            self.cx.diags.push(
                Diagnostic::error(Code::DuplicateName, format!("`{}` is defined twice", name.name))
                    .at(name.span, "defined again")
                    .also(first, "first definition")
                    .help("rename one of them"),
            );
            return;
        }
        if inner > 0
            && let Some(Meaning::Number(Host::Expr(Expr::Name(_), _))) = self.scope.find(&name.name)
        {
            // Numbers keep their name in the IR, so an inner one would capture the outer.
            self.error(
                Code::DuplicateName,
                name.span,
                format!("`{}` is defined outside already", name.name),
                "defined again",
            );
            return;
        }
        if let (0, Some(first)) = (inner, self.counters.get(&name.name).copied())
            && self.keeps_name(&name.name)
        {
            self.cx.diags.push(
                Diagnostic::error(Code::DuplicateName, format!("`{}` counts a loop above", name.name))
                    .at(name.span, "defined again")
                    .also(first, "the loop's counter")
                    .help("rename one of them"),
            );
            return;
        }
        self.scope.names[inner].insert(name.name.clone(), (meaning, name.span));
    }

    /// A number. A `let` of one leaves no trace, so that a chain of them could grow without end: there is a limit.
    fn number(&mut self, id: ExprId) -> Option<Host> {
        let value = self.cx.host(self.module, id, &self.scope)?;
        if let Host::Expr(expr, _) = &value
            && !is_small(expr)
        {
            self.cx.diags.push(
                Diagnostic::error(Code::NestingTooDeep, "an expression too large")
                    .at(
                        self.file[id].span,
                        format!("more than {MAX_EXPRESSION} operations, or nested too deeply"),
                    )
                    .help("a `const` of the program keeps its name, so that what uses it stays small"),
            );
            return None;
        }
        Some(value)
    }

    /// An integer expression.
    fn integer(&mut self, id: ExprId, what: &str) -> Option<Host> {
        let value = self.number(id)?;
        if value.dtype() != DType::I32 {
            let kind = value.describe();
            self.error(
                Code::WrongType,
                self.file[id].span,
                format!("{what} is an integer, not {kind}"),
                kind,
            );
            return None;
        }
        Some(value)
    }

    fn shape(&mut self, ty: &ast::Type) -> Option<Vec<Host>> {
        let extents: Vec<Option<Host>> =
            ty.shape.iter().flatten().map(|e| self.integer(*e, "an extent")).collect();
        if let Some(layout) = &ty.layout {
            self.error(
                Code::Unsupported,
                layout.span,
                "memory of a program is row-major",
                "a layout is not possible here",
            );
        }
        if extents.len() > MAX_RANK {
            self.error(
                Code::RankTooHigh,
                ty.span,
                format!("a tensor has at most {MAX_RANK} dimensions"),
                "too many",
            );
            return None;
        }
        extents.into_iter().collect()
    }

    fn dtype(&mut self, name: &TypeName) -> Option<DType> {
        let ident = name.ident();
        let dtype = DType::from_name(&ident.name);
        if dtype.is_none() {
            let d = Diagnostic::error(Code::UnknownType, format!("`{}` is no dtype", ident.name))
                .at(ident.span, "a dtype is needed here");
            self.cx.diags.push(match ident.name.as_str() {
                "any" => d.help("only weights may be of any format: the file decides"),
                other => match closest(other, DType::ALL.iter().map(|d| d.name())) {
                    Some(near) => d.help(format!("did you mean `{near}`?")),
                    None => d.help("such as f32, f16 or i32"),
                },
            });
        }
        dtype
    }

    // ---- statements ----

    fn block(&mut self, block: &Block) -> Vec<Stmt> {
        self.scope.names.push(BTreeMap::new());
        let body = self.stmts(&block.stmts);
        self.scope.names.pop();
        body
    }

    fn stmts(&mut self, stmts: &[ast::Stmt]) -> Vec<Stmt> {
        let mut out = Vec::new();
        for stmt in stmts {
            if self.cx.enter(stmt.span).is_none() {
                continue;
            }
            self.stmt(stmt, &mut out);
            self.cx.leave();
        }
        out
    }

    fn stmt(&mut self, stmt: &ast::Stmt, out: &mut Vec<Stmt>) {
        match &stmt.kind {
            StmtKind::Declare(declaration) => self.declare(declaration, stmt.span),
            StmtKind::Let(binding) => self.binding(binding),
            StmtKind::Call { callee, args, with } => out.extend(self.launch(callee, args, with, stmt.span)),
            StmtKind::For(f) => out.extend(self.for_loop(f)),
            StmtKind::If { arms, otherwise } => out.extend(self.if_chain(arms, otherwise.as_ref())),
            StmtKind::StaticAssert { condition, message } => {
                let Some(value) = self.number(*condition) else { return };
                let span = self.file[*condition].span;
                let Some(constant) = self.cx.need_constant(value, span) else { return };
                if constant.as_bool() != Some(true) {
                    let text = message.as_ref().map_or("static_assert failed", |m| m.value.as_str());
                    self.error(Code::StaticAssertFailed, span, text, "not true");
                }
            }
            StmtKind::Var(_)
            | StmtKind::Assign { .. }
            | StmtKind::While { .. }
            | StmtKind::Break
            | StmtKind::Assert { .. }
            | StmtKind::Assume(_)
            | StmtKind::Print(_) => {
                self.cx.diags.push(
                    Diagnostic::error(Code::NotInKernel, "a program has no such statement")
                        .at(stmt.span, "only in kernels")
                        .help("a program allocates, takes parts of memory, launches kernels and loops; put the rest in a kernel"),
                );
            }
            StmtKind::Return(_) | StmtKind::Error => {}
        }
    }

    fn binding(&mut self, binding: &ast::Binding) {
        let meaning = match &self.file[binding.value].kind {
            ExprKind::Buffer(ty) => self.buffer(&binding.name, ty),
            _ if self.is_memory(binding.value) => self.memory(binding.value).map(Meaning::Memory),
            _ => self.number(binding.value).map(Meaning::Number),
        };
        if let Some(ty) = &binding.ty {
            self.error(
                Code::Unsupported,
                ty.span,
                "a `let` of a program takes its type from its value",
                "leave the type out",
            );
        }
        self.define(&binding.name, meaning.unwrap_or(Meaning::Poison));
    }

    fn for_loop(&mut self, f: &ast::For) -> Option<Stmt> {
        let from = self.integer(f.start, "a loop bound");
        let to = self.integer(f.end, "a loop bound");
        for (expr, what) in [(f.step, "a step other than 1"), (f.pipeline, "`pipeline`")] {
            let Some(expr) = expr else { continue };
            let one = what != "`pipeline`"
                && self.number(expr).and_then(|v| v.constant()).and_then(|c| c.as_int()) == Some(1);
            if !one {
                self.error(
                    Code::Unsupported,
                    self.file[expr].span,
                    format!("{what} exists in kernels only"),
                    "not in a program",
                );
            }
        }
        if let Some((Meaning::Number(_), first)) = self.scope.names[0].get(&f.var.name)
            && self.keeps_name(&f.var.name)
        {
            let first = *first;
            self.cx.diags.push(
                Diagnostic::error(
                    Code::DuplicateName,
                    format!("`{}` is defined outside already", f.var.name),
                )
                .at(f.var.span, "defined again")
                .also(first, "first definition")
                .help("rename the counter"),
            );
            return None;
        }
        self.counters.entry(f.var.name.clone()).or_insert(f.var.span);
        self.scope.names.push(BTreeMap::new());
        let counter = Host::Expr(Expr::Name(f.var.name.clone()), DType::I32);
        self.define(&f.var, Meaning::Number(counter));
        let body = self.block(&f.body);
        self.scope.names.pop();
        Some(Stmt::For { counter: f.var.name.clone(), from: from?.expr(), to: to?.expr(), body })
    }

    fn if_chain(&mut self, arms: &[ast::IfArm], otherwise: Option<&Block>) -> Option<Stmt> {
        // From the last arm to the first: each is the `else` of the one before it.
        let conditions: Vec<Option<Host>> = arms
            .iter()
            .map(|arm| {
                let value = self.number(arm.condition)?;
                if value.dtype() == DType::BOOL {
                    return Some(value);
                }
                let kind = value.describe();
                self.error(
                    Code::WrongType,
                    self.file[arm.condition].span,
                    format!("a condition is bool, not {kind}"),
                    kind,
                );
                None
            })
            .collect();
        let bodies: Vec<Vec<Stmt>> = arms.iter().map(|arm| self.block(&arm.body)).collect();
        let mut rest = otherwise.map_or_else(Vec::new, |b| self.block(b));
        for (condition, then) in conditions.into_iter().zip(bodies).rev() {
            rest = vec![Stmt::If { condition: condition?.expr(), then, otherwise: rest }];
        }
        rest.pop()
    }
}
