//! Functions along one axis: running sums, `argmax`, `gather`, `flip`, `repeat`, `concat`, `sort`, `top_k`.
//!
//! Tile IR has `scan`, `gather` and `concat`; the rest is said in these and in older operations:
//!
//! ```text
//! argmax(x)       min(where(x == max(x), iota(N), N)): of equal elements the first; a NaN counts as the least
//! flip(x)         gather(x, N - 1 - iota(N))
//! repeat(x, n)    [N] -> [1, N], spread to [n, N] -> [n N]
//! argsort(x)      place[i] = how many j come before i;  index[r] = the i whose place is r
//! sort, top_k     gather(x, argsort(x)), gather(x, argtop_k(x, k))
//! ```
//!
//! To sort is to compare every pair along the axis: N N steps, for axes of some hundred elements. Elements are compared as 32-bit keys that
//! rise with the number, so every target finds the same order: -0 below 0, a NaN after everything else. Equal keys keep their order.

use super::{Elab, Operand, shape_text};
use crate::padding::Role;
use tvmc_ir::tile::{Binary, CastRule, Op, Reduce, TileType, Value};
use tvmc_lang::ast::Arg;
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind};

/// Bits of f32 without the sign, and those of infinity: what is above is a NaN.
const MAGNITUDE: i32 = 0x7fff_ffff;
const INFINITY: i32 = 0x7f80_0000;

/// Which elements come first.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

impl Elab<'_, '_> {
    /// A call of one of [`ALONG`](crate::library::ALONG), or of `concat` with an axis.
    pub(super) fn along(
        &mut self,
        name: &'static str,
        args: &[&Arg],
        axis: Option<&Arg>,
        span: Span,
    ) -> Option<Operand> {
        if !self.in_kernel(name, span) {
            return None;
        }
        if name == "concat" {
            return self.concat_tiles(args, axis, span).map(Operand::Value);
        }
        let (count, takes) = match name {
            "gather" => (2, "a tile and a tile of indices: `gather(x, index, axis = 0)`"),
            "repeat" | "repeat_interleave" => (2, "a tile and a number: `repeat(x, 2, axis = 0)`"),
            "top_k" | "argtop_k" => (2, "a tile and a number: `top_k(x, 8, axis = 0)`"),
            _ => (1, "one tile and its axis: `cumsum(x, axis = 1)`"),
        };
        if args.len() != count {
            self.count_error(name, takes, span);
            return None;
        }
        let values = self.values(&args[..1]);
        let (operand, at) = values?[0];
        let value = match name {
            "gather" | "flip" | "repeat" | "repeat_interleave" => self.value(operand, at)?,
            _ => self.computed(operand, at)?,
        };
        let ty = self.ty(value);
        let axis = self.axis_of(name, ty.shape.len(), axis, span)?;
        let extent = ty.shape[axis];
        let ordered = !matches!(name, "gather" | "flip" | "repeat" | "repeat_interleave");
        if ordered && ty.dtype == DType::BOOL {
            self.wrong_type(name, ty.dtype, "convert with `as i32`", span);
            return None;
        }
        let result = match name {
            "cumsum" => self.running(Reduce::Sum, name, value, axis, span),
            "cumprod" => self.running(Reduce::Prod, name, value, axis, span),
            "cummin" => self.running(Reduce::Min, name, value, axis, span),
            "cummax" => self.running(Reduce::Max, name, value, axis, span),
            "argmin" => self.extremum(Reduce::Min, name, value, axis, span),
            "argmax" => self.extremum(Reduce::Max, name, value, axis, span),
            "gather" => {
                let values = self.values(&args[1..]);
                let (operand, at) = values?[0];
                let index = self.computed(operand, at)?;
                self.gather_along(value, index, axis, at)
            }
            "flip" => {
                let last = self.i32(extent as i32 - 1, span)?;
                let up = self.define(Op::Iota, &[], TileType::new(DType::I32, &[extent]), span)?;
                let down = self.elementwise(Binary::Sub, last, up, span)?;
                self.gather_along(value, down, axis, span)
            }
            "repeat" | "repeat_interleave" => {
                let times = self.number(args[1])?;
                self.repeated(value, times, axis + usize::from(name == "repeat_interleave"), axis, span)
            }
            "sort" | "argsort" => {
                let index = self.ordered(name, Order::Ascending, value, axis, extent, span)?;
                if name == "argsort" { Some(index) } else { self.gather_along(value, index, axis, span) }
            }
            _ => {
                let wanted = self.number(args[1])?;
                if wanted > extent {
                    self.report(
                        Diagnostic::error(
                            Code::WrongArgument,
                            format!("axis {axis} of {ty} has only {extent} elements"),
                        )
                        .at(args[1].span, format!("{wanted} are wanted"))
                        .help("choose as many as there are, or fewer"),
                    );
                    return None;
                }
                let index = self.ordered(name, Order::Descending, value, axis, wanted, span)?;
                if name == "argtop_k" { Some(index) } else { self.gather_along(value, index, axis, span) }
            }
        };
        result.map(Operand::Value)
    }

