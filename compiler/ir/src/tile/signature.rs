//! What each operation takes and gives: the rules of the verifier that look at one operation's types.

use super::dtypes::{binary_takes, bitcast_leads, computes, is_exact, reduce_takes, unary_takes, updates};
use super::format::{Format, Scope};
use super::kernel::{Access, Element, Index, Kernel, Memory, TensorDecl};
use super::op::{CastRule, Op};
use super::types::TileType;
use super::verify::Rule;
use tvmc_types::dtype::DType;

/// A broken rule and what is wrong, without a place.
pub(super) type Broken = (Rule, String);

/// What an operation must define.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Gives {
    /// Nothing.
    Nothing,
    /// A value of exactly this type.
    Type(TileType),
}

type Checked = Result<Gives, Broken>;

fn fail<T>(rule: Rule, message: impl Into<String>) -> Result<T, Broken> {
    Err((rule, message.into()))
}

/// Checks an operation of a kernel's body: `result` is the type of the value that it defines.
pub(super) fn check(
    kernel: &Kernel,
    op: &Op,
    args: &[&TileType],
    result: Option<&TileType>,
) -> Result<Gives, Broken> {
    match op {
        Op::Dim(dim) => {
            count(args, 0)?;
            if dim.index() >= kernel.dims.len() {
                return fail(Rule::Declaration, format!("{dim} is not declared"));
            }
            gives(TileType::scalar(DType::I32))
        }
        Op::Scalar(param) => {
            count(args, 0)?;
            match kernel.params.get(param.index()) {
                Some(TensorDecl::Scalar { dtype, .. }) => gives(TileType::scalar(*dtype)),
                Some(TensorDecl::Tensor { .. }) => fail(Rule::Declaration, format!("{param} is a tensor")),
                None => fail(Rule::Declaration, format!("{param} is not declared")),
            }
        }
        Op::BlockIndex(axis) => {
            count(args, 0)?;
            if *axis >= 3 {
                return fail(Rule::Axis, format!("axis {axis} of the grid, must be 0 to 2"));
            }
            gives(TileType::scalar(DType::I32))
        }
        Op::Iota => {
            count(args, 0)?;
            match result {
                Some(ty) if ty.shape.len() == 1 => gives(TileType::new(DType::I32, &ty.shape)),
                Some(_) | None => fail(Rule::Shape, "gives a tile of one axis"),
            }
        }
        Op::Broadcast => {
            count(args, 1)?;
            let to = result_of(result)?;
            if !spreads(&args[0].shape, &to.shape) {
                return fail(Rule::Shape, format!("{} does not spread to {:?}", args[0], to.shape));
            }
            gives(TileType::new(args[0].dtype, &to.shape))
        }
        Op::View => {
            count(args, 1)?;
            let to = result_of(result)?;
            for ty in [args[0], to] {
                dtype(super::pins::views(ty.dtype), ty)?;
            }
            // Shape and bits are those of the pinned layouts: rule `Layout`.
            gives(to.clone())
        }
        Op::Relayout => {
            count(args, 1)?;
            gives(args[0].clone())
        }
        Op::Reshape => {
            count(args, 1)?;
            let to = result_of(result)?;
            if args[0].elements() != to.elements() {
                let (from, to) = (args[0].elements(), to.elements());
                return fail(Rule::Shape, format!("{from} elements become {to}"));
            }
            gives(TileType::new(args[0].dtype, &to.shape))
        }
        Op::Permute(order) => {
            count(args, 1)?;
            let mut seen = order.clone();
            seen.sort_unstable();
            if !seen.iter().copied().map(usize::from).eq(0..args[0].shape.len()) {
                return fail(
                    Rule::Axis,
                    format!("{order:?} is no permutation of {} axes", args[0].shape.len()),
                );
            }
            let shape: Vec<u32> = order.iter().map(|axis| args[0].shape[usize::from(*axis)]).collect();
            gives(TileType::new(args[0].dtype, &shape))
        }
        Op::Reduce(reduce, axis) => {
            count(args, 1)?;
            has_axis(args[0], *axis)?;
            dtype(reduce_takes(*reduce, args[0].dtype), args[0])?;
            let mut shape = args[0].shape.clone();
            shape.remove(usize::from(*axis));
            gives(TileType::new(args[0].dtype, &shape))
        }
        Op::Scan(reduce, axis) => {
            count(args, 1)?;
            has_axis(args[0], *axis)?;
            dtype(reduce_takes(*reduce, args[0].dtype), args[0])?;
            gives(args[0].clone())
        }
        Op::Gather(axis) => {
            count(args, 2)?;
            has_axis(args[0], *axis)?;
            dtype(args[1].dtype == DType::I32, args[1])?;
            same_beside(args[0], args[1], *axis)?;
            gives(TileType::new(args[0].dtype, &args[1].shape))
        }
        Op::Concat(axis) => {
            let [first, rest @ ..] = args else { return fail(Rule::OperandCount, "joins no tiles") };
            if rest.is_empty() {
                return fail(Rule::OperandCount, "joins two tiles or more");
            }
            has_axis(first, *axis)?;
            let mut shape = first.shape.clone();
            for part in rest {
                if part.dtype != first.dtype {
                    return fail(Rule::DType, format!("{} meets {}", first.dtype, part.dtype));
                }
                same_beside(first, part, *axis)?;
                let along = &mut shape[usize::from(*axis)];
                *along = along.checked_add(part.shape[usize::from(*axis)]).unwrap_or(0);
            }
            gives(TileType::new(first.dtype, &shape))
        }
        Op::Dot => {
            count(args, 3)?;
            let ([m, k], [l, n]) = (args[0].shape.as_slice(), args[1].shape.as_slice()) else {
                return fail(Rule::Shape, "takes tiles of two axes");
            };
            if k != l {
                return fail(Rule::Shape, format!("{} columns meet {} rows", k, l));
            }
            dtype(matches!(args[0].dtype, DType::F32 | DType::I32), args[0])?;
            let sum = TileType::new(args[0].dtype, &[*m, *n]);
            if args[1].dtype != args[0].dtype {
                return fail(Rule::DType, format!("{} meets {}", args[0].dtype, args[1].dtype));
            }
            if *args[2] != sum {
                return fail(Rule::Shape, format!("{} is added to a product of type {sum}", args[2]));
            }
            gives(sum)
        }
        Op::Load { memory, indices, padded } => {
            let element = access(kernel, *memory, indices, args, usize::from(*padded))?;
            if let (true, Some(pad)) = (padded, args.last())
                && **pad != TileType::scalar(element)
            {
                return fail(Rule::Memory, format!("the padding value is {pad}, must be {element}"));
            }
            gives(TileType::new(element, &slices(indices)))
        }
        Op::LoadField { tensor, field, indices } => {
            let Some((declared, shape)) = kernel.field_of(*tensor, *field) else {
                return fail(
                    Rule::Memory,
                    format!("{tensor} is no tensor of a format that has field {field}"),
                );
            };
            let memory = Memory::Param(*tensor);
            offsets(memory, shape.len(), indices, args, 0)?;
            gives(TileType::new(declared.dtype, &slices(indices)))
        }
        Op::StoreHead { tensor, indices } => {
            let Some((format, shape)) = kernel.format_of(*tensor) else {
                return fail(Rule::Memory, "only tensors of a format have fields");
            };
            let memory = Memory::Param(*tensor);
            writable(kernel, memory)?;
            let fields: Vec<_> = format.fields.iter().filter(|f| f.scope == Scope::Tensor).collect();
            offsets(memory, shape.len().saturating_sub(2), indices, args, fields.len())?;
            if fields.is_empty() || indices.iter().any(|index| *index != Index::Point) {
                return fail(Rule::Memory, format!("no field that `{}` stores for one matrix", format.name));
            }
            for (field, value) in fields.into_iter().zip(&args[indices.len()..]) {
                let stored = TileType::new(field.dtype, &[field.count]);
                if **value != stored {
                    return fail(
                        Rule::Memory,
                        format!("{value} is stored to `{}` where {stored} is expected", field.name),
                    );
                }
            }
            Ok(Gives::Nothing)
        }
        Op::Store { memory, indices } => {
            let element = access(kernel, *memory, indices, args, 1)?;
            match (memory, kernel.element(*memory)) {
                (Memory::Param(_), Some((Element::Format(_), _))) => {
                    return fail(Rule::Memory, "a tensor of a format is not stored to");
                }
                (Memory::Param(_), _) => writable(kernel, *memory)?,
                (Memory::Shared(_), _) => {}
            }
            let stored = TileType::new(element, &slices(indices));
            match args.last() {
                Some(value) if **value == stored => Ok(Gives::Nothing),
                Some(value) => fail(Rule::Memory, format!("{value} is stored where {stored} is expected")),
                None => fail(Rule::OperandCount, "stores no value"),
            }
        }
        Op::CopyAsync { shared, indices } => {
            let element = access(kernel, Memory::Shared(*shared), indices, args, 1)?;
            let stored = TileType::new(element, &slices(indices));
            match args.last() {
                Some(value) if **value == stored => Ok(Gives::Nothing),
                Some(value) => fail(Rule::Memory, format!("{value} is copied where {stored} is expected")),
                None => fail(Rule::OperandCount, "copies no value"),
            }
        }
        Op::Commit | Op::Wait(_) => {
            count(args, 0)?;
            Ok(Gives::Nothing)
        }
        Op::StoreGroups { memory, indices } => {
            let (Memory::Param(_), Some((Element::Format(id), _))) = (memory, kernel.element(*memory)) else {
                return fail(Rule::Memory, "only tensors of a format have fields");
            };
            writable(kernel, *memory)?;
            let Some(format) = kernel.formats.get(id.index()) else {
                return fail(Rule::Declaration, format!("{id} is not declared"));
            };
            let fields = format.stored_fields();
            access(kernel, *memory, indices, args, fields.len())?;
            let groups = match (indices.last(), slices(indices).last()) {
                (Some(Index::Slice(_)), Some(last)) if format.group > 0 && *last % format.group == 0 => {
                    *last / format.group
                }
                _ => return fail(Rule::Memory, format!("no slice of whole groups of {}", format.group)),
            };
            if format.has_row_fields() && !kernel.takes_rows(*memory, indices) {
                return fail(
                    Rule::Memory,
                    format!("`{}` has fields of a row: whole rows are stored", format.name),
                );
            }
            for (number, value) in fields.into_iter().zip(&args[indices.len()..]) {
                let field = &format.fields[number];
                let times = if field.scope == Scope::Group { groups } else { 1 };
                let mut shape = slices(indices);
                if let Some(last) = shape.last_mut() {
                    *last = times.checked_mul(field.count).unwrap_or(0);
                }
                let stored = TileType::new(field.dtype, &shape);
                if **value != stored {
                    return fail(
                        Rule::Memory,
                        format!("{value} is stored to `{}` where {stored} is expected", field.name),
                    );
                }
            }
            Ok(Gives::Nothing)
        }
        Op::Scatter { memory } => {
            let (element, value) = places(kernel, *memory, args, 1)?;
            writable(kernel, *memory)?;
            if let (Memory::Param(_), Some((Element::Format(_), _))) = (memory, kernel.element(*memory)) {
                return fail(Rule::Memory, "a tensor of a format is not stored to");
            }
            if value.dtype != element {
                return fail(Rule::Memory, format!("{value} is stored where {element} is expected"));
            }
            Ok(Gives::Nothing)
        }
        Op::Atomic { update, memory } => {
            let memory = *memory;
            let (element, value) = places(kernel, memory, args, update.operands())?;
            if let Memory::Param(tensor) = memory
                && let Some(TensorDecl::Tensor { access: Access::Read | Access::Write, name, .. }) =
                    kernel.params.get(tensor.index())
            {
                return fail(Rule::Access, format!("`{name}` is not both read and written"));
            }
            if !matches!(kernel.element(memory), Some((Element::DType(_), _))) || !updates(*update, element) {
                return fail(Rule::DType, format!("does not update elements of {element}"));
            }
            if value.dtype != element {
                return fail(Rule::DType, format!("{value} meets elements of {element}"));
            }
            gives(value.clone())
        }
        Op::Assert(number) => {
            message(kernel, *number)?;
            count(args, 1)?;
            if *args[0] != TileType::scalar(DType::BOOL) {
                return fail(Rule::DType, format!("a condition of type {}, must be bool", args[0]));
            }
            Ok(Gives::Nothing)
        }
        Op::Print(number) => {
            let marks = message(kernel, *number)?.matches("{}").count();
            if marks != args.len() {
                return fail(
                    Rule::Message,
                    format!("message {number} has {marks} marks `{{}}` for {} operands", args.len()),
                );
            }
            Ok(Gives::Nothing)
        }
        Op::Table(number) => {
            count(args, 1)?;
            let Some((dtype, _)) = kernel.tables.get(*number as usize) else {
                return fail(Rule::Declaration, format!("table {number} does not exist"));
            };
            if args[0].dtype != DType::I32 {
                return fail(Rule::DType, format!("an index of type {}, must be i32", args[0]));
            }
            gives(TileType { dtype: *dtype, shape: args[0].shape.clone() })
        }
        Op::Field(_) | Op::GroupIndex => fail(Rule::DecodeOnly, "belongs into the decode body of a format"),
        Op::Const(_) | Op::Unary(_) | Op::Binary(_) | Op::Fma | Op::Select | Op::Cast(_) | Op::Bitcast => {
            elementwise(op, args, result)
        }
    }
}

