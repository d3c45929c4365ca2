//! Fields of formats: loads of their entries, and stores of whole matrices, heads and all.
//!
//! A matrix is stored by the block whose indices are its place in the stack, since what stands once for it belongs to nobody else:
//!
//! ```text
//! grid [2, 3], format of 8 elements a group     t: format[2, 3, rows, 16]     block (i, j) stores t[i, j, 0 +: rows, 0 +: 16] and the head of t[i, j]
//! ```

use super::kernel::{Maker, SIZES};
use super::memory::{Order, computing};
use tvmc_ir::host::Expr;
use tvmc_ir::lane::Access;
use tvmc_ir::tile::{Element, Index, Memory, Op, Param, Scope, TensorDecl, TileType, Value};
use tvmc_types::dtype::DType;

/// Most elements of a stored matrix: each entry is written by itself.
const MAX_STORED: u32 = 512;

impl Maker<'_> {
    /// Entries of a field of a tensor.
    pub fn load_field(&mut self) {
        let readable = |decl: &TensorDecl| {
            matches!(decl, TensorDecl::Tensor { element: Element::Format(_), access: Access::Read, .. })
        };
        let known: Vec<Param> = (0..self.arguments.len() as u32)
            .map(Param)
            .filter(|param| readable(&self.b.kernel.params[param.index()]))
            .collect();
        let tensor = if !known.is_empty() && self.tape.one_in(2) {
            self.tape.pick(&known)
        } else {
            let element = Element::Format(self.format());
            let rank = self.tape.pick(&[2, 3, 1]);
            let indices: Vec<Index> = (0..rank).map(|_| Index::Slice(self.tape.pick(&SIZES))).collect();
            self.fresh_input(element, &indices)
        };
        let Some((format, _)) = self.b.kernel.format_of(tensor) else { return };
        let fields = format.fields.len();
        let field = self.tape.below(fields) as u32;
        let Some((declared, extents)) = self.b.kernel.field_of(tensor, field) else { return };
        let dtype = declared.dtype;
        let (mut indices, mut args, mut shape) = (Vec::new(), Vec::new(), Vec::new());
        let mut left = (600 / self.trips).max(1);
        for _ in extents {
            let size = self.tape.pick(&SIZES);
            if size > left || self.tape.one_in(5) {
                indices.push(Index::Point);
                args.push(self.offset(1));
            } else {
                left /= size;
                indices.push(Index::Slice(size));
                args.push(self.offset(size));
                shape.push(size);
            }
        }
        let load = Op::LoadField { tensor, field, indices };
        let value = self.b.define(load, &args, TileType::new(dtype, &shape));
        let value = self.widen(value, computing(dtype));
        self.pool.push(value);
    }

    /// A matrix of a format for each block: its groups, what stands once for a row, and its head.
    pub fn store_matrix(&mut self) {
        let id = self.format();
        let format = self.b.kernel.formats[id.index()].clone();
        let (rows, groups) = (self.tape.pick(&[2, 1, 3, 5]), 1 + self.tape.below(3) as u32);
        let columns = groups * format.group;
        if rows * columns * self.trips > MAX_STORED {
            return;
        }
        let (mut extents, mut places) = (Vec::new(), Vec::new());
        for number in 0..self.grid.len() {
            let count = self.grid[number].count;
            // A single block needs no place, so that matrices without a stack are stored too.
            if count > 1 || self.tape.one_in(4) {
                extents.push((count, Expr::int(i64::from(count))));
                places.push(self.b.define(Op::BlockIndex(number as u8), &[], TileType::scalar(DType::I32)));
            }
        }
        let stack = places.len();
        extents.extend([rows, columns].map(|extent| (extent, Expr::int(i64::from(extent)))));
        let tensor = self.argument(Element::Format(id), &extents, Access::Write, Order::Drawn);
        let mut indices = vec![Index::Point; stack];
        if format.fields.iter().any(|field| field.scope == Scope::Tensor) {
            let mut args: Vec<Value> = places.clone();
            for field in format.fields.iter().filter(|field| field.scope == Scope::Tensor) {
                args.push(self.stored_bits(field.dtype, &[field.count]));
            }
            self.b.effect(Op::StoreHead { tensor, indices: indices.clone() }, &args);
        }
        indices.extend([Index::Slice(rows), Index::Slice(columns)]);
        let mut args = places;
        args.extend([0, 0].map(|start| self.b.i32(start)));
        for at in format.stored_fields() {
            let field = &format.fields[at];
            let times = if field.scope == Scope::Group { groups } else { 1 };
            args.push(self.stored_bits(field.dtype, &[rows, times * field.count]));
        }
        self.b.effect(Op::StoreGroups { memory: Memory::Param(tensor), indices }, &args);
    }
}
