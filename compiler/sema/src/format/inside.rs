//! Every index of a decode body lies inside its field or table: proved by intervals, element by element.
//!
//! The body is straight-line, and both values of a `where` are computed, so an index is judged whatever condition stands before it, for each element of the group and
//! every code that the fields may hold.
//!
//! ```text
//! group 8 { d: f16[2]; q: u8[8]; }    d[i / 4]     0 for elements 0 to 3, 1 for 4 to 7: inside
//!                                     d[q[i]]      from 0 to 255 for element 0: refused
//!                                     d[q[i] & 1]  from 0 to 1: inside
//! ```

use crate::facts::Facts;
use crate::host::Cx;
use tvmc_ir::tile::{self, Binary, CastRule, Inst, Op, Unary, Value};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind};

/// What is known of one value for one element.
#[derive(Copy, Clone)]
enum Known {
    Int(Facts),
    Bool(Option<bool>),
    Float,
}

/// Proves that every index lies inside its field or table.
pub(super) fn indices_inside(cx: &mut Cx, format: &tile::Format, spans: &[Span]) -> Option<()> {
    let mut values = vec![Known::Float; format.decode.values.len()];
    for element in 0..format.group {
        for inst in &format.decode.insts {
            let Some(result) = inst.result else { continue };
            let bound = if let Op::Field(at) = inst.op {
                Some((format.fields[at as usize].count, "field"))
            } else if let Op::Table(at) = inst.op {
                Some((format.tables[at as usize].1.len() as u32, "table"))
            } else {
                None
            };
            if let (Some((count, what)), Known::Int(index)) = (bound, int(&values, inst, 0))
                && (index.lo < 0 || index.hi >= i64::from(count))
            {
                let range = match index.as_constant() {
                    Some(v) => format!("is {v}"),
                    None => format!("may be from {} to {}", index.lo, index.hi),
                };
                cx.diags.push(
                    Diagnostic::error(
                        Code::FieldIndexOutOfRange,
                        format!("for element {element} of the group this index {range}"),
                    )
                    .at(spans[result.index()], format!("the {what} has {count} entries"))
                    .help("limit it for every element: `% n`, `& 15`, or `where` around the index; both values of a `where` are computed"),
                );
                return None;
            }
            values[result.index()] = step(format, &values, inst, result, element);
        }
    }
    Some(())
}

fn int(values: &[Known], inst: &Inst, at: usize) -> Known {
    match inst.args.get(at).map(|v| values[v.index()]) {
        Some(Known::Int(facts)) => Known::Int(facts),
        Some(Known::Bool(_) | Known::Float) | None => Known::Int(Facts::ANY),
    }
}

fn step(format: &tile::Format, values: &[Known], inst: &Inst, result: Value, element: u32) -> Known {
    let dtype = format.decode.values[result.index()].dtype;
    let facts = |at: usize| match int(values, inst, at) {
        Known::Int(f) => f,
        Known::Bool(_) | Known::Float => Facts::ANY,
    };
    let truth = |at: usize| match inst.args.get(at).map(|v| values[v.index()]) {
        Some(Known::Bool(b)) => b,
        Some(Known::Int(_) | Known::Float) | None => None,
    };
    if dtype.kind() == Kind::Bool {
        return Known::Bool(match &inst.op {
            Op::Const(bits) => Some(*bits != 0),
            Op::Binary(Binary::And) => match (truth(0), truth(1)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), other) | (other, Some(true)) => other,
                (None, None) => None,
            },
            Op::Binary(Binary::Or) => match (truth(0), truth(1)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), other) | (other, Some(false)) => other,
                (None, None) => None,
            },
            Op::Binary(op) => {
                let signed = inst.args.iter().all(|v| matches!(values[v.index()], Known::Int(_)));
                if signed { Facts::compare(*op, facts(0), facts(1)) } else { None }
            }
            Op::Unary(Unary::Not) => truth(0).map(|b| !b),
            Op::Unary(_)
            | Op::Field(_)
            | Op::Table(_)
            | Op::GroupIndex
            | Op::Fma
            | Op::Select
            | Op::Cast(_)
            | Op::Bitcast
            | Op::Dim(_)
            | Op::Scalar(_)
            | Op::BlockIndex(_)
            | Op::Iota
            | Op::View
            | Op::Relayout
            | Op::Broadcast
            | Op::Reshape
            | Op::Permute(_)
            | Op::Reduce(..)
            | Op::Scan(..)
            | Op::Gather(_)
            | Op::Concat(_)
            | Op::Dot
            | Op::Load { .. }
            | Op::LoadField { .. }
            | Op::Store { .. }
            | Op::StoreGroups { .. }
            | Op::StoreHead { .. }
            | Op::Scatter { .. }
            | Op::CopyAsync { .. }
            | Op::Commit
            | Op::Wait(_)
            | Op::Atomic { .. }
            | Op::Assert(_)
            | Op::Print(_) => None,
        });
    }
    if !dtype.is_integer() {
        return Known::Float;
    }
    if dtype == DType::U32 {
        return Known::Int(Facts::ANY);
    }
    Known::Int(match &inst.op {
        Op::Const(bits) => Facts::constant(i64::from(*bits as i32)),
        Op::GroupIndex => Facts::constant(i64::from(element)),
        Op::Unary(op) => Facts::unary(*op, facts(0)),
        Op::Binary(op) => Facts::binary(*op, facts(0), facts(1)),
        Op::Select => match truth(0) {
            Some(true) => facts(1),
            Some(false) => facts(2),
            None => facts(1).union(facts(2)),
        },
        Op::Cast(CastRule::Exact) if format.decode.values[inst.args[0].index()].dtype.is_integer() => {
            facts(0)
        }
        Op::Table(at) => {
            let entries = &format.tables[*at as usize].1;
            let index = facts(0);
            let chosen = index.as_constant().and_then(|i| entries.get(usize::try_from(i).ok()?));
            match chosen {
                Some(entry) => Facts::constant(i64::from(*entry as i32)),
                None => {
                    let all = entries.iter().map(|e| i64::from(*e as i32));
                    Facts::range(all.clone().min().unwrap_or(0), all.max().unwrap_or(0), 1)
                }
            }
        }
        Op::Cast(_)
        | Op::Field(_)
        | Op::Fma
        | Op::Bitcast
        | Op::Dim(_)
        | Op::Scalar(_)
        | Op::BlockIndex(_)
        | Op::Iota
        | Op::View
        | Op::Relayout
        | Op::Broadcast
        | Op::Reshape
        | Op::Permute(_)
        | Op::Reduce(..)
        | Op::Scan(..)
        | Op::Gather(_)
        | Op::Concat(_)
        | Op::Dot
        | Op::Load { .. }
        | Op::LoadField { .. }
        | Op::Store { .. }
        | Op::StoreGroups { .. }
        | Op::StoreHead { .. }
        | Op::Scatter { .. }
        | Op::CopyAsync { .. }
        | Op::Commit
        | Op::Wait(_)
        | Op::Atomic { .. }
        | Op::Assert(_)
        | Op::Print(_) => Facts::of(dtype),
    })
}