/// Operations on one element at a time, which bodies of kernels and of formats share.
pub(super) fn elementwise(op: &Op, args: &[&TileType], result: Option<&TileType>) -> Checked {
    match op {
        Op::Const(bits) => {
            count(args, 0)?;
            let ty = result_of(result)?;
            if !ty.is_scalar() {
                return fail(Rule::Shape, "gives a scalar; broadcast it");
            }
            dtype(computes(ty.dtype), ty)?;
            if ty.dtype == DType::BOOL && *bits > 1 {
                return fail(Rule::DType, format!("{bits:#x} is no truth value"));
            }
            gives(ty.clone())
        }
        Op::Unary(op) => {
            count(args, 1)?;
            dtype(unary_takes(*op, args[0].dtype), args[0])?;
            gives(args[0].clone())
        }
        Op::Binary(op) => {
            count(args, 2)?;
            same(args)?;
            dtype(binary_takes(*op, args[0].dtype), args[0])?;
            gives(args[0].with_dtype(if op.is_comparison() { DType::BOOL } else { args[0].dtype }))
        }
        Op::Fma => {
            count(args, 3)?;
            same(args)?;
            dtype(args[0].dtype == DType::F32, args[0])?;
            gives(args[0].clone())
        }
        Op::Select => {
            count(args, 3)?;
            same(&args[1..])?;
            dtype(args[0].dtype == DType::BOOL, args[0])?;
            dtype(computes(args[1].dtype), args[1])?;
            if args[0].shape != args[1].shape {
                return fail(Rule::Shape, format!("{} chooses between {}", args[0], args[1]));
            }
            gives(args[1].clone())
        }
        Op::Cast(rule) => {
            count(args, 1)?;
            let (from, to) = (args[0].dtype, result_of(result)?.dtype);
            let fits = match rule {
                CastRule::Exact => is_exact(from, to),
                CastRule::Round => to.is_float(),
                CastRule::Saturate => !to.is_float(),
                CastRule::Wrap => to.is_integer(),
            };
            if !fits {
                return fail(Rule::Cast, format!("`{}` does not lead from {from} to {to}", rule.name()));
            }
            gives(args[0].with_dtype(to))
        }
        Op::Bitcast => {
            count(args, 1)?;
            let to = result_of(result)?;
            dtype(bitcast_leads(args[0].dtype, to.dtype), args[0])?;
            gives(args[0].with_dtype(to.dtype))
        }
        Op::Dim(_)
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
        | Op::Field(_)
        | Op::Table(_)
        | Op::GroupIndex
        | Op::Assert(_)
        | Op::Print(_) => fail(Rule::DecodeOnly, "is no operation on single elements"),
    }
}

