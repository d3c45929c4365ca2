//! Stores to computed places, and atomic updates: `scatter(t[..], value)`, `atomic_add(t[..], value)` and its like.
//!
//! The first argument is an index list in which a point may be a tile of i32. All such tiles spread to one common shape, as operands of `+` do;
//! its axes stand where the first of them stands, and the axes of slices where they stand. That is the shape of the operands, and each
//! entry becomes an index tile of that shape:
//!
//! ```text
//! t: inout i32[A, B, C]    t[i, j, c +: 8], i: i32[16], j a number    shape [16, 8]
//! indices                  i along axis 0; j everywhere; c + iota(8) along axis 1
//! ```
//!
//! What is refused: elements that are not stored one by one (formats), updates of elements for which there is no atomic
//! instruction, a tensor that is updated atomically and accessed in another way as well.

use super::memory::Access;
use super::{Elab, Operand};
use crate::signature::StoreRule;
use tvmc_ir::tile::{Binary, CastRule, Index, Memory, Op, TileType, Update, Value};
use tvmc_lang::ast::{Arg, ExprKind, IndexItem, IndexKind};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind};

/// The functions that update atomically.
const ATOMICS: [(&str, Update); 8] = [
    ("atomic_add", Update::Add),
    ("atomic_min", Update::Min),
    ("atomic_max", Update::Max),
    ("atomic_and", Update::And),
    ("atomic_or", Update::Or),
    ("atomic_xor", Update::Xor),
    ("atomic_exchange", Update::Exchange),
    ("atomic_compare_exchange", Update::CompareExchange),
];

/// The update that a function makes.
pub(super) fn update_named(name: &str) -> Option<Update> {
    ATOMICS.iter().find(|(known, _)| *known == name).map(|(_, update)| *update)
}

/// Single elements of a tensor: an index tile for each axis, all of one shape.
struct Places {
    memory: Memory,
    indices: Vec<Value>,
    shape: Vec<u32>,
    span: Span,
}

/// One entry of an index list.
enum Entry {
    /// The same index for all elements.
    Point(Value),
    /// A tile of indices.
    Tile(Value, Span),
    /// From an offset on.
    Slice(Value, u32),
}

impl Elab<'_, '_> {
    /// `scatter(t[..], value)`.
    pub(super) fn scatter(&mut self, args: &[Arg], span: Span) -> Option<()> {
        let (places, values) = self.places("scatter", args, 1, span)?;
        let Places { memory, indices, shape, span: target } = places;
        let dtype = self.stored_singly(memory, target);
        let written = self.allowed(memory, true, target);
        let (operand, at) = values[0];
        let dtype = dtype.filter(|_| written)?;
        self.accessed(memory, false, target)?;
        let value = self.stored_value(memory, operand, dtype, at)?;
        let value = self.fit_shape(value, &shape, at)?;
        let mut operands = indices;
        operands.push(value);
        self.effect(Op::Scatter { memory }, &operands, span);
        Some(())
    }

    /// `atomic_add(t[..], value)` and its like: what was there before.
    pub(super) fn atomic(&mut self, name: &str, update: Update, args: &[Arg], span: Span) -> Option<Value> {
        if self.repeated {
            self.report(
                Diagnostic::error(Code::WrongArgument, "the condition of a `while` updates nothing")
                    .at(span, "would be done once more after the last turn")
                    .help("keep what it gives in a variable, set before the loop and at the end of its body"),
            );
            return None;
        }
        let (places, values) = self.places(name, args, update.operands(), span)?;
        let Places { memory, indices, shape, span: target } = places;
        let (dtype, format) = self.element_dtype(memory);
        let float = dtype == DType::F32
            && matches!(update, Update::Add | Update::Min | Update::Max | Update::Exchange);
        if format || !(float || matches!(dtype, DType::I32 | DType::U32)) {
            let what = if format { "a format".to_owned() } else { dtype.to_string() };
            let help = match update {
                Update::Add | Update::Min | Update::Max | Update::Exchange => "it updates i32, u32 and f32",
                Update::And | Update::Or | Update::Xor | Update::CompareExchange => "it updates i32 and u32",
            };
            self.report(
                Diagnostic::error(Code::WrongType, format!("`{name}` does not update elements of {what}"))
                    .at(target, what)
                    .help(help),
            );
            return None;
        }
        let allowed = self.allowed(memory, true, target) && self.allowed(memory, false, target);
        self.accessed(memory, true, target).filter(|()| allowed)?;
        let mut operands = indices;
        for (operand, at) in values {
            let value = self.assign_to(operand, dtype, at)?;
            operands.push(self.fit_shape(value, &shape, at)?);
        }
        self.define(Op::Atomic { update, memory }, &operands, TileType { dtype, shape }, span)
    }

