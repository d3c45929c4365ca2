//! Stores to tensors of formats: `y[m, k +: 32] = e` runs the format's `encode` block on the groups of the tile and stores its fields.
//!
//! In the block, `value` is the tile as f32[groups, group], one row per group, `groups` is a constant, and each field is a variable that starts at zero: of shape
//! [groups] if it has one entry, [groups, count] otherwise, in the field's dtype. What the fields hold at the end is stored.
//!
//! ```text
//! format bytes { group 32 { d: f32; q: i8[32]; }  value[i] = d * q[i];
//!   encode {
//!     d = max(abs(value), axis = 1) / 127.0;
//!     q = round(value / d.unsqueeze(1)) as i8 saturate;
//!   } }
//! y[m, 0 +: 64] = t          value: f32[2, 32], d: f32[2], q: i8[2, 32]
//! ```
//!
//! Refused: formats without `encode`, `+=` and its kin (nothing is decoded silently), slices that are no whole number of groups.

use super::{Elab, Local, Operand};
use crate::constant::Constant;
use crate::library::{ItemId, Library};
use crate::signature::{Choice, ParameterKind};
use tvmc_ir::tile::{Element, Field, Index, Memory, Op, Param, TileType, Value};
use tvmc_lang::ast::{self, AssignOp, ExprId};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::{DType, Kind};

/// Groups that a block is checked on: more than one, so that a missing axis is noticed.
const CHECKED_GROUPS: u32 = 2;

/// Where a format's name stands.
fn format_span(lib: &Library, id: ItemId) -> Option<Span> {
    match &lib.item(id).kind {
        ast::ItemKind::Format(format) => Some(format.name.span),
        _ => None,
    }
}

impl Elab<'_, '_> {
    /// `t[..] = e` where `t` is of a format.
    pub(super) fn store_encoded(
        &mut self,
        memory: Memory,
        indices: &[ast::IndexItem],
        op: AssignOp,
        value: ExprId,
        span: Span,
    ) -> Option<()> {
        let name = self.memory_name(memory);
        let id = self.format_of(memory)?;
        let Some((body, module)) = crate::format::encode_body(self.cx.lib, id) else {
            self.report(
                Diagnostic::error(
                    Code::EncodeMissing,
                    format!("`{name}` is of a format that does not say how a value is encoded"),
                )
                .at(span, "stored to here")
                .help("give the format an `encode { .. }`, or store to a tensor of a dtype"),
            );
            self.look(value);
            return None;
        };
        if op != AssignOp::Set {
            self.report(
                Diagnostic::error(
                    Code::EncodeMissing,
                    format!("`{name}` is of a format: it is stored as a whole"),
                )
                .at(span, "reads and writes")
                .help("load the tile, compute, and store with `=`"),
            );
            self.look(value);
            return None;
        }
        let allowed = self.allowed(memory, true, span);
        let access = self.access(memory, indices, span);
        let at = self.span(value);
        let Some(access) = access.filter(|_| allowed) else {
            self.look(value);
            return None;
        };
        let result = self.expr(value)?;
        let value = self.assign_to(result, DType::F32, at)?;
        let value = self.fit_shape(value, &access.shape, at)?;
        let (group, fields) = self.stored_fields(memory)?;
        let whole = match (access.indices.last(), access.shape.last()) {
            (Some(Index::Slice(_)), Some(last)) if *last % group == 0 => *last,
            (_, _) => {
                self.report(
                    Diagnostic::error(
                        Code::EncodeMissing,
                        format!("a store to `{name}` takes whole groups of {group} elements"),
                    )
                    .at(span, "not a slice of whole groups along the last dimension")
                    .help(format!("store `{name}[.., k +: {group}]`, k a multiple of {group}")),
                );
                return None;
            }
        };
        let outer = &access.shape[..access.shape.len() - 1];
        let groups: u32 = outer.iter().product::<u32>() * (whole / group);
        let value = self.reshape(value, &[groups, group], span)?;
        let encoded = self.encode(body, module, (value, groups), &fields, span)?;
        let mut args = access.offsets.clone();
        for (field, entries) in fields.iter().zip(encoded) {
            let mut shape = outer.to_vec();
            shape.push(whole / group * field.count);
            args.push(self.reshape(entries, &shape, span)?);
        }
        self.accessed(memory, false, span)?;
        self.effect(Op::StoreGroups { memory, indices: access.indices.clone() }, &args, span);
        Some(())
    }