fn has_axis(ty: &TileType, axis: u8) -> Result<(), Broken> {
    if usize::from(axis) < ty.shape.len() {
        return Ok(());
    }
    fail(Rule::Axis, format!("axis {axis} of a tile of {} axes", ty.shape.len()))
}

/// Two tiles whose shapes differ at most along one axis.
fn same_beside(a: &TileType, b: &TileType, axis: u8) -> Result<(), Broken> {
    let others = |ty: &TileType| {
        let mut shape = ty.shape.clone();
        shape.get_mut(usize::from(axis)).into_iter().for_each(|extent| *extent = 0);
        shape
    };
    if others(a) == others(b) {
        return Ok(());
    }
    fail(Rule::Shape, format!("{a} and {b} differ beside axis {axis}"))
}

fn gives(ty: TileType) -> Checked {
    Ok(Gives::Type(ty))
}

fn result_of(result: Option<&TileType>) -> Result<&TileType, Broken> {
    result.map_or_else(|| fail(Rule::Result, "defines nothing"), Ok)
}

/// Rule `OperandCount`.
pub(super) fn count(args: &[&TileType], expected: usize) -> Result<(), Broken> {
    if args.len() == expected {
        return Ok(());
    }
    fail(Rule::OperandCount, format!("{} operands, takes {expected}", args.len()))
}