    /// Notes how an argument is accessed; an error if that is not the way in which it was before.
    pub(super) fn accessed(&mut self, memory: Memory, atomic: bool, span: Span) -> Option<()> {
        let Memory::Param(tensor) = memory else { return Some(()) };
        let (before, first) = *self.accesses.entry(tensor).or_insert((atomic, span));
        if before == atomic {
            return Some(());
        }
        let (update, other) = if atomic { (span, first) } else { (first, span) };
        let name = self.memory_name(memory);
        self.report(
            Diagnostic::error(
                Code::AtomicAndPlain,
                format!("`{name}` is updated atomically, and accessed in another way"),
            )
            .at(update, "updated here")
            .also(other, "accessed here")
            .help("another block may come between; read it in a later kernel, or by `atomic_add(.., 0)`"),
        );
        None
    }

    /// The dtype of elements that can be stored one by one.
    fn stored_singly(&mut self, memory: Memory, span: Span) -> Option<DType> {
        let (dtype, format) = self.element_dtype(memory);
        let plain = match dtype.kind() {
            Kind::Float => dtype.bits() <= 8 || [DType::F32, DType::F16, DType::BF16].contains(&dtype),
            Kind::Signed | Kind::Unsigned => dtype.bits() <= 8 || [16, 32].contains(&dtype.bits()),
            Kind::Bool => true,
        };
        if !format && (plain || matches!(memory, Memory::Shared(_))) {
            return Some(dtype);
        }
        let what = if format { "a format".to_owned() } else { dtype.to_string() };
        self.report(
            Diagnostic::error(Code::Unsupported, format!("`scatter` does not store elements of {what}"))
                .at(span, what)
                .help("it stores f32, f16, bf16, integers of 16 and 32 bits and all types of up to 8; elements of a format are stored in whole groups, by `t[..] = e`"),
        );
        None
    }

    /// A value as an element of a tensor: to a generic float it is rounded.
    pub(super) fn stored_value(
        &mut self,
        memory: Memory,
        operand: Operand,
        dtype: DType,
        at: Span,
    ) -> Option<Value> {
        if !dtype.is_float() || self.store_rule(memory) != StoreRule::Encoded {
            return self.assign_to(operand, dtype, at);
        }
        let value = self.assign_to(operand, DType::F32, at)?;
        if dtype == DType::F32 { Some(value) } else { self.cast_value(value, dtype, CastRule::Round, at) }
    }

    /// The places that a call names, and the operands that follow.
    fn places(
        &mut self,
        name: &str,
        args: &[Arg],
        operands: usize,
        span: Span,
    ) -> Option<(Places, Vec<(Operand, Span)>)> {
        if !self.in_kernel(name, span) {
            return None;
        }
        if let Some(arg) = args.iter().find(|arg| arg.name.is_some()) {
            self.error(
                Code::UnknownArgument,
                arg.span,
                format!("`{name}` has no named arguments"),
                "not known",
            );
            return None;
        }
        if args.len() != 1 + operands {
            let takes = match operands {
                1 => format!("places and a value: `{name}(t[i], x)`"),
                _ => format!("places, what is expected there and a value: `{name}(t[i], old, new)`"),
            };
            self.count_error(name, &takes, span);
            return None;
        }
        let places = self.indexed(name, &args[0]);
        let values: Vec<&Arg> = args[1..].iter().collect();
        let values = self.values(&values);
        Some((places?, values?))
    }