    /// A constant count among the arguments.
    fn number(&mut self, arg: &Arg) -> Option<u32> {
        let Some(expr) = arg.expr() else {
            self.error(Code::WrongArgument, arg.span, "a constant integer is needed here", "not a number");
            return None;
        };
        self.extent(expr)
    }

    /// The axis that a call names; a tile of one axis needs none.
    fn axis_of(&mut self, name: &str, rank: usize, axis: Option<&Arg>, span: Span) -> Option<usize> {
        let Some(axis) = axis else {
            if rank == 1 {
                return Some(0);
            }
            let (code, message) = match rank {
                0 => (Code::AxisOutOfRange, format!("`{name}` of a scalar: it has no axes")),
                _ => (Code::WrongArgumentCount, format!("along which of {rank} axes does `{name}` go?")),
            };
            self.report(
                Diagnostic::error(code, message)
                    .at(span, "no axis is named")
                    .help(format!("`{name}(.., axis = 0)`, of a tile")),
            );
            return None;
        };
        let Some(expr) = axis.expr() else {
            self.error(Code::WrongArgument, axis.span, "an axis is a constant integer", "a type");
            return None;
        };
        if rank == 0 {
            self.error(Code::AxisOutOfRange, axis.span, "a scalar has no axes", "no such axis");
            return None;
        }
        self.known_int(expr, Code::NotConstant, "an axis", 0, rank as i64 - 1).map(|axis| axis as usize)
    }

    fn running(
        &mut self,
        op: Reduce,
        name: &'static str,
        value: Value,
        axis: usize,
        span: Span,
    ) -> Option<Value> {
        let ty = self.ty(value);
        let result = self.define(Op::Scan(op, axis as u8), &[value], ty, span)?;
        self.roles.insert(result, Role::Named(name));
        Some(result)
    }

    /// Another shape for the same elements.
    pub(super) fn reshaped(&mut self, value: Value, shape: &[u32], span: Span) -> Option<Value> {
        let ty = self.ty(value);
        if ty.shape == shape {
            return Some(value);
        }
        self.define(Op::Reshape, &[value], TileType::new(ty.dtype, shape), span)
    }

    /// The positions along an axis, spread to a shape.
    fn positions(&mut self, shape: &[u32], axis: usize, span: Span) -> Option<Value> {
        let iota = self.define(Op::Iota, &[], TileType::new(DType::I32, &[shape[axis]]), span)?;
        let mut place = vec![1; shape.len()];
        place[axis] = shape[axis];
        let iota = self.reshaped(iota, &place, span)?;
        self.broadcast(iota, shape, span)
    }

    /// An i32 in a whole tile.
    fn filled(&mut self, number: i32, shape: &[u32], span: Span) -> Option<Value> {
        let value = self.i32(number, span)?;
        self.broadcast(value, shape, span)
    }

    fn chosen(&mut self, condition: Value, a: Value, b: Value, span: Span) -> Option<Value> {
        let ty = self.ty(a);
        self.define(Op::Select, &[condition, a, b], ty, span)
    }

    /// Whether the bits of f32 are those of a NaN: comparing integers, which every target does alike.
    fn is_nan(&mut self, bits: Value, span: Span) -> Option<Value> {
        let magnitude = self.i32(MAGNITUDE, span)?;
        let magnitude = self.elementwise(Binary::And, bits, magnitude, span)?;
        let infinity = self.i32(INFINITY, span)?;
        self.elementwise(Binary::Lt, infinity, magnitude, span)
    }

    fn bits_of(&mut self, value: Value, span: Span) -> Option<Value> {
        let ty = self.ty(value).with_dtype(DType::I32);
        self.define(Op::Bitcast, &[value], ty, span)
    }

