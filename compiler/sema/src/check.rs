//! All diagnostics of all items, without a model: generic kernels are compiled with sample bindings.
//!
//! A kernel is compiled first with every dimension known, which finds out which ones must be; then again with only those known, so that
//! what holds for a size that happens to divide evenly is not taken for granted. A format matters to a kernel only by its group size, so one
//! format of each size is tried.

use crate::elab::{Elab, Mode, Operand};
use crate::host::Cx;
use crate::library::{ItemId, Library};
use crate::signature::{Choice, kernel_ast, sample_generics};
use std::collections::BTreeMap;
use tvmc_ir::tile::{Op, Param, TileType};
use tvmc_lang::ast::{self, GenericKind, ItemKind};
use tvmc_lang::diag::Diagnostic;
use tvmc_types::dtype::DType;

/// Checks every item of every module.
pub fn check(library: &Library) -> Vec<Diagnostic> {
    let mut cx = Cx::new(library);
    let ids: Vec<ItemId> = library.items().collect();
    for &id in &ids {
        let lib = cx.lib;
        match &lib.item(id).kind {
            ItemKind::Use(_) => {}
            ItemKind::Const(item) => drop(cx.const_item(id, item.name.span)),
            ItemKind::Table(table) => drop(crate::format::table(&mut cx, id.module, table)),
            ItemKind::Function(_) => function(&mut cx, id),
            ItemKind::Format(_) => format(&mut cx, id),
            ItemKind::Kernel(_) => kernel(&mut cx, id),
            ItemKind::Program(_) => {
                drop(crate::program::compile(&mut cx, id, &std::collections::BTreeMap::new()))
            }
        }
    }
    cx.diags.into_vec()
}

/// A format, and its `encode` block if it has one.
fn format(cx: &mut Cx, id: ItemId) {
    let Some(format) = crate::format::compile(cx, id) else { return };
    let name = format.name.clone();
    let _ = Elab::new(cx, id.module, Mode::Kernel, &name).check_encode(id, &format);
}

/// A fn on its own: its parameters are unknown scalars.
fn function(cx: &mut Cx, id: ItemId) {
    let lib = cx.lib;
    let ItemKind::Function(function) = &lib.item(id).kind else { return };
    let mut elab = Elab::new(cx, id.module, Mode::Function, &function.name.name);
    let mut values = Vec::new();
    for (at, param) in function.params.iter().enumerate() {
        let dtype = DType::from_name(&param.ty.elem.ident().name).filter(|d| d.bits() <= 32);
        let ty = TileType::scalar(dtype.unwrap_or(DType::F32));
        let Some(value) = elab.define(Op::Scalar(Param(at as u32)), &[], ty, param.span) else { return };
        values.push((Operand::Value(value), param.span));
    }
    let _ = elab.expand(id, function, &values, function.name.span);
}

/// One format of each group size, in order of size.
fn formats(cx: &mut Cx) -> Vec<ItemId> {
    let lib = cx.lib;
    let mut by_group = BTreeMap::new();
    // Errors of formats are reported when their item is checked.
    let mut quiet = Cx::new(lib);
    for id in lib.items().filter(|id| matches!(lib.item(*id).kind, ItemKind::Format(_))) {
        if let Some(format) = crate::format::compile(&mut quiet, id) {
            by_group.entry(format.group).or_insert(id);
        }
    }
    by_group.into_values().collect()
}

fn kernel(cx: &mut Cx, id: ItemId) {
    let lib = cx.lib;
    let Some(ast) = kernel_ast(lib, id) else { return };
    let first = sample_generics(ast);
    let mut samples = vec![first.clone()];
    for generic in &ast.generics {
        // A parameter that is written is tried as f32 only: whether a format can be stored to depends on it and on sizes.
        let written = ast
            .params
            .iter()
            .any(|param| param.mode != ast::Mode::In && param.ty.elem.ident().name == generic.name.name);
        if written {
            continue;
        }
        let others: Vec<Choice> = match generic.kind {
            GenericKind::Format => formats(cx).into_iter().map(Choice::Format).collect(),
            GenericKind::Float => vec![Choice::DType(DType::F16)],
            GenericKind::Int => vec![Choice::DType(DType::I8)],
            GenericKind::Dtype => vec![Choice::DType(DType::I32)],
        };
        for choice in others {
            let mut sample = first.clone();
            sample.insert(generic.name.name.clone(), choice);
            samples.push(sample);
        }
    }
    for generics in &samples {
        let errors = cx.diags.errors();
        let all = crate::kernel::sample(lib, id, generics, None);
        let (_, required) = crate::kernel::compile(cx, id, &all);
        if cx.diags.errors() > errors {
            continue;
        }
        let some = crate::kernel::sample(lib, id, generics, Some(&required));
        let _ = crate::kernel::compile(cx, id, &some);
    }
}