    /// `t[..]` as places.
    fn indexed(&mut self, name: &str, arg: &Arg) -> Option<Places> {
        let file = self.file();
        let list = arg.expr().map(|id| &file[id].kind);
        let Some(ExprKind::Index { base, indices, fill }) = list else {
            self.report(
                Diagnostic::error(Code::WrongArgument, format!("`{name}` is told where by an index list"))
                    .at(arg.span, "no places of a tensor")
                    .help(format!("`{name}(t[i, j], ..)`, where i and j are numbers or tiles")),
            );
            return None;
        };
        if let Some(fill) = fill {
            let at = self.span(*fill);
            self.error(
                Code::WrongArgument,
                at,
                "places that are written have no `else`",
                "nothing is loaded",
            );
            return None;
        }
        let operand = self.expr(*base)?;
        let Operand::Memory(memory) = operand else {
            let what = self.describe(operand);
            self.report(
                Diagnostic::error(Code::NotATensor, format!("{what} cannot be stored to"))
                    .at(arg.span, "not a tensor")
                    .help("only arguments and `shared` tensors have places; `where` changes a tile"),
            );
            return None;
        };
        self.entries(memory, indices, arg.span)
    }

    fn entries(&mut self, memory: Memory, items: &[IndexItem], span: Span) -> Option<Places> {
        let extents = self.extents_of(memory, items.len(), span)?;
        let mut entries = Vec::new();
        for (item, extent) in items.iter().zip(&extents) {
            let tile = match item.kind {
                IndexKind::Point(at) => match self.expr(at)? {
                    Operand::Value(value) if !self.b.ty(value).is_scalar() => Some(value),
                    operand => {
                        let offset = self.scalar_i32(operand, item.span)?;
                        self.in_bounds(offset, 1, extent, item.span)?;
                        entries.push(Entry::Point(offset));
                        continue;
                    }
                },
                IndexKind::Slice { .. } | IndexKind::Whole => None,
            };
            entries.push(match tile {
                Some(tile) => Entry::Tile(self.index_tile(tile, item.span)?, item.span),
                None => {
                    let mut access = Access { indices: Vec::new(), offsets: Vec::new(), shape: Vec::new() };
                    self.one_index(item, extent, &mut access)?;
                    match access.indices[..] {
                        [Index::Slice(size)] => Entry::Slice(access.offsets[0], size),
                        _ => return None,
                    }
                }
            });
        }
        self.spread_entries(memory, &entries, span)
    }

    /// A tile of indices, as i32.
    fn index_tile(&mut self, tile: Value, span: Span) -> Option<Value> {
        let value = self.computed(Operand::Value(tile), span)?;
        let ty = self.ty(value);
        if ty.dtype == DType::I32 {
            return Some(value);
        }
        self.report(
            Diagnostic::error(Code::WrongType, format!("the indices are {ty}, not integers"))
                .at(span, ty.to_string())
                .help("convert with `as i32`"),
        );
        None
    }

    /// Every entry as a tile of the common shape.
    fn spread_entries(&mut self, memory: Memory, entries: &[Entry], span: Span) -> Option<Places> {
        let tiles: Vec<Value> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Tile(tile, _) => Some(*tile),
                Entry::Point(_) | Entry::Slice(..) => None,
            })
            .collect();
        let common = self.common_shape(&tiles, span)?;
        let (mut shape, mut first) = (Vec::new(), None);
        let mut axes = Vec::new();
        for entry in entries {
            axes.push(shape.len());
            match entry {
                Entry::Tile(..) if first.is_none() => {
                    first = Some(shape.len());
                    shape.extend(&common);
                }
                Entry::Slice(_, size) => shape.push(*size),
                Entry::Tile(..) | Entry::Point(_) => {}
            }
        }
        self.check_shape(&shape, span)?;
        let mut indices = Vec::new();
        for (entry, axis) in entries.iter().zip(axes) {
            let mut place = vec![1; shape.len()];
            let value = match entry {
                Entry::Point(value) => *value,
                Entry::Tile(tile, at) => {
                    let tile = self.broadcast(*tile, &common, *at)?;
                    let start = first.unwrap_or(0);
                    place[start..start + common.len()].copy_from_slice(&common);
                    self.reshaped(tile, &place, *at)?
                }
                Entry::Slice(offset, size) => {
                    let iota = self.define(Op::Iota, &[], TileType::new(DType::I32, &[*size]), span)?;
                    let index = self.elementwise(Binary::Add, *offset, iota, span)?;
                    place[axis] = *size;
                    self.reshaped(index, &place, span)?
                }
            };
            indices.push(self.broadcast(value, &shape, span)?);
        }
        Some(Places { memory, indices, shape, span })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_atomic_function_is_built_in() {
        for (name, update) in super::ATOMICS {
            assert!(crate::BUILTINS.contains(&name), "{name}");
            assert_eq!(name.strip_prefix("atomic_"), Some(update.name()));
        }
    }
}