    /// An `encode` block on its own, as `check` looks at it: on groups of unknown numbers.
    pub(crate) fn check_encode(&mut self, id: ItemId, format: &tvmc_ir::tile::Format) -> Option<()> {
        let (body, module) = crate::format::encode_body(self.cx.lib, id)?;
        let span = format_span(self.cx.lib, id)?;
        let unknown = self.define(Op::Scalar(Param(0)), &[], TileType::scalar(DType::F32), span)?;
        let shape = [CHECKED_GROUPS, format.group];
        let value = self.define(Op::Broadcast, &[unknown], TileType::new(DType::F32, &shape), span)?;
        self.encode(body, module, (value, CHECKED_GROUPS), &format.fields, span).map(drop)
    }

    fn format_of(&self, memory: Memory) -> Option<ItemId> {
        match memory {
            Memory::Param(p) => match &self.header.params[p.index()].kind {
                ParameterKind::Tensor { element: Choice::Format(id), .. } => Some(*id),
                ParameterKind::Tensor { .. } | ParameterKind::Scalar(_) | ParameterKind::Poison => None,
            },
            Memory::Shared(_) => None,
        }
    }

    /// Group size and fields of a tensor's format.
    fn stored_fields(&self, memory: Memory) -> Option<(u32, Vec<Field>)> {
        match self.b.kernel.element(memory) {
            Some((Element::Format(id), _)) => {
                let format = self.b.kernel.formats.get(id.index())?;
                Some((format.group, format.fields.clone()))
            }
            Some((Element::DType(_), _)) | None => None,
        }
    }

    /// Runs an `encode` block and gives what the fields hold. No tensor is in scope there, so it cannot lead back to itself.
    fn encode(
        &mut self,
        body: &ast::Block,
        module: usize,
        (value, groups): (Value, u32),
        fields: &[Field],
        span: Span,
    ) -> Option<Vec<Value>> {
        let mut locals = vec![Local {
            name: "value".to_owned(),
            span,
            operand: Some(Operand::Value(value)),
            mutable: false,
        }];
        // In an outer scope: a field of this name hides it.
        let count = Local {
            name: "groups".to_owned(),
            span,
            operand: Some(Operand::Constant(Constant::int(i64::from(groups)))),
            mutable: false,
        };
        for field in fields {
            let shape = if field.count == 1 { vec![groups] } else { vec![groups, field.count] };
            let zero = match field.dtype.kind() {
                // Code 0, for a type without zero its least number.
                Kind::Float => Constant::float(field.dtype.decode(0)),
                Kind::Signed | Kind::Unsigned => Constant::int(0),
                Kind::Bool => Constant::bool(false),
            };
            let zero = self.adopt(zero, field.dtype, span)?;
            let zeros = self.define(Op::Broadcast, &[zero], TileType::new(field.dtype, &shape), span)?;
            locals.push(Local {
                name: field.name.clone(),
                span,
                operand: Some(Operand::Value(zeros)),
                mutable: true,
            });
        }
        self.cx.enter(span)?;
        let module = std::mem::replace(&mut self.module, module);
        let scopes = std::mem::replace(&mut self.scopes, vec![vec![count], locals]);
        let visible = std::mem::replace(&mut self.header_visible, false);
        self.block(body);
        self.header_visible = visible;
        let ended = std::mem::replace(&mut self.scopes, scopes);
        self.module = module;
        self.cx.leave();
        let held = ended.into_iter().nth(1)?;
        held.into_iter()
            .skip(1)
            .map(|local| match local.operand {
                Some(Operand::Value(value)) => Some(value),
                _ => None,
            })
            .collect()
    }
}
