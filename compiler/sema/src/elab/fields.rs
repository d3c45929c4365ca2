//! Fields of a tensor of a format: `w.q[n, k +: 64]` gives what is stored, undecoded.
//!
//! ```text
//! w: four[N, K]   format four { per tensor { s: f32; } per row { z: i8; } group 32 { d: f16; q: u4[32]; } .. }
//!
//! w.s[0]                  f32      the tensor's: entries; a stack of matrices has an axis for each of its own before it
//! w.z[n, 0]               i8       a row's: rows, entries
//! w.d[n, g], w.d[n, ..]   f16      a group's: rows, entries of all groups of the row, here one per group
//! w.q[n, k +: 64]         u4[64]   here one per element
//! w.value[n, k +: 64]     f32[64]  as w[n, k +: 64]
//! ```
//!
//! Entries outside are zero, as elements are. Refused: fields without an index list, `else`, stores to fields, fields that the format lacks.

use super::memory::Access;
use super::{Elab, Operand};
use crate::constant::Constant;
use crate::host::Host;
use crate::signature::{Choice, ParameterKind};
use tvmc_ir::host::Number;
use tvmc_ir::tile::{Memory, Op, Scope, TileType, Value};
use tvmc_lang::ast::{self, ExprId, IndexItem};
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;

impl Elab<'_, '_> {
    /// The tensor argument of this name, if it is one and nothing hides it.
    pub(super) fn tensor_named(&self, name: &ast::Ident) -> Option<Memory> {
        if !self.header_visible || self.find_local(&name.name).is_some() {
            return None;
        }
        let at = self.header.params.iter().position(|p| p.name.name == name.name)?;
        match self.header.params[at].kind {
            ParameterKind::Tensor { .. } => Some(Memory::Param(tvmc_ir::tile::Param(at as u32))),
            ParameterKind::Scalar(_) | ParameterKind::Poison => None,
        }
    }

    /// `w.q[..]`.
    pub(super) fn load_field(
        &mut self,
        memory: Memory,
        name: &ast::Ident,
        items: &[IndexItem],
        (fill, span): (Option<ExprId>, Span),
    ) -> Option<Value> {
        let tensor = self.memory_name(memory);
        let (param, number) = self.field_number(memory, name)?;
        if let Some(fill) = fill {
            self.report(
                Diagnostic::error(Code::Unsupported, "fields have no value for what lies outside")
                    .at(self.span(fill), "not possible here")
                    .help("entries outside are zero; choose another with `where`"),
            );
            return None;
        }
        let allowed = self.allowed(memory, false, span);
        let (scope, dtype, extents) = self.field_extents(param, number)?;
        if items.len() != extents.len() {
            let axes = match scope {
                Scope::Tensor => {
                    "stored once for a tensor: an index for each axis before its last two, then one that counts entries"
                }
                Scope::Row => {
                    "stored once for a row: the indices of the tensor's, the last counts the row's entries"
                }
                Scope::Group => {
                    "stored in groups: the indices of the tensor's, the last counts the entries of all groups of a row"
                }
            };
            self.report(
                Diagnostic::error(
                    Code::RankMismatch,
                    format!(
                        "`{tensor}.{}` has {} dimensions, but {} indices are given",
                        name.name,
                        extents.len(),
                        items.len()
                    ),
                )
                .at(span, "one index per dimension")
                .help(axes),
            );
            return None;
        }
        let mut access = Access { indices: Vec::new(), offsets: Vec::new(), shape: Vec::new() };
        let mut good = allowed;
        for (item, extent) in items.iter().zip(&extents) {
            good &= self.one_index(item, extent, &mut access).is_some();
        }
        if !good {
            return None;
        }
        self.check_shape(&access.shape, span)?;
        self.accessed(memory, false, span)?;
        let Access { indices, offsets, shape } = access;
        let op = Op::LoadField { tensor: param, field: number, indices };
        self.define(op, &offsets, TileType { dtype, shape }, span)
    }

