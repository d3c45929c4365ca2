//! Which operations there are, with which types, and which of them a kernel has.
//!
//! Nothing here lists an operation: [`operations`] are the rows of the op tables, and [`taken`] asks the verifier about a kernel of one operation for each type.

use std::collections::BTreeSet;
use tvmc_ir::host::Expr;
use tvmc_ir::lane::Access;
use tvmc_ir::tile::{
    Binary, Builder, CastRule, Element, Form, Index, Kernel, Memory, Message, Op, Param, Reduce, Shared,
    SharedDecl, TensorDecl, TileType, Unary, Update, Value, verify,
};
use tvmc_types::dtype::DType;

/// An operation by its word, and the type it works on: `add` with `f32`. Conversions have two, `i8 to f32`; operations of formats may have none of their own, `in a format`.
pub type Pair = (String, String);

/// The words of all operations.
pub fn operations() -> Vec<String> {
    let mut names: Vec<String> = Unary::ALL.iter().map(|op| op.name().to_owned()).collect();
    names.extend(Binary::ALL.iter().map(|op| op.name().to_owned()));
    names.extend(CastRule::ALL.iter().map(|rule| format!("cast.{}", rule.name())));
    names.extend(Reduce::ALL.iter().map(|op| format!("reduce.{}", op.name())));
    names.extend(Reduce::ALL.iter().map(|op| format!("scan.{}", op.name())));
    names.extend(Update::ALL.iter().map(|update| format!("atomic.{}", update.name())));
    let kinds = [Form::Unary, Form::Binary, Form::Cast, Form::Reduce, Form::Scan, Form::Atomic];
    names.extend(Form::ALL.iter().filter(|form| !kinds.contains(form)).map(|form| form.name().to_owned()));
    names
}

/// What a kernel has.
pub fn pairs(kernel: &Kernel) -> BTreeSet<Pair> {
    let mut seen = BTreeSet::new();
    kernel.body.visit(&mut |inst| {
        // A conversion is known by both types, a load by what it gives, another operation by its last operand, or what it makes of nothing.
        let from = inst.args.last().map(|value| kernel.ty(*value).dtype);
        let to = inst.result.map(|value| kernel.ty(value).dtype);
        let dtype = match (&inst.op, from, to) {
            (Op::Cast(_) | Op::Bitcast | Op::View, Some(from), Some(to)) => format!("{from} to {to}"),
            (Op::Load { .. } | Op::LoadField { .. }, _, Some(to)) => to.to_string(),
            (Op::Gather(_), _, Some(to)) => to.to_string(),
            (_, Some(from), _) => from.to_string(),
            (_, None, Some(to)) => to.to_string(),
            (_, None, None) => "none".to_owned(),
        };
        seen.insert((inst.op.mnemonic().into_owned(), dtype));
    });
    for format in &kernel.formats {
        for inst in &format.decode.insts {
            seen.insert((inst.op.mnemonic().into_owned(), "in a format".to_owned()));
        }
        for field in &format.fields {
            seen.insert((Form::Field.name().to_owned(), field.dtype.to_string()));
        }
    }
    seen
}

/// Every pair that the verifier takes, but those of formats (whose fields have the types that their declaration gives them) and `view` (whose types follow from layouts).
pub fn taken() -> BTreeSet<Pair> {
    let mut taken = BTreeSet::new();
    for dtype in DType::ALL.iter().copied().filter(|dtype| dtype.bits() <= 32) {
        for op in probes() {
            let results: &[DType] = match op {
                Op::Cast(_) | Op::Bitcast => DType::ALL,
                Op::Binary(_) => &[dtype, DType::BOOL],
                _ => &[dtype],
            };
            for result in results.iter().filter(|result| result.bits() <= 32) {
                let kernel = probe(&op, dtype, *result);
                if verify(kernel.clone()).is_ok() {
                    let word = op.mnemonic();
                    taken.extend(pairs(&kernel).into_iter().filter(|(name, _)| *name == word));
                }
            }
        }
    }
    taken
}