fn same(args: &[&TileType]) -> Result<(), Broken> {
    let Some((first, rest)) = args.split_first() else { return Ok(()) };
    match rest.iter().find(|other| *other != first) {
        None => Ok(()),
        Some(other) if other.shape != first.shape => fail(Rule::Shape, format!("{first} meets {other}")),
        Some(other) => fail(Rule::DType, format!("{first} meets {other}")),
    }
}

fn dtype(fits: bool, operand: &TileType) -> Result<(), Broken> {
    if fits { Ok(()) } else { fail(Rule::DType, format!("does not compute with {}", operand.dtype)) }
}

fn message(kernel: &Kernel, number: u32) -> Result<&str, Broken> {
    match kernel.messages.get(number as usize) {
        Some(message) => Ok(&message.text),
        None => fail(Rule::Message, format!("message {number} does not exist")),
    }
}

fn slices(indices: &[Index]) -> Vec<u32> {
    let size = |index: &Index| match index {
        Index::Slice(size) => Some(*size),
        Index::Point => None,
    };
    indices.iter().filter_map(size).collect()
}

/// The parts that loads and stores share; `extra` operands follow the offsets. Gives the dtype of an element.
fn access(
    kernel: &Kernel,
    memory: Memory,
    indices: &[Index],
    args: &[&TileType],
    extra: usize,
) -> Result<DType, Broken> {
    let (dtype, rank) = element_of(kernel, memory)?;
    offsets(memory, rank, indices, args, extra)?;
    Ok(dtype)
}