    /// Scope and dtype of a field, and its extents as they are indexed.
    fn field_extents(
        &self,
        param: tvmc_ir::tile::Param,
        number: u32,
    ) -> Option<(Scope, tvmc_types::dtype::DType, Vec<Host>)> {
        let ParameterKind::Tensor { shape, .. } = &self.header.params[param.index()].kind else {
            return None;
        };
        let (field, exprs) = self.b.kernel.field_of(param, number)?;
        let mut extents: Vec<Host> = shape[..exprs.len().saturating_sub(1).min(shape.len())].to_vec();
        let last = exprs.last()?;
        extents.push(match (last.as_int(), shape.last()) {
            // From the dimensions that the tensor's extent came from.
            (Some(entries), Some(Host::Constant(columns))) if field.scope == Scope::Group => {
                Host::Constant(Constant { number: Number::Int(entries), ..*columns })
            }
            (Some(entries), _) => Host::Constant(Constant::int(entries)),
            (None, _) => Host::Expr(last.clone(), tvmc_types::dtype::DType::I32),
        });
        Some((field.scope, field.dtype, extents))
    }

    /// The argument and number of a field that the tensor's format has; errors are reported.
    pub(super) fn field_number(
        &mut self,
        memory: Memory,
        name: &ast::Ident,
    ) -> Option<(tvmc_ir::tile::Param, u32)> {
        let tensor = self.memory_name(memory);
        let known: Option<Vec<String>> = match memory {
            Memory::Param(param) => self
                .b
                .kernel
                .format_of(param)
                .map(|(format, _)| format.fields.iter().map(|f| f.name.clone()).collect()),
            Memory::Shared(_) => None,
        };
        let (Some(known), Memory::Param(param)) = (known, memory) else {
            // A generic format may be a plain dtype in this instance; only `value` and `group` exist there.
            self.report(
                Diagnostic::error(Code::UnknownField, format!("`{tensor}` has no field `{}`", name.name))
                    .at(name.span, "not known")
                    .help("only tensors of a format have fields; `value` is what a load gives"),
            );
            return None;
        };
        if let Some(at) = known.iter().position(|field| *field == name.name) {
            return Some((param, at as u32));
        }
        let d = Diagnostic::error(
            Code::UnknownField,
            format!("the format of `{tensor}` has no field `{}`", name.name),
        )
        .at(name.span, "not known");
        self.report(match closest(&name.name, known.iter().map(String::as_str)) {
            Some(near) => d.help(format!("did you mean `{near}`?")),
            None => d.help(format!("its fields are: {}", known.join(", "))),
        });
        None
    }

    /// `w.q` of a tensor, without an index list.
    pub(super) fn tensor_field(&mut self, memory: Memory, name: &ast::Ident) -> Option<Operand> {
        if name.name == "group"
            && let Memory::Param(p) = memory
            && let ParameterKind::Tensor { element: Choice::Format(id), .. } =
                &self.header.params[p.index()].kind
        {
            let id = *id;
            return crate::format::group_size(self.cx, id)
                .map(|g| Operand::Constant(Constant::int(i64::from(g))));
        }
        let tensor = self.memory_name(memory);
        if name.name == "value" {
            self.report(
                Diagnostic::error(
                    Code::NotATile,
                    format!("`{tensor}.value` is a tensor, not a number or tile"),
                )
                .at(name.span, "all elements")
                .help(format!("load from it with an index list, as from `{tensor}` itself")),
            );
            return None;
        }
        self.field_number(memory, name)?;
        self.report(
            Diagnostic::error(
                Code::NotATile,
                format!("`{tensor}.{}` is a field of a tensor, not a number or tile", name.name),
            )
            .at(name.span, "all its entries")
            .help(format!("load from it with an index list: `{tensor}.{}[..]`", name.name)),
        );
        None
    }

    /// Refuses a store to a field.
    pub(super) fn refuse_field_store(&mut self, base: ExprId, value: ExprId) -> bool {
        let ast::ExprKind::Field { base: tensor, name } = &self.file()[base].kind else { return false };
        let Some(named) = self.file().exprs.name(*tensor) else { return false };
        let Some(memory) = self.tensor_named(named).filter(|_| name.name != "value") else { return false };
        if self.field_number(memory, name).is_some() {
            let tensor = self.memory_name(memory);
            self.report(
                Diagnostic::error(Code::EncodeMissing, format!("`{tensor}.{}` is not stored to by itself", name.name))
                    .at(name.span, "a field")
                    .help(format!(
                        "store whole groups: `{tensor}[.., k +: n] = ..` encodes them; what stands once for a tensor is stored by `encode_tensor({tensor}, largest)`"
                    )),
            );
        }
        self.look(value);
        true
    }
}
