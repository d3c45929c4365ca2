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
//! Fields of a row are [rows] or [rows, count], `rows` is a constant, and a store takes whole rows. Fields of the tensor are what the tensor holds, and not assigned:
//! a kernel stores them by `encode_tensor(y, largest)` before. That runs `encode per tensor { s = largest / 127.0; }`, where those fields are variables, scalars if they have
//! one entry, else [count].
//!
//! A format without the block whose element is one scaled code gets an encoder by itself (`derived`).
//!
//! Refused: formats that neither have the block nor such an element, `+=` and its kin (nothing is decoded silently), slices that are no whole number of groups.

use super::memory::Access;
use super::{Elab, Local, Operand};
use crate::constant::Constant;
use crate::derive::{Derivation, derive};
use crate::diags::counted;
use crate::host::Host;
use crate::library::{ItemId, Library};
use crate::signature::{Choice, ParameterKind};
use tvmc_ir::tile::{Field, Format, Index, Memory, Op, Param, Scope, TileType, Value};
use tvmc_lang::ast::{self, AssignOp, EncodeOf, ExprId, ExprKind, IndexKind};
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
        let format = self.stored_format(memory)?;
        let encoding = match encoding(self.cx.lib, id, &format) {
            Ok(encoding) => encoding,
            Err(why) => {
                self.report(
                    Diagnostic::error(
                        Code::EncodeMissing,
                        format!("`{name}` is of a format that does not say how a value is encoded"),
                    )
                    .at(span, "stored to here")
                    .note(format!("no encoder follows from its `value`: {why}"))
                    .help("give the format an `encode { .. }`, or store to a tensor of a dtype"),
                );
                self.look(value);
                return None;
            }
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
        let heads = format.fields.iter().any(|field| field.scope == Scope::Tensor);
        // What stands once for the tensor is read.
        let allowed = self.allowed(memory, true, span) && (!heads || self.allowed(memory, false, span));
        let access = self.access(memory, indices, span);
        let at = self.span(value);
        let Some(access) = access.filter(|_| allowed) else {
            self.look(value);
            return None;
        };
        let result = self.expr(value)?;
        let value = self.assign_to(result, DType::F32, at)?;
        let value = self.fit_shape(value, &access.shape, at)?;
        let group = format.group;
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
        if format.has_row_fields() && !self.takes_rows(memory, &access) {
            self.report(
                Diagnostic::error(
                    Code::EncodeMissing,
                    format!("`{name}` has fields that are stored once for a row: a store takes whole rows"),
                )
                .at(span, "not known to be whole rows")
                .help(format!("store `{name}[.., ..]`, all of the last dimension, whose extent is known")),
            );
            return None;
        }
        let outer = access.shape[..access.shape.len() - 1].to_vec();
        let rows: u32 = outer.iter().product();
        let groups = rows * (whole / group);
        let value = self.reshape(value, &[groups, group], span)?;
        self.accessed(memory, false, span)?;
        let heads = self.held_heads(memory, &format, &access, span)?;
        let encoded = self.encode(&encoding, &format, (value, groups, rows), heads, span)?;
        let mut args = access.offsets.clone();
        for at in format.stored_fields() {
            let field = &format.fields[at];
            let mut shape = outer.clone();
            shape.push(if field.scope == Scope::Row { field.count } else { whole / group * field.count });
            args.push(self.reshape(encoded[at], &shape, span)?);
        }
        self.effect(Op::StoreGroups { memory, indices: access.indices.clone() }, &args, span);
        Some(())
    }

    /// Whether an access takes whole rows, from their first element on.
    fn takes_rows(&self, memory: Memory, access: &Access) -> bool {
        let Memory::Param(param) = memory else { return false };
        let ParameterKind::Tensor { shape, .. } = &self.header.params[param.index()].kind else {
            return false;
        };
        let columns = match shape.last() {
            Some(Host::Constant(columns)) => columns.as_int(),
            Some(Host::Expr(..)) | None => None,
        };
        let first = access.offsets.last().and_then(|offset| self.facts(*offset).as_constant());
        match (access.indices.last(), columns) {
            (Some(Index::Slice(size)), Some(columns)) => first == Some(0) && i64::from(*size) >= columns,
            (Some(Index::Slice(_) | Index::Point) | None, _) => false,
        }
    }

    /// What the fields of the tensor hold, by number: a scalar where there is one entry.
    fn held_heads(
        &mut self,
        memory: Memory,
        format: &Format,
        access: &Access,
        span: Span,
    ) -> Option<Vec<Option<Value>>> {
        let Memory::Param(tensor) = memory else { return None };
        let stack = access.indices.len().saturating_sub(2);
        let mut held = vec![None; format.fields.len()];
        for (at, field) in format.fields.iter().enumerate().filter(|(_, f)| f.scope == Scope::Tensor) {
            if access.indices[..stack].iter().any(|index| *index != Index::Point) {
                self.report(
                    Diagnostic::error(
                        Code::EncodeMissing,
                        "fields that are stored once for a tensor belong to one matrix of the stack",
                    )
                    .at(span, "stores to several")
                    .help("choose one by an index for each dimension before the last two"),
                );
                return None;
            }
            let mut indices = access.indices[..stack].to_vec();
            let mut offsets = access.offsets[..stack].to_vec();
            offsets.push(self.i32(0, span)?);
            let shape = if field.count == 1 { Vec::new() } else { vec![field.count] };
            indices.push(if field.count == 1 { Index::Point } else { Index::Slice(field.count) });
            let op = Op::LoadField { tensor, field: at as u32, indices };
            held[at] = Some(self.define(op, &offsets, TileType::new(field.dtype, &shape), span)?);
        }
        Some(held)
    }

    /// `encode_tensor(y, largest);`: stores what `y` holds once, for numbers up to `largest` in magnitude. Of a stack, `y[i]` is a matrix: an index for each
    /// dimension before the last two.
    pub(super) fn encode_tensor(&mut self, args: &[ast::Arg], span: Span) -> Option<()> {
        let exprs: Option<Vec<ExprId>> =
            args.iter().map(|arg| arg.expr().filter(|_| arg.name.is_none())).collect();
        let [target, largest] = exprs.unwrap_or_default()[..] else {
            self.count_error(
                "encode_tensor",
                "a tensor and the largest magnitude: `encode_tensor(y, m);`",
                span,
            );
            return None;
        };
        let at = self.span(largest);
        let largest = self.expr(largest).and_then(|operand| self.assign_to(operand, DType::F32, at));
        let file = self.file();
        let (target, places): (ExprId, &[ast::IndexItem]) = match &file[target].kind {
            ExprKind::Index { base, indices, fill: None } => (*base, indices),
            _ => (target, &[]),
        };
        let Operand::Memory(memory) = self.expr(target)? else {
            let at = self.span(target);
            self.error(Code::NotATensor, at, "`encode_tensor` stores to a tensor argument", "no tensor");
            return None;
        };
        let largest = largest?;
        if !self.b.ty(largest).is_scalar() {
            self.error(Code::NotAScalar, at, "the largest magnitude is one number", "a tile");
            return None;
        }
        if !self.allowed(memory, true, span) {
            return None;
        }
        let (Some(id), Memory::Param(tensor)) = (self.format_of(memory), memory) else { return Some(()) };
        let format = self.stored_format(memory)?;
        let stored: Vec<usize> =
            (0..format.fields.len()).filter(|at| format.fields[*at].scope == Scope::Tensor).collect();
        let access = self.matrix_of(memory, places, span)?;
        // In a kernel for any format this does nothing where nothing is stored once.
        if stored.is_empty() {
            return Some(());
        }
        let said = crate::format::encode_body(self.cx.lib, id, EncodeOf::Tensor);
        let fields = match (said, encoding(self.cx.lib, id, &format)) {
            (Some((body, module)), _) => self.head_encoded((body, module), &format, largest, span)?,
            (None, Ok(Encoding::Derived(derived))) => {
                self.head_derived((&format, &derived), largest, span)?
            }
            (None, _) => {
                let name = self.memory_name(memory);
                self.report(
                    Diagnostic::error(
                        Code::EncodeMissing,
                        format!("how the fields of `{name}` that are stored once follow from a magnitude is not known"),
                    )
                    .at(span, "stored to here")
                    .help("give the format `encode per tensor { .. }`, which assigns these fields from `largest`"),
                );
                return None;
            }
        };
        let mut values = access.offsets;
        for at in stored {
            let field = &format.fields[at];
            let value = match fields[at] {
                Some(value) => value,
                None => self.zero_entries(field, &[], span)?,
            };
            values.push(self.reshape(value, &[field.count], span)?);
        }
        self.accessed(memory, false, span)?;
        self.effect(Op::StoreHead { tensor, indices: access.indices }, &values, span);
        Some(())
    }

    /// The matrix of a stack that is chosen by an index for each dimension before the last two.
    fn matrix_of(&mut self, memory: Memory, places: &[ast::IndexItem], span: Span) -> Option<Access> {
        let shape = match memory {
            Memory::Param(param) => match &self.header.params[param.index()].kind {
                ParameterKind::Tensor { shape, .. } => shape.clone(),
                ParameterKind::Scalar(_) | ParameterKind::Poison => Vec::new(),
            },
            Memory::Shared(_) => Vec::new(),
        };
        let stack = shape.len().saturating_sub(2);
        let points = places.iter().all(|place| matches!(place.kind, IndexKind::Point(_)));
        if places.len() != stack || !points {
            let name = self.memory_name(memory);
            let d = Diagnostic::error(
                Code::EncodeMissing,
                "fields that are stored once for a tensor are those of one matrix or vector",
            )
            .at(span, format!("`{name}` has {}", counted(shape.len(), "dimension")));
            self.report(match stack {
                0 => d.help(format!("name it as a whole: `encode_tensor({name}, m);`")),
                _ => d.help(format!(
                    "choose one by an index for each dimension before the last two: `encode_tensor({name}[{}], m);`",
                    vec!["i"; stack].join(", ")
                )),
            });
            return None;
        }
        let mut access = Access { indices: Vec::new(), offsets: Vec::new(), shape: Vec::new() };
        for (place, extent) in places.iter().zip(&shape) {
            self.one_index(place, extent, &mut access)?;
        }
        Some(access)
    }

    /// What `encode per tensor` assigns, by the fields' numbers.
    fn head_encoded(
        &mut self,
        block: (&ast::Block, usize),
        format: &Format,
        largest: Value,
        span: Span,
    ) -> Option<Vec<Option<Value>>> {
        let mut locals = vec![fixed("largest", Operand::Value(largest), span)];
        let of_tensor = |field: &&Field| field.scope == Scope::Tensor;
        for field in format.fields.iter().filter(of_tensor) {
            let shape = if field.count == 1 { Vec::new() } else { vec![field.count] };
            let held = self.zero_entries(field, &shape, span)?;
            locals.push(Local { mutable: true, ..fixed(&field.name, Operand::Value(held), span) });
        }
        let mut held = self.run_block(block, vec![locals], span)?.into_iter().skip(1);
        let mut all = Vec::new();
        for field in &format.fields {
            all.push(if of_tensor(&field) { Some(held.next()??) } else { None });
        }
        Some(all)
    }

    /// The `encode` blocks on their own, as `check` looks at them: on groups of unknown numbers.
    pub(crate) fn check_encode(&mut self, id: ItemId, format: &Format) -> Option<()> {
        let span = format_span(self.cx.lib, id)?;
        let unknown = self.define(Op::Scalar(Param(0)), &[], TileType::scalar(DType::F32), span)?;
        if let Some(block) = crate::format::encode_body(self.cx.lib, id, EncodeOf::Tensor) {
            self.head_encoded(block, format, unknown, span)?;
        }
        let (body, module) = crate::format::encode_body(self.cx.lib, id, EncodeOf::Groups)?;
        let (rows, groups) =
            if format.has_row_fields() { (2, 2 * CHECKED_GROUPS) } else { (1, CHECKED_GROUPS) };
        let shape = [groups, format.group];
        let value = self.define(Op::Broadcast, &[unknown], TileType::new(DType::F32, &shape), span)?;
        let mut heads = vec![None; format.fields.len()];
        for (at, field) in format.fields.iter().enumerate().filter(|(_, f)| f.scope == Scope::Tensor) {
            let shape = if field.count == 1 { Vec::new() } else { vec![field.count] };
            heads[at] = Some(self.zero_entries(field, &shape, span)?);
        }
        let encoding = Encoding::Block(body, module, id);
        self.encode(&encoding, format, (value, groups, rows), heads, span).map(drop)
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

    fn stored_format(&self, memory: Memory) -> Option<Format> {
        match memory {
            Memory::Param(param) => self.b.kernel.format_of(param).map(|(format, _)| format.clone()),
            Memory::Shared(_) => None,
        }
    }

    /// Zeros in a field's dtype: code 0, for a type without zero its least number.
    fn zero_entries(&mut self, field: &Field, shape: &[u32], span: Span) -> Option<Value> {
        let zero = match field.dtype.kind() {
            Kind::Float => Constant::float(field.dtype.decode(0)),
            Kind::Signed | Kind::Unsigned => Constant::int(0),
            Kind::Bool => Constant::bool(false),
        };
        let zero = self.adopt(zero, field.dtype, span)?;
        self.broadcast(zero, shape, span)
    }

    /// Runs an encoder and gives what the fields hold, by their numbers; `heads` has those of the tensor. No tensor is in scope in a block, so it
    /// cannot lead back to itself.
    fn encode(
        &mut self,
        encoding: &Encoding<'_>,
        format: &Format,
        (value, groups, rows): (Value, u32, u32),
        heads: Vec<Option<Value>>,
        span: Span,
    ) -> Option<Vec<Value>> {
        let shape_of = |field: &Field| {
            let times = if field.scope == Scope::Row { rows } else { groups };
            if field.count == 1 { vec![times] } else { vec![times, field.count] }
        };
        let (body, module, id) = match encoding {
            Encoding::Block(body, module, id) => (*body, *module, *id),
            Encoding::Derived(derived) => {
                let held = self.encode_derived((format, derived), (value, groups, rows), heads, span)?;
                let fields = format.fields.iter().zip(held);
                return fields
                    .map(|(field, held)| match held {
                        Some(held) => Some(held),
                        None => self.zero_entries(field, &shape_of(field), span),
                    })
                    .collect();
            }
        };
        let mut locals = vec![fixed("value", Operand::Value(value), span)];
        // In an outer scope: a field of this name hides it.
        let count =
            |name: &str, count: u32| fixed(name, Operand::Constant(Constant::int(i64::from(count))), span);
        let mut counts = vec![count("groups", groups), count("rows", rows)];
        counts.extend(self.tables_of(id));
        for (field, head) in format.fields.iter().zip(heads) {
            let held = match head {
                Some(head) => head,
                None => self.zero_entries(field, &shape_of(field), span)?,
            };
            let mutable = field.scope != Scope::Tensor;
            locals.push(Local { mutable, ..fixed(&field.name, Operand::Value(held), span) });
        }
        self.run_block((body, module), vec![counts, locals], span)?.into_iter().skip(1).collect()
    }

    /// The tables that a format declares, as names of its block. A mistake in one is reported where the format is compiled.
    fn tables_of(&mut self, id: ItemId) -> Vec<Local> {
        let lib = self.cx.lib;
        let ast::ItemKind::Format(format) = &lib.item(id).kind else { return Vec::new() };
        let mut locals = Vec::new();
        for member in &format.members {
            let ast::FormatMember::Table(table) = member else { continue };
            let name = &table.name.name;
            // No name of the source contains a blank.
            let known = format!("{name} {} {}", id.module, format.name.name);
            let at = match self.format.tables.iter().position(|t| t.0 == known) {
                Some(at) => at,
                None => {
                    let Some((shape, dtype, entries)) = crate::format::table(self.cx, id.module, table)
                    else {
                        continue;
                    };
                    self.format.tables.push((known, shape, dtype, entries));
                    self.format.tables.len() - 1
                }
            };
            locals.push(fixed(name, Operand::Table(at as u32), table.name.span));
        }
        locals
    }

    /// Runs a block in these scopes, in the file of this number; gives what the names of the last hold then.
    fn run_block(
        &mut self,
        (body, module): (&ast::Block, usize),
        scopes: Vec<Vec<Local>>,
        span: Span,
    ) -> Option<Vec<Option<Value>>> {
        let innermost = scopes.len() - 1;
        self.cx.enter(span)?;
        let module = std::mem::replace(&mut self.module, module);
        let scopes = std::mem::replace(&mut self.scopes, scopes);
        let visible = std::mem::replace(&mut self.header_visible, false);
        self.block(body);
        self.header_visible = visible;
        let ended = std::mem::replace(&mut self.scopes, scopes);
        self.module = module;
        self.cx.leave();
        let held = ended.into_iter().nth(innermost)?.into_iter();
        let values = held.map(|local| match local.operand {
            Some(Operand::Value(value)) => Some(value),
            Some(_) | None => None,
        });
        Some(values.collect())
    }
}

/// A name that a block sees and does not assign.
fn fixed(name: &str, operand: Operand, span: Span) -> Local {
    Local { name: name.to_owned(), span, operand: Some(operand), mutable: false }
}

/// How a format's groups are made.
enum Encoding<'a> {
    /// By its `encode` block, in the file of this number.
    Block(&'a ast::Block, usize, ItemId),
    /// As its `value` implies.
    Derived(Derivation),
}

/// How a format's groups are made, or why that is not known.
fn encoding<'a>(lib: &'a Library, id: ItemId, format: &Format) -> Result<Encoding<'a>, String> {
    match crate::format::encode_body(lib, id, EncodeOf::Groups) {
        Some((body, module)) => Ok(Encoding::Block(body, module, id)),
        None => derive(format).map(Encoding::Derived),
    }
}