/// An offset for each of so many axes, and so many operands more.
fn offsets(
    memory: Memory,
    rank: usize,
    indices: &[Index],
    args: &[&TileType],
    extra: usize,
) -> Result<(), Broken> {
    if indices.len() != rank {
        let name = memory_name(memory);
        return fail(Rule::Memory, format!("{} indices for the {rank} axes of {name}", indices.len()));
    }
    count(args, rank + extra)?;
    match args[..rank].iter().find(|offset| ***offset != TileType::scalar(DType::I32)) {
        Some(offset) => fail(Rule::Memory, format!("an offset is {offset}, must be i32")),
        None => Ok(()),
    }
}

fn memory_name(memory: Memory) -> String {
    match memory {
        Memory::Param(param) => param.to_string(),
        Memory::Shared(shared) => shared.to_string(),
    }
}

/// The dtype of a loaded element, and the number of axes.
fn element_of(kernel: &Kernel, memory: Memory) -> Result<(DType, usize), Broken> {
    let Some((element, rank)) = kernel.element(memory) else {
        return fail(Rule::Declaration, format!("{} is no tensor", memory_name(memory)));
    };
    match element {
        Element::DType(dtype) => Ok((dtype, rank)),
        Element::Format(id) if id.index() < kernel.formats.len() => Ok((DType::F32, rank)),
        Element::Format(id) => fail(Rule::Declaration, format!("{id} is not declared")),
    }
}

