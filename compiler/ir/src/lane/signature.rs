//! What each operation takes and gives: the rules of the verifier that concern one instruction,
//! as functions of the operation and its operand types alone.

use super::fragment::{ALIGNMENT, FragmentOp, MAX_BIAS, Role};
use super::function::{Access, Arena, Fragment, Function};
use super::op::{MemoryOp, Op, Place, Pure, Slot};
use super::types::{Scalar, Type, Uniformity};
use super::verify::Rule;

/// A broken rule and what to say.
type Broken = (Rule, String);

/// What one operand must be.
#[derive(Copy, Clone)]
struct Expect {
    what: &'static str,
    scalar: Option<Scalar>,
    uniformity: Option<Uniformity>,
}

const fn expect(what: &'static str, scalar: Option<Scalar>, uniformity: Option<Uniformity>) -> Expect {
    Expect { what, scalar, uniformity }
}

const UNIFORM: Option<Uniformity> = Some(Uniformity::Uniform);
const VARYING: Option<Uniformity> = Some(Uniformity::Varying);

/// Checks operands against expectations: count, kinds, uniformity.
fn operands(expected: &[Expect], found: &[Type]) -> Result<(), Vec<Broken>> {
    if expected.len() != found.len() {
        let message = format!("takes {} operands, has {}", expected.len(), found.len());
        return Err(vec![(Rule::OperandCount, message)]);
    }
    let mut broken = Vec::new();
    for (want, ty) in expected.iter().zip(found) {
        if want.scalar.is_some_and(|scalar| scalar != ty.scalar) {
            let name = want.scalar.map_or("", Scalar::name);
            broken
                .push((Rule::OperandKind, format!("{} is {}, must be {name}", want.what, ty.scalar.name())));
        }
        if want.uniformity.is_some_and(|uniformity| uniformity != ty.uniformity) {
            let name = match ty.uniformity {
                Uniformity::Uniform => "uniform, must be varying",
                Uniformity::Varying => "varying, must be uniform",
            };
            broken.push((Rule::Uniformity, format!("{} is {name}", want.what)));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

/// All operands uniform or all varying: gives which.
fn lane_by_lane(found: &[Type]) -> Result<Uniformity, Vec<Broken>> {
    let first = found.first().map_or(Uniformity::Uniform, |ty| ty.uniformity);
    if found.iter().all(|ty| ty.uniformity == first) {
        Ok(first)
    } else {
        Err(vec![(
            Rule::Uniformity,
            "mixes uniform and varying operands; `splat` the uniform ones".to_owned(),
        )])
    }
}

fn fail<T>(rule: Rule, message: impl Into<String>) -> Result<T, Vec<Broken>> {
    Err(vec![(rule, message.into())])
}

/// Checks one operation on operands of these types; gives its result type (`None` for an effect).
pub(super) fn check(function: &Function, op: Op, types: &[Type]) -> Result<Option<Type>, Vec<Broken>> {
    let none: [Expect; 0] = [];
    match op {
        Op::Pure(pure) => pure_op(pure, types).map(Some),
        Op::ConstF32(_) => operands(&none, types).map(|()| Some(Type::uniform(Scalar::F32))),
        Op::ConstI32(_) => operands(&none, types).map(|()| Some(Type::uniform(Scalar::I32))),
        Op::ConstI64(_) => operands(&none, types).map(|()| Some(Type::uniform(Scalar::I64))),
        Op::ConstBool(_) => operands(&none, types).map(|()| Some(Type::uniform(Scalar::Bool))),
        Op::LaneIndex => operands(&none, types).map(|()| Some(Type::varying(Scalar::I32))),
        Op::BlockIndex(axis) | Op::BlockCount(axis) => {
            if axis > 2 {
                return fail(Rule::Axis, format!("axis {axis}, must be 0, 1 or 2"));
            }
            operands(&none, types).map(|()| Some(Type::uniform(Scalar::I32)))
        }
        Op::Splat => {
            operands(&[expect("operand", None, UNIFORM)], types)?;
            if types[0].scalar == Scalar::I64 {
                return fail(Rule::UniformI64, "i64 is uniform only");
            }
            Ok(Some(Type::varying(types[0].scalar)))
        }
        Op::Reduce(reduce) => {
            operands(&[expect("operand", Some(reduce.scalar()), VARYING)], types)?;
            Ok(Some(Type::uniform(reduce.scalar())))
        }
        Op::Extract => {
            operands(
                &[expect("value", None, VARYING), expect("lane number", Some(Scalar::I32), UNIFORM)],
                types,
            )?;
            Ok(Some(Type::uniform(types[0].scalar)))
        }
        Op::Shuffle => {
            operands(
                &[expect("value", None, VARYING), expect("source lane", Some(Scalar::I32), VARYING)],
                types,
            )?;
            Ok(Some(Type::varying(types[0].scalar)))
        }
        Op::Unpack { bits, offset, sign: _ } => {
            width(bits)?;
            if u32::from(offset) + 4 * u32::from(bits) > 64 {
                let message = format!("offset {offset} and four codes of {bits} bits exceed 64 bits");
                return fail(Rule::Unpack, message);
            }
            let word = Some(Scalar::I32);
            operands(&[expect("low word", word, None), expect("high word", word, None)], types)?;
            Ok(Some(Type { scalar: Scalar::I32, uniformity: lane_by_lane(types)? }))
        }
        Op::LoadUnpack { place, bits, sign: _ } => {
            width(bits)?;
            self::place(function, place, false)?;
            operands(&[expect("base", Some(Scalar::I64), UNIFORM)], types)?;
            Ok(Some(Type::varying(Scalar::I32)))
        }
        Op::TableLookup(table) => {
            let Some(decl) = function.tables.get(table.index()) else {
                return fail(Rule::Table, format!("{table} does not exist"));
            };
            operands(&[expect("index", Some(Scalar::I32), None)], types)?;
            Ok(Some(Type { scalar: decl.scalar, uniformity: types[0].uniformity }))
        }
        Op::TableBytes(table) => {
            let Some(decl) = function.tables.get(table.index()) else {
                return fail(Rule::Table, format!("{table} does not exist"));
            };
            if decl.scalar != Scalar::I32 || decl.entries.iter().any(|entry| *entry > 0xff) {
                return fail(Rule::Table, format!("{table} is not of bytes: i32 entries from 0 to 255"));
            }
            if decl.entries.len() > 256 {
                let message = format!("{table} has {} entries, a byte selects among 256", decl.entries.len());
                return fail(Rule::Table, message);
            }
            operands(&[expect("index", Some(Scalar::I32), None)], types)?;
            Ok(Some(Type { scalar: Scalar::I32, uniformity: types[0].uniformity }))
        }
        Op::TableHalves(table) => {
            let Some(decl) = function.tables.get(table.index()) else {
                return fail(Rule::Table, format!("{table} does not exist"));
            };
            if decl.scalar != Scalar::I32 || decl.entries.iter().any(|entry| *entry > 0xffff) {
                return fail(Rule::Table, format!("{table} is not of halves: i32 entries from 0 to 65535"));
            }
            if decl.entries.len() > 0x10000 {
                let message =
                    format!("{table} has {} entries, a half selects among 65536", decl.entries.len());
                return fail(Rule::Table, message);
            }
            operands(&[expect("index", Some(Scalar::I32), None)], types)?;
            Ok(Some(Type { scalar: Scalar::I32, uniformity: types[0].uniformity }))
        }
        Op::Memory { form, mem, place, masked } => {
            self::place(function, place, form.is_store())?;
            let uniformity = match form {
                MemoryOp::LoadUniform | MemoryOp::StoreUniform => UNIFORM,
                MemoryOp::LoadContig | MemoryOp::Gather | MemoryOp::StoreContig | MemoryOp::Scatter => {
                    VARYING
                }
            };
            let mut expected = vec![expect("base", Some(Scalar::I64), UNIFORM)];
            if matches!(form, MemoryOp::Gather | MemoryOp::Scatter) {
                expected.push(expect("offset", Some(Scalar::I32), VARYING));
            }
            if form.is_store() {
                expected.push(expect("value", Some(mem.loaded()), uniformity));
            }
            if masked {
                expected.push(expect("mask", Some(Scalar::Bool), uniformity));
            }
            operands(&expected, types)?;
            let loaded = Type { scalar: mem.loaded(), uniformity: uniformity.unwrap_or(Uniformity::Varying) };
            Ok((!form.is_store()).then_some(loaded))
        }
        Op::Atomic { update, buffer } => {
            for store in [false, true] {
                place(function, Place::Buffer(buffer), store)?;
            }
            let mut expected = vec![
                expect("base", Some(Scalar::I64), UNIFORM),
                expect("offset", Some(Scalar::I32), VARYING),
            ];
            expected.resize(2 + update.operands(), expect("operand", Some(update.scalar()), VARYING));
            expected.push(expect("mask", Some(Scalar::Bool), VARYING));
            operands(&expected, types)?;
            Ok(Some(Type::varying(update.scalar())))
        }
        Op::Fragment(op) => fragment(function, op, types).map(|()| None),
        Op::StoreBits(buffer) => {
            place(function, Place::Buffer(buffer), true)?;
            let integer = |role| expect(role, Some(Scalar::I32), VARYING);
            let expected = [
                expect("base", Some(Scalar::I64), UNIFORM),
                integer("offset"),
                integer("value"),
                integer("bits"),
                expect("mask", Some(Scalar::Bool), VARYING),
            ];
            operands(&expected, types)?;
            Ok(None)
        }
        Op::Barrier | Op::BufferBarrier => operands(&none, types).map(|()| None),
        Op::Assert(message) => {
            self::message(function, message)?;
            operands(&[expect("condition", Some(Scalar::Bool), UNIFORM)], types)?;
            Ok(None)
        }
        Op::Print(message) => {
            let marks = self::message(function, message)?.matches("{}").count();
            if marks != types.len() {
                let text = format!("message {message} has {marks} marks `{{}}` for {} operands", types.len());
                return fail(Rule::Message, text);
            }
            Ok(None)
        }
    }
}

/// Rules 5 to 7, 10, 11 and 21 for an operation of fragments.
fn fragment(function: &Function, op: FragmentOp, types: &[Type]) -> Result<(), Vec<Broken>> {
    let role = |fragment: Fragment, wanted: &[Role]| match function.fragments.get(fragment.index()) {
        None => fail(Rule::Fragment, format!("{fragment} does not exist")),
        Some(decl) if !wanted.contains(&decl.role) => {
            let names: Vec<&str> = wanted.iter().map(|role| role.name()).collect();
            let message = format!("{fragment} is a {}, must be a {}", decl.role.name(), names.join(" or a "));
            fail(Rule::Fragment, message)
        }
        Some(_) => Ok(()),
    };
    let address = [expect("base", Some(Scalar::I64), UNIFORM), expect("offset", Some(Scalar::I32), VARYING)];
    let stride = expect("stride", Some(Scalar::I32), UNIFORM);
    match op {
        FragmentOp::Stage { arena, masked } => {
            place(function, Place::Arena(arena), true)?;
            let mut expected = address.to_vec();
            expected.extend([expect("value", Some(Scalar::F32), VARYING); ALIGNMENT as usize]);
            if masked {
                expected.push(expect("mask", Some(Scalar::Bool), VARYING));
            }
            operands(&expected, types)
        }
        FragmentOp::StageCodes { arena, bits, bias, masked } => {
            place(function, Place::Arena(arena), true)?;
            width(bits)?;
            if bias.unsigned_abs() > MAX_BIAS.unsigned_abs() {
                return fail(Rule::Fragment, format!("bias {bias}, must be -{MAX_BIAS} to {MAX_BIAS}"));
            }
            let word = |what| expect(what, Some(Scalar::I32), VARYING);
            let scale = expect("scale", Some(Scalar::F32), VARYING);
            let mut expected = vec![address[0], address[1], word("low word"), word("high word"), scale];
            if masked {
                expected.push(expect("mask", Some(Scalar::Bool), VARYING));
            }
            operands(&expected, types)
        }
        FragmentOp::Zero(fragment) => {
            role(fragment, &[Role::Sum])?;
            operands(&[], types)
        }
        FragmentOp::Load { fragment, arena, order: _ } => {
            place(function, Place::Arena(arena), false)?;
            role(fragment, &[Role::Left, Role::Right])?;
            operands(&[address[0], address[1], stride], types)
        }
        FragmentOp::MultiplyAdd { sum, left, right } => {
            role(sum, &[Role::Sum])?;
            role(left, &[Role::Left])?;
            role(right, &[Role::Right])?;
            operands(&[], types)
        }
        FragmentOp::Store { fragment, place: to } => {
            place(function, to, true)?;
            role(fragment, &[Role::Sum])?;
            operands(&[address[0], address[1], stride], types)
        }
    }
}

/// Rules 5 to 7 for a row of the op table.
fn pure_op(pure: Pure, types: &[Type]) -> Result<Type, Vec<Broken>> {
    let info = pure.info();
    let same = info.args.iter().position(|slot| *slot == Slot::Same);
    let same = same.and_then(|at| types.get(at)).map(|ty| ty.scalar);
    let kind = |slot: &Slot| match slot {
        Slot::Is(scalar) => Some(*scalar),
        Slot::Same => same,
    };
    let expected: Vec<Expect> = info.args.iter().map(|slot| expect("operand", kind(slot), None)).collect();
    operands(&expected, types)?;
    let uniformity = lane_by_lane(types)?;
    match kind(&info.result) {
        Some(scalar) => Ok(Type { scalar, uniformity }),
        None => fail(Rule::OperandCount, "has no operand that gives the result its kind"),
    }
}

fn width(bits: u8) -> Result<(), Vec<Broken>> {
    if (1..=8).contains(&bits) {
        Ok(())
    } else {
        fail(Rule::Unpack, format!("codes of {bits} bits, must be 1 to 8"))
    }
}

fn place(function: &Function, place: Place, store: bool) -> Result<(), Vec<Broken>> {
    match place {
        Place::Arena(arena) if function.arenas.get(arena.index()).is_some() => Ok(()),
        Place::Arena(arena) => fail(Rule::Place, format!("{arena} does not exist")),
        Place::Buffer(buffer) => match function.buffers.get(buffer.index()).map(|decl| decl.access) {
            None => fail(Rule::Place, format!("{buffer} does not exist")),
            Some(Access::Read) if store => fail(Rule::Access, format!("stores to {buffer}, which is `read`")),
            Some(Access::Write) if !store => {
                fail(Rule::Access, format!("loads from {buffer}, which is `write`"))
            }
            Some(Access::Read | Access::Write | Access::ReadWrite) => Ok(()),
        },
    }
}

fn message(function: &Function, number: u32) -> Result<&str, Vec<Broken>> {
    match function.messages.get(number as usize) {
        Some(message) => Ok(&message.text),
        None => fail(Rule::Message, format!("message {number} does not exist")),
    }
}

/// Integer constants, through the operations that make indices.
pub(super) fn fold(op: Op, operand: impl Fn(usize) -> Option<i64>) -> Option<i64> {
    match op {
        Op::ConstI32(value) => Some(i64::from(value)),
        Op::ConstI64(value) => Some(value),
        Op::Pure(Pure::I32ToI64) => operand(0),
        Op::Pure(Pure::U32ToI64) => operand(0).map(|value| value & 0xffff_ffff),
        Op::Pure(Pure::LAdd) => Some(operand(0)?.wrapping_add(operand(1)?)),
        Op::Pure(Pure::LSub) => Some(operand(0)?.wrapping_sub(operand(1)?)),
        Op::Pure(Pure::LMul) => Some(operand(0)?.wrapping_mul(operand(1)?)),
        Op::Pure(_)
        | Op::ConstF32(_)
        | Op::ConstBool(_)
        | Op::LaneIndex
        | Op::BlockIndex(_)
        | Op::BlockCount(_)
        | Op::Splat
        | Op::Reduce(_)
        | Op::Extract
        | Op::Shuffle
        | Op::Unpack { .. }
        | Op::LoadUnpack { .. }
        | Op::TableLookup(_)
        | Op::TableBytes(_)
        | Op::TableHalves(_)
        | Op::Memory { .. }
        | Op::Atomic { .. }
        | Op::Fragment(_)
        | Op::StoreBits(_)
        | Op::Barrier
        | Op::BufferBarrier
        | Op::Assert(_)
        | Op::Print(_) => None,
    }
}

/// For an arena access whose extent does not depend on lanes' offsets or masks: the arena, the bytes of an
/// index step and the bytes reached from the base.
pub(super) fn arena_span(function: &Function, op: Op) -> Option<(Arena, u32, u64)> {
    let lanes = u64::from(function.lanes);
    match op {
        Op::Memory { form, mem, place: Place::Arena(arena), masked: false } => match form {
            MemoryOp::LoadUniform | MemoryOp::StoreUniform => {
                Some((arena, mem.bytes(), u64::from(mem.bytes())))
            }
            MemoryOp::LoadContig | MemoryOp::StoreContig => {
                Some((arena, mem.bytes(), lanes * u64::from(mem.bytes())))
            }
            MemoryOp::Gather | MemoryOp::Scatter => None,
        },
        Op::LoadUnpack { place: Place::Arena(arena), bits, sign: _ } => {
            Some((arena, 1, (lanes * 4 * u64::from(bits)).div_ceil(8)))
        }
        Op::Memory { .. }
        | Op::LoadUnpack { .. }
        | Op::Pure(_)
        | Op::ConstF32(_)
        | Op::ConstI32(_)
        | Op::ConstI64(_)
        | Op::ConstBool(_)
        | Op::LaneIndex
        | Op::BlockIndex(_)
        | Op::BlockCount(_)
        | Op::Splat
        | Op::Reduce(_)
        | Op::Extract
        | Op::Shuffle
        | Op::Unpack { .. }
        | Op::TableLookup(_)
        | Op::TableBytes(_)
        | Op::TableHalves(_)
        | Op::Atomic { .. }
        | Op::Fragment(_)
        | Op::StoreBits(_)
        | Op::Barrier
        | Op::BufferBarrier
        | Op::Assert(_)
        | Op::Print(_) => None,
    }
}