    /// The first position of the least or greatest element.
    fn extremum(
        &mut self,
        op: Reduce,
        name: &'static str,
        value: Value,
        axis: usize,
        span: Span,
    ) -> Option<Value> {
        let ty = self.ty(value);
        let extent = ty.shape[axis];
        let mut numbers = value;
        if ty.dtype == DType::F32 {
            let worst = if op == Reduce::Max { f32::NEG_INFINITY } else { f32::INFINITY };
            let worst = self.constant(worst.to_bits(), DType::F32, span)?;
            let worst = self.broadcast(worst, &ty.shape, span)?;
            let bits = self.bits_of(value, span)?;
            let nan = self.is_nan(bits, span)?;
            numbers = self.chosen(nan, worst, value, span)?;
        }
        let mut rest = ty.shape.clone();
        rest.remove(axis);
        let best =
            self.define(Op::Reduce(op, axis as u8), &[numbers], TileType::new(ty.dtype, &rest), span)?;
        self.roles.insert(best, Role::Named(name));
        let mut kept = ty.shape.clone();
        kept[axis] = 1;
        let best = self.reshaped(best, &kept, span)?;
        let best = self.broadcast(best, &ty.shape, span)?;
        let hit = self.elementwise(Binary::Eq, numbers, best, span)?;
        let (place, none) =
            (self.positions(&ty.shape, axis, span)?, self.filled(extent as i32, &ty.shape, span)?);
        let place = self.chosen(hit, place, none, span)?;
        let first = Op::Reduce(Reduce::Min, axis as u8);
        let first = self.define(first, &[place], TileType::new(DType::I32, &rest), span)?;
        self.roles.insert(first, Role::Part);
        Some(first)
    }

    /// `gather`, with an index for all the other axes or for each of their places.
    fn gather_along(&mut self, value: Value, index: Value, axis: usize, span: Span) -> Option<Value> {
        let (ty, chosen) = (self.ty(value), self.ty(index));
        if chosen.dtype != DType::I32 {
            self.report(
                Diagnostic::error(Code::WrongType, format!("the indices are {chosen}, not integers"))
                    .at(span, chosen.to_string())
                    .help("convert with `as i32`"),
            );
            return None;
        }
        let mut place = chosen.shape.clone();
        if place.len() == 1 {
            let extent = place[0];
            place = vec![1; ty.shape.len()];
            place[axis] = extent;
        }
        let mut shape = ty.shape.clone();
        let fits = place.len() == shape.len()
            && (0..shape.len()).all(|at| at == axis || place[at] == 1 || place[at] == shape[at]);
        if !fits {
            let (has, of) = (shape_text(&chosen.shape), shape_text(&ty.shape));
            self.report(
                Diagnostic::error(
                    Code::ShapeMismatch,
                    format!("indices {has} do not fit a tile {of} beside axis {axis}"),
                )
                .at(span, "another shape")
                .help("indices have one axis, or those of the tile: equal extents or 1 beside the axis"),
            );
            return None;
        }
        shape[axis] = place[axis];
        let index = self.reshaped(index, &place, span)?;
        let index = self.broadcast(index, &shape, span)?;
        self.define(Op::Gather(axis as u8), &[value, index], TileType::new(ty.dtype, &shape), span)
    }

    /// Repeated along a new axis of extent `times` before `at`, which then merges with `axis`.
    fn repeated(&mut self, value: Value, times: u32, at: usize, axis: usize, span: Span) -> Option<Value> {
        let ty = self.ty(value);
        let mut apart = ty.shape.clone();
        apart.insert(at, 1);
        let value = self.reshaped(value, &apart, span)?;
        apart[at] = times;
        let value = self.broadcast(value, &apart, span)?;
        let mut shape = ty.shape;
        shape[axis] = shape[axis].saturating_mul(times);
        self.check_shape(&shape, span)?;
        self.reshaped(value, &shape, span)
    }

    /// Tiles one after the other.
    fn concat_tiles(&mut self, args: &[&Arg], axis: Option<&Arg>, span: Span) -> Option<Value> {
        if args.len() < 2 {
            self.count_error("concat", "two tiles or more and an axis: `concat(a, b, axis = 0)`", span);
            return None;
        }
        let mut parts = Vec::new();
        for (operand, at) in self.values(args)? {
            parts.push((self.value(operand, at)?, at));
        }
        let first = self.ty(parts[0].0);
        let axis = self.axis_of("concat", first.shape.len(), axis, span)?;
        let mut shape = first.shape.clone();
        shape[axis] = 0;
        for (part, at) in &parts {
            let ty = self.ty(*part);
            if ty.dtype != first.dtype {
                let message = format!("{ty} is joined to {first}");
                self.report(
                    Diagnostic::error(Code::WrongType, message)
                        .at(*at, ty.dtype.to_string())
                        .help(format!("convert with `as {}`", first.dtype)),
                );
                return None;
            }
            let fits = ty.shape.len() == shape.len()
                && (0..shape.len()).all(|at| at == axis || ty.shape[at] == shape[at]);
            if !fits {
                self.report(
                    Diagnostic::error(
                        Code::ShapeMismatch,
                        format!("{ty} and {first} differ beside axis {axis}"),
                    )
                    .at(*at, shape_text(&ty.shape))
                    .help("tiles that are joined have equal extents on the other axes"),
                );
                return None;
            }
            shape[axis] = shape[axis].saturating_add(ty.shape[axis]);
        }
        let parts: Vec<Value> = parts.into_iter().map(|(part, _)| part).collect();
        self.define(Op::Concat(axis as u8), &parts, TileType::new(first.dtype, &shape), span)
    }

