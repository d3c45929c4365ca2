//! Loading sources with the standard library, and showing what went wrong.
#![allow(dead_code)] // each test file uses its part

use std::collections::{HashMap, HashSet};
use tvmc_ir::tile::{Carried, Inst, Kernel, Op, Region, Stmt, Value};
use tvmc_lang::diag::{Diagnostic, render};
use tvmc_sema::{ElementChoice, Instance, Library, Loaded, Source, Use};
use tvmc_types::dtype::DType;

/// Loads a source that may `use` the standard library.
pub fn load(text: &str) -> Loaded {
    load_with(text, &[])
}

/// Loads a source beside other files.
pub fn load_with(text: &str, beside: &[(&str, &str)]) -> Loaded {
    let root = Source { name: "test.tile".into(), text: text.into() };
    Library::load(root, tvmc_stdlib::PRELUDE, &mut |wanted| match wanted {
        Use::Library(name) => tvmc_stdlib::module(name)
            .map(|text| Source { name: format!("std/{name}"), text: text.to_owned() }),
        Use::File { path, .. } => beside
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(name, text)| Source { name: (*name).into(), text: (*text).into() }),
    })
}

/// Diagnostics as a person sees them.
pub fn shown(library: &Library, diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|d| render(d, library.sources(), false)).collect::<Vec<_>>().join("\n\n")
}

/// A library without any error in sources and names.
pub fn clean(text: &str) -> Library {
    let Loaded { library, diagnostics } = load(text);
    assert!(diagnostics.is_empty(), "{}", shown(&library, &diagnostics));
    library
}

/// An instance: `dims` are constants; every generic in `formats` is a dtype or a format.
pub fn instance(formats: &[(&str, &str)], dims: &[(&str, u64)], tunes: &[(&str, i64)]) -> Instance {
    let choice = |name: &str| match DType::from_name(name) {
        Some(dtype) => ElementChoice::DType(dtype),
        None => ElementChoice::Format(name.to_owned()),
    };
    Instance {
        formats: formats.iter().map(|(n, f)| ((*n).to_owned(), choice(f))).collect::<HashMap<_, _>>(),
        dims: dims.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect(),
        tunes: tunes.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect(),
    }
}

/// A kernel instance that must compile.
pub fn compiled(library: &Library, kernel: &str, instance: &Instance) -> tvmc_ir::tile::Kernel {
    match tvmc_sema::instantiate(library, kernel, instance) {
        Ok(kernel) => {
            well_formed(&kernel);
            kernel
        }
        Err(diagnostics) => panic!("{kernel}: {}", shown(library, &diagnostics)),
    }
}

/// Every value is defined once, before its use and in a region around it; operand types suit their operations.
pub fn well_formed(kernel: &Kernel) {
    let mut checker = Checker { kernel, visible: Vec::new(), defined: HashSet::new() };
    checker.region(&kernel.body);
}

struct Checker<'k> {
    kernel: &'k Kernel,
    visible: Vec<HashSet<Value>>,
    defined: HashSet<Value>,
}

impl Checker<'_> {
    fn define(&mut self, value: Value) {
        assert!(self.defined.insert(value), "{value} is defined twice\n{}", self.kernel);
        self.visible.last_mut().expect("a region").insert(value);
    }

    fn used(&self, value: Value) {
        let known = self.visible.iter().any(|v| v.contains(&value));
        assert!(known, "{value} is used outside its region\n{}", self.kernel);
    }

    fn same(&self, a: Value, b: Value) {
        assert_eq!(self.kernel.ty(a), self.kernel.ty(b), "{a} and {b}\n{}", self.kernel);
    }

    fn open(&mut self, carried: &[Carried]) {
        carried.iter().for_each(|c| self.used(c.initial));
        carried.iter().for_each(|c| self.same(c.initial, c.param));
        self.visible.push(HashSet::new());
        carried.iter().for_each(|c| self.define(c.param));
    }

    fn close(&mut self, yields: &[Value], like: &[Value]) {
        assert_eq!(yields.len(), like.len(), "{}", self.kernel);
        yields.iter().for_each(|y| self.used(*y));
        yields.iter().zip(like).for_each(|(y, l)| self.same(*y, *l));
        self.visible.pop();
    }

    fn region(&mut self, region: &Region) {
        self.visible.push(HashSet::new());
        self.stmts(region);
        self.visible.pop();
    }

    fn stmts(&mut self, region: &Region) {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => self.inst(inst),
                Stmt::For { counter, from, to, carried, body, yields, results, .. } => {
                    self.used(*from);
                    self.used(*to);
                    self.open(carried);
                    self.define(*counter);
                    self.stmts(body);
                    self.close(yields, results);
                    results.iter().for_each(|r| self.define(*r));
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    self.open(carried);
                    self.stmts(body);
                    self.used(*again);
                    self.close(yields, results);
                    results.iter().for_each(|r| self.define(*r));
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    self.used(*condition);
                    for (body, yields) in [(then, then_yields), (otherwise, otherwise_yields)] {
                        self.open(&[]);
                        self.stmts(body);
                        self.close(yields, results);
                    }
                    results.iter().for_each(|r| self.define(*r));
                }
            }
        }
    }

    fn inst(&mut self, inst: &Inst) {
        inst.args.iter().for_each(|a| self.used(*a));
        let computes = |v: Value| {
            let dtype = self.kernel.ty(v).dtype;
            assert!(
                matches!(dtype, DType::F32 | DType::I32 | DType::U32 | DType::BOOL),
                "{v} computes in {dtype}\n{}",
                self.kernel
            );
        };
        match &inst.op {
            Op::Unary(_) | Op::Fma | Op::Dot | Op::Reduce(..) => inst.args.iter().for_each(|a| computes(*a)),
            Op::Binary(_) => {
                inst.args.iter().for_each(|a| computes(*a));
                self.same(inst.args[0], inst.args[1]);
            }
            Op::Select => self.same(inst.args[1], inst.args[2]),
            _ => {}
        }
        if let Some(result) = inst.result {
            self.define(result);
        }
    }
}