/// Rule `Access` for a store.
fn writable(kernel: &Kernel, memory: Memory) -> Result<(), Broken> {
    if let Memory::Param(param) = memory
        && let Some(TensorDecl::Tensor { access: Access::Read, name, .. }) = kernel.params.get(param.index())
    {
        return fail(Rule::Access, format!("`{name}` is only read"));
    }
    Ok(())
}

/// What scatters and atomic updates share: an index tile for each axis, then this many operands of one type, all of one shape. Gives the dtype
/// of an element and the type of the operands.
fn places<'a>(
    kernel: &Kernel,
    memory: Memory,
    args: &[&'a TileType],
    operands: usize,
) -> Result<(DType, &'a TileType), Broken> {
    let (element, rank) = element_of(kernel, memory)?;
    count(args, rank + operands)?;
    let (indices, values) = args.split_at(rank);
    same(values)?;
    let value = values[0];
    match indices.iter().find(|index| ***index != value.with_dtype(DType::I32)) {
        Some(index) => fail(Rule::Memory, format!("an index is {index}, must be i32 and as {value}")),
        None => Ok((element, value)),
    }
}

/// Whether extents, aligned at the last axis, are equal, 1 or missing.
fn spreads(from: &[u32], to: &[u32]) -> bool {
    to.len()
        .checked_sub(from.len())
        .is_some_and(|skip| from.iter().zip(&to[skip..]).all(|(a, b)| a == b || *a == 1))
}

/// What an operation of a decode body gives.
pub(super) fn decode_op(
    format: &Format,
    op: &Op,
    args: &[&TileType],
    result: Option<&TileType>,
) -> Result<Gives, Broken> {
    let entry = |dtype: Option<DType>, what: &str, number: u32| {
        count(args, 1)?;
        if *args[0] != TileType::scalar(DType::I32) {
            return Err((Rule::Decode, format!("an index is {}, must be i32", args[0])));
        }
        match dtype {
            Some(dtype) => Ok(Gives::Type(TileType::scalar(dtype))),
            None => Err((Rule::Declaration, format!("{what} {number} does not exist"))),
        }
    };
    if result.is_some_and(|ty| !ty.is_scalar()) {
        return Err((Rule::Decode, "gives no scalar".to_owned()));
    }
    match op {
        Op::GroupIndex => {
            count(args, 0)?;
            Ok(Gives::Type(TileType::scalar(DType::I32)))
        }
        Op::Field(number) => {
            entry(format.fields.get(*number as usize).map(|field| field.dtype), "field", *number)
        }
        Op::Table(number) => entry(format.tables.get(*number as usize).map(|t| t.0), "table", *number),
        Op::Const(_) | Op::Unary(_) | Op::Binary(_) | Op::Fma | Op::Select | Op::Cast(_) | Op::Bitcast => {
            elementwise(op, args, result)
        }
        Op::Dim(_)
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
        | Op::Print(_) => Err((Rule::Decode, "does not belong into a decode body".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_casts_are_those_that_lose_nothing() {
        let exact = |from: &str, to: &str| is_exact(from.parse().unwrap(), to.parse().unwrap());
        for (from, to) in [
            ("u4", "i8"),
            ("u8", "f16"),
            ("i16", "f32"),
            ("f16", "f32"),
            ("e4m3", "f16"),
            ("e2m1", "e4m3"),
            ("bool", "u1"),
            ("bool", "f32"),
            ("i32", "f64"),
            ("u16", "i32"),
        ] {
            assert!(exact(from, to), "{from} to {to}");
        }
        for (from, to) in [
            ("i32", "f32"),
            ("u32", "f32"),
            ("u32", "i32"),
            ("i8", "u8"),
            ("u8", "i8"),
            ("bool", "i1"),
            ("f32", "f16"),
            ("bf16", "f16"),
            ("f16", "bf16"),
            ("u16", "f16"),
            ("f32", "i32"),
            ("u1", "bool"),
            ("e5m2", "e4m3"),
            ("i64", "f64"),
        ] {
            assert!(!exact(from, to), "{from} to {to}");
        }
    }
}