/// One of each operation that works on tiles of some type.
fn probes() -> Vec<Op> {
    let shared = Memory::Shared(Shared(0));
    let slice = || vec![Index::Slice(4)];
    let mut probes = vec![
        Op::Fma,
        Op::Select,
        Op::Bitcast,
        Op::Relayout,
        Op::Broadcast,
        Op::Reshape,
        Op::Permute(vec![0]),
        Op::Gather(0),
        Op::Concat(0),
        Op::Dot,
        Op::Load { memory: Memory::Param(Param(0)), indices: slice(), padded: false },
        Op::Store { memory: Memory::Param(Param(1)), indices: slice() },
        Op::CopyAsync { shared: Shared(0), indices: slice() },
        Op::Scatter { memory: Memory::Param(Param(1)) },
        Op::Print(0),
    ];
    probes.extend(Unary::ALL.iter().map(|op| Op::Unary(*op)));
    probes.extend(Binary::ALL.iter().map(|op| Op::Binary(*op)));
    probes.extend(CastRule::ALL.iter().map(|rule| Op::Cast(*rule)));
    probes.extend(Reduce::ALL.iter().flat_map(|op| [Op::Reduce(*op, 0), Op::Scan(*op, 0)]));
    probes.extend(Update::ALL.iter().map(|update| Op::Atomic { update: *update, memory: shared }));
    probes
}

/// A kernel of one operation on tiles of a type.
fn probe(op: &Op, dtype: DType, result: DType) -> Kernel {
    let mut b = Builder::new("probe");
    for (name, access) in [("x", Access::Read), ("y", Access::Write)] {
        let (element, shape) = (Element::DType(dtype), vec![Expr::int(16)]);
        b.kernel.params.push(TensorDecl::Tensor { name: name.to_owned(), element, shape, access });
    }
    b.kernel.grid = vec![Expr::int(1)];
    b.kernel.messages.push(Message { text: "{}".to_owned(), location: String::new() });
    b.kernel.shared.push(SharedDecl { name: "s".to_owned(), ty: TileType::new(dtype, &[4]), order: None });
    let zero = b.i32(0);
    let tile = |b: &mut Builder, shape: &[u32]| -> Value {
        let indices = shape.iter().map(|size| Index::Slice(*size)).collect();
        let load = Op::Load { memory: Memory::Param(Param(0)), indices, padded: false };
        b.define(load, &[zero], TileType::new(dtype, shape))
    };
    let four = TileType::new(dtype, &[4]);
    let a = tile(&mut b, &[4]);
    let places = b.define(Op::Iota, &[], TileType::new(DType::I32, &[4]));
    let bools = |b: &mut Builder| {
        let no = b.define(Op::Const(0), &[], TileType::scalar(DType::BOOL));
        b.define(Op::Broadcast, &[no], TileType::new(DType::BOOL, &[4]))
    };
    let gives: Option<(Vec<Value>, TileType)> = match op {
        Op::Unary(_) | Op::Cast(_) | Op::Bitcast | Op::Permute(_) | Op::Scan(..) => {
            Some((vec![a], four.with_dtype(result)))
        }
        Op::Binary(_) => Some((vec![a, a], four.with_dtype(result))),
        Op::Fma => Some((vec![a, a, a], four)),
        Op::Select => Some((vec![bools(&mut b), a, a], four)),
        Op::Relayout => Some((vec![a], four)),
        Op::Broadcast => Some((vec![a], TileType::new(dtype, &[2, 4]))),
        Op::Reshape => Some((vec![a], TileType::new(dtype, &[2, 2]))),
        Op::Reduce(..) => Some((vec![a], TileType::scalar(dtype))),
        Op::Gather(_) => Some((vec![a, places], four)),
        Op::Concat(_) => Some((vec![a, a], TileType::new(dtype, &[8]))),
        Op::Dot => {
            let square = TileType::new(dtype, &[2, 2]);
            let m = b.define(Op::Reshape, &[a], square.clone());
            Some((vec![m, m, m], square))
        }
        Op::Load { .. } => Some((vec![zero], four)),
        Op::Atomic { update, .. } => Some(([vec![places], vec![a; update.operands()]].concat(), four)),
        Op::Store { .. } | Op::CopyAsync { .. } => {
            b.effect(op.clone(), &[zero, a]);
            None
        }
        Op::Scatter { .. } => {
            b.effect(op.clone(), &[places, a]);
            None
        }
        Op::Print(_) => {
            b.effect(op.clone(), &[a]);
            None
        }
        Op::Const(_)
        | Op::Dim(_)
        | Op::Scalar(_)
        | Op::BlockIndex(_)
        | Op::Iota
        | Op::View
        | Op::LoadField { .. }
        | Op::StoreGroups { .. }
        | Op::StoreHead { .. }
        | Op::Commit
        | Op::Wait(_)
        | Op::Field(_)
        | Op::Table(_)
        | Op::GroupIndex
        | Op::Assert(_) => None,
    };
    if let Some((args, ty)) = gives {
        let value = b.define(op.clone(), &args, ty.clone());
        if matches!(op, Op::Relayout) {
            let layout = tvmc_types::layout::Layout::auto_local_spatial(4, &ty.shape);
            if let Ok(layout) = layout {
                b.pin(value, layout, "");
            }
        }
    }
    b.finish()
}