    /// Integers that stand in the order of the values; a NaN is the last, whichever end comes first.
    fn keys(&mut self, value: Value, order: Order, span: Span) -> Option<Value> {
        let ty = self.ty(value);
        match ty.dtype.kind() {
            Kind::Float => {
                let bits = self.bits_of(value, span)?;
                let nan = self.is_nan(bits, span)?;
                let (count, magnitude) = (self.i32(31, span)?, self.i32(MAGNITUDE, span)?);
                let sign = self.elementwise(Binary::Shr, bits, count, span)?;
                let flips = self.elementwise(Binary::And, sign, magnitude, span)?;
                let key = self.elementwise(Binary::Xor, bits, flips, span)?;
                let last = if order == Order::Ascending { i32::MAX } else { i32::MIN };
                let last = self.filled(last, &ty.shape, span)?;
                self.chosen(nan, last, key, span)
            }
            Kind::Unsigned => {
                let bits = self.bits_of(value, span)?;
                let sign = self.i32(i32::MIN, span)?;
                self.elementwise(Binary::Xor, bits, sign, span)
            }
            Kind::Signed | Kind::Bool => Some(value),
        }
    }

    /// The positions of the first `count` elements in an order.
    fn ordered(
        &mut self,
        name: &'static str,
        order: Order,
        value: Value,
        axis: usize,
        count: u32,
        span: Span,
    ) -> Option<Value> {
        // The axis goes to the end, and back when all is done.
        let rank = self.ty(value).shape.len();
        let there: Vec<u8> = (0..rank).filter(|at| *at != axis).chain([axis]).map(|at| at as u8).collect();
        let value = self.permuted(value, &there, span)?;
        let key = self.keys(value, order, span)?;
        let shape = self.ty(key).shape;
        let extent = shape[rank - 1];
        let (mut column, mut row, mut pairs) = (shape.clone(), shape.clone(), shape.clone());
        column.push(1);
        row.insert(rank - 1, 1);
        pairs.push(extent);
        self.check_shape(&pairs, span)?;
        // Own positions lie along the last axis, as lanes do: counting then needs no steps across lanes.
        let (mine, other) = (self.reshaped(key, &row, span)?, self.reshaped(key, &column, span)?);
        let (mine, other) = (self.broadcast(mine, &pairs, span)?, self.broadcast(other, &pairs, span)?);
        let less = match order {
            Order::Ascending => self.elementwise(Binary::Lt, other, mine, span)?,
            Order::Descending => self.elementwise(Binary::Lt, mine, other, span)?,
        };
        let equal = self.elementwise(Binary::Eq, mine, other, span)?;
        let (i, j) = (self.positions(&pairs, rank, span)?, self.positions(&pairs, rank - 1, span)?);
        let earlier = self.elementwise(Binary::Lt, j, i, span)?;
        let tie = self.elementwise(Binary::And, equal, earlier, span)?;
        let before = self.elementwise(Binary::Or, less, tie, span)?;
        let one = self.cast_value(before, DType::I32, CastRule::Exact, span)?;
        let sum = |axis: usize| Op::Reduce(Reduce::Sum, axis as u8);
        let place = self.define(sum(rank - 1), &[one], TileType::new(DType::I32, &shape), span)?;
        self.roles.insert(place, Role::Orders(name));

        let mut wanted = shape.clone();
        wanted.push(count);
        let place = self.reshaped(place, &column, span)?;
        let place = self.broadcast(place, &wanted, span)?;
        let number = self.positions(&wanted, rank, span)?;
        let hit = self.elementwise(Binary::Eq, place, number, span)?;
        let (i, zero) = (self.positions(&wanted, rank - 1, span)?, self.filled(0, &wanted, span)?);
        let index = self.chosen(hit, i, zero, span)?;
        let mut shape = shape;
        shape[rank - 1] = count;
        let index = self.define(sum(rank - 1), &[index], TileType::new(DType::I32, &shape), span)?;
        self.roles.insert(index, Role::Part);
        let mut back: Vec<u8> = (0..rank as u8 - 1).collect();
        back.insert(axis, rank as u8 - 1);
        self.permuted(index, &back, span)
    }

    fn permuted(&mut self, value: Value, order: &[u8], span: Span) -> Option<Value> {
        if order.iter().enumerate().all(|(at, axis)| at == usize::from(*axis)) {
            return Some(value);
        }
        let ty = self.ty(value);
        let shape: Vec<u32> = order.iter().map(|axis| ty.shape[usize::from(*axis)]).collect();
        self.define(Op::Permute(order.to_vec()), &[value], TileType::new(ty.dtype, &shape), span)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_function_along_an_axis_is_built_in() {
        for name in crate::library::ALONG {
            assert!(crate::BUILTINS.contains(&name), "{name}");
        }
    }
}
