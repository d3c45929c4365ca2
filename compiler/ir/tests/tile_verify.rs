//! A must-fail kernel for each rule of the tile verifier, and one kernel that passes.

use tvmc_ir::host::Expr;
use tvmc_ir::tile::{
    Access, Binary, Builder, Element, Index, Inst, Kernel, Memory, Op, Param, Rule, Stmt, TensorDecl,
    TileType, Value, verify,
};
use tvmc_types::dtype::DType;

fn f32s(shape: &[u32]) -> TileType {
    TileType::new(DType::F32, shape)
}

/// y[0 +: 16] = x[0 +: 16] + x[0 +: 16], then whatever `more` does.
fn kernel(more: impl FnOnce(&mut Builder, Value, Value)) -> Kernel {
    let mut b = Builder::new("k");
    let tensor = |name: &str, access| TensorDecl::Tensor {
        name: name.into(),
        element: Element::DType(DType::F32),
        shape: vec![Expr::int(64)],
        access,
    };
    b.kernel.params = vec![tensor("x", Access::Read), tensor("y", Access::Write)];
    b.kernel.grid = vec![Expr::int(1)];
    let zero = b.i32(0);
    let load = Op::Load { memory: Memory::Param(Param(0)), indices: vec![Index::Slice(16)], padded: false };
    let x = b.define(load, &[zero], f32s(&[16]));
    let sum = b.define(Op::Binary(Binary::Add), &[x, x], f32s(&[16]));
    b.effect(Op::Store { memory: Memory::Param(Param(1)), indices: vec![Index::Slice(16)] }, &[zero, sum]);
    more(&mut b, zero, x);
    b.finish()
}

/// A kernel with one more value.
fn with_value(op: Op, args: impl FnOnce(Value, Value) -> Vec<Value>, ty: TileType) -> Kernel {
    kernel(|b, zero, x| {
        b.define(op, &args(zero, x), ty);
    })
}

fn broken(kernel: Kernel, rule: Rule) {
    let errors = verify(kernel).expect_err("it must be refused");
    assert!(errors.iter().any(|e| e.rule == rule), "{rule:?} is not among {errors:?}");
}

#[test]
fn a_sound_kernel_passes() {
    assert!(verify(kernel(|_, _, _| {})).is_ok());
}

#[test]
fn types_within_limits() {
    broken(
        with_value(Op::Broadcast, |zero, _| vec![zero], TileType::new(DType::I32, &[1 << 21])),
        Rule::Types,
    );
}

#[test]
fn definition_before_use_and_once() {
    let mut late = kernel(|_, _, _| {});
    late.body.stmts.swap(1, 2);
    broken(late, Rule::Definition);
    let mut twice = kernel(|_, _, _| {});
    let first = twice.body.stmts[0].clone();
    twice.body.stmts.push(first);
    broken(twice, Rule::Definition);
}

#[test]
fn operands_fit_the_operation() {
    broken(with_value(Op::Binary(Binary::Add), |zero, x| vec![x, zero], f32s(&[16])), Rule::Operands);
    broken(with_value(Op::Binary(Binary::Shl), |_, x| vec![x, x], f32s(&[16])), Rule::Operands);
    broken(with_value(Op::Reshape, |_, x| vec![x], f32s(&[3, 5])), Rule::Operands);
    broken(with_value(Op::Permute(vec![1]), |_, x| vec![x], f32s(&[16])), Rule::Operands);
    broken(with_value(Op::GroupIndex, |_, x| vec![x], TileType::scalar(DType::I32)), Rule::Operands);
}

#[test]
fn memory_is_accessed_as_declared() {
    let store =
        |param, size| Op::Store { memory: Memory::Param(Param(param)), indices: vec![Index::Slice(size)] };
    broken(kernel(|b, zero, x| b.effect(store(0, 16), &[zero, x])), Rule::Memory);
    broken(kernel(|b, zero, x| b.effect(store(1, 8), &[zero, x])), Rule::Memory);
    broken(kernel(|b, zero, x| b.effect(store(7, 16), &[zero, x])), Rule::Memory);
}

#[test]
fn regions_agree() {
    let mut changed = kernel(|b, zero, x| {
        let (_, carried) = b.begin_for(zero, zero, 1, &[x]);
        b.end_for(&carried);
    });
    if let Some(Stmt::For { step, .. }) = changed.body.stmts.last_mut() {
        *step = 0;
    }
    broken(changed, Rule::Regions);
    broken(
        kernel(|b, zero, x| {
            b.begin_for(zero, zero, 1, &[x]);
            b.end_for(&[zero]);
        }),
        Rule::Regions,
    );
}

#[test]
fn header_names_are_known() {
    let mut unknown = kernel(|_, _, _| {});
    unknown.grid = vec![Expr::Name("N".into())];
    broken(unknown, Rule::Header);
    let mut none = kernel(|_, _, _| {});
    none.grid.clear();
    broken(none, Rule::Header);
}

#[test]
fn messages_exist() {
    let mut kernel = kernel(|_, _, _| {});
    let print = Inst { op: Op::Print(3), args: vec![], result: None, location: None };
    kernel.body.stmts.push(Stmt::Inst(print));
    broken(kernel, Rule::Messages);
}
