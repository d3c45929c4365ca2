//! Formats: where the fields of a group lie, and how element `i` is computed from them.
//!
//! ```text
//! group 32 { d: f16; q: u4[32] @ column_local(2, 16).reshape(32); }
//!     d    bits 0 to 15
//!     q    from bit 16; element 16 h + j lies in slot 2 j + h: digits of the index (2, stride 1), (16, stride 2)
//!     18 bytes
//! ```
//!
//! Fields of `per row` and `per tensor` lie before the groups of a row and before the rows of a matrix, filled up with zero to whole units.
//!
//! The decode body is straight-line: both values of a `where` are computed for every element, so every index must lie inside its field or table for
//! every element of the group and every code that the fields may hold (`inside`).

mod inside;

use crate::constant::Constant;
use crate::elab::{Elab, Local, Mode, Operand};
use crate::host::{Cx, NoNames};
use crate::library::{ItemId, Library};
use crate::limits::{MAX_GROUP, MAX_SCOPE_BITS, MAX_TABLE};
use tvmc_ir::host::Number;
use tvmc_ir::tile::{self, Decode, Field, FieldMode, Inst, Op, Scope, Stmt, TileType};
use tvmc_lang::ast::{self, ExprId, ExprKind, FormatMember, Ident, ItemKind, ScopeKind};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

fn format_ast(lib: &Library, id: ItemId) -> Option<&ast::Format> {
    match &lib.item(id).kind {
        ItemKind::Format(format) => Some(format),
        ItemKind::Use(_)
        | ItemKind::Const(_)
        | ItemKind::Table(_)
        | ItemKind::Function(_)
        | ItemKind::Kernel(_)
        | ItemKind::Program(_) => None,
    }
}

/// Elements in a group.
pub(crate) fn group_size(cx: &mut Cx, id: ItemId) -> Option<u32> {
    if let Some(known) = cx.groups.get(&id) {
        return *known;
    }
    let format = format_ast(cx.lib, id)?;
    if cx.evaluating.contains(&id) {
        let message = format!("the group of `{}` leads back to itself", format.name.name);
        cx.diags.error(Code::Recursion, format.name.span, message, "needs its own value");
        return None;
    }
    cx.evaluating.push(id);
    let size = find_group(cx, id.module, format);
    cx.evaluating.pop();
    cx.groups.insert(id, size);
    size
}

fn find_group(cx: &mut Cx, module: usize, format: &ast::Format) -> Option<u32> {
    let groups: Vec<(ExprId, Span)> = format
        .members
        .iter()
        .filter_map(|m| match m {
            FormatMember::Scope { kind: ScopeKind::Group(size), span, .. } => Some((*size, *span)),
            FormatMember::Scope { kind: ScopeKind::Tensor | ScopeKind::Row, .. }
            | FormatMember::Table(_)
            | FormatMember::Value { .. }
            | FormatMember::Encode { .. }
            | FormatMember::Error(_) => None,
        })
        .collect();
    let Some((size, _)) = groups.first().copied() else {
        cx.diags.push(
            Diagnostic::error(Code::GroupMissing, format!("format `{}` has no group", format.name.name))
                .at(format.name.span, "how are its elements stored?")
                .help("write `group 32 { .. }` with the fields in storage order"),
        );
        return None;
    };
    if let Some((_, second)) = groups.get(1) {
        cx.diags.error(Code::GroupMissing, *second, "a format has exactly one group", "a second one");
    }
    let span = cx.lib.module(module).file[size].span;
    let constant = cx.need_int(module, size, &NoNames)?;
    match constant.as_int() {
        Some(v) if (1..=MAX_GROUP).contains(&v) => u32::try_from(v).ok(),
        Some(_) | None => {
            let message = format!("a group has from 1 to {MAX_GROUP} elements");
            cx.diags.error(Code::ConstantOverflow, span, message, "out of range");
            None
        }
    }
}

/// A table's shape, dtype (f32 or i32) and entries as bits.
pub(crate) fn table(cx: &mut Cx, module: usize, table: &ast::Table) -> Option<(Vec<u32>, DType, Vec<u32>)> {
    let dtype = dtype_of(cx, &table.ty.elem)?;
    let shape = extents(cx, module, &table.ty, "table")?;
    let wanted = shape.iter().try_fold(1u64, |n, e| n.checked_mul(u64::from(*e))).filter(|n| *n <= MAX_TABLE);
    let Some(wanted) = wanted else {
        let message = format!("a table has at most {MAX_TABLE} entries");
        cx.diags.error(Code::TableSize, table.ty.span, message, "too large");
        return None;
    };
    let file = &cx.lib.module(module).file;
    let mut values = Vec::new();
    let mut stack = vec![table.values];
    while let Some(id) = stack.pop() {
        match &file[id].kind {
            ExprKind::List(items) => stack.extend(items.iter().rev()),
            _ => values.push(id),
        }
    }
    if values.len() as u64 != wanted {
        cx.diags.push(
            Diagnostic::error(
                Code::TableSize,
                format!("`{}` lists {} values, its type has {wanted}", table.name.name, values.len()),
            )
            .at(table.name.span, "this table")
            .also(table.ty.span, format!("{wanted} values"))
            .help("mend the size, or the list"),
        );
        return None;
    }
    let wide = if dtype.is_float() { DType::F32 } else { DType::I32 };
    let mut entries = Vec::new();
    let mut good = true;
    for id in values {
        let span = file[id].span;
        let Some(value) = cx.host(module, id, &NoNames) else {
            good = false;
            continue;
        };
        let constant = cx.need_constant(value, span);
        match constant.and_then(|c| entry(c, dtype, wide)) {
            Some(bits) => entries.push(bits),
            None => {
                good = false;
                if constant.is_some() {
                    cx.diags.error(
                        Code::LiteralOutOfRange,
                        span,
                        format!("this is no number of {dtype}"),
                        "does not fit",
                    );
                }
            }
        }
    }
    good.then_some((shape, wide, entries))
}

fn entry(c: Constant, dtype: DType, wide: DType) -> Option<u32> {
    match (c.number, dtype.int_range()) {
        (Number::Int(v), Some((lo, hi))) if dtype != DType::BOOL => {
            (lo..=hi).contains(&i128::from(v)).then(|| c.bits(wide)).flatten()
        }
        (Number::Int(v), None) => Constant::float(dtype.round(v as f64)).bits(wide),
        (Number::Float(v), None) if dtype.round(v).is_finite() == v.is_finite() => {
            if dtype == DType::F32 {
                c.bits(wide)
            } else {
                Constant::float(dtype.round(v)).bits(wide)
            }
        }
        (Number::Int(_) | Number::Float(_) | Number::Bool(_), _) => None,
    }
}

/// The dtype in a field's or table's type.
fn dtype_of(cx: &mut Cx, name: &ast::TypeName) -> Option<DType> {
    let ident = name.ident();
    let dtype = DType::from_name(&ident.name);
    match dtype {
        Some(dtype) if dtype.bits() <= 32 => Some(dtype),
        Some(dtype) => {
            let message = format!("{dtype} has 64 bits; fields and tables have at most 32");
            cx.diags.error(Code::UnsupportedWidth, ident.span, message, "too wide");
            None
        }
        None => {
            cx.diags.push(
                Diagnostic::error(Code::UnknownType, format!("`{}` is no dtype", ident.name))
                    .at(ident.span, "a dtype is needed here")
                    .help("fields are stored as u1 to u8, i1 to i8, 16 and 32-bit types, or small floats such as e4m3"),
            );
            None
        }
    }
}

fn extents(cx: &mut Cx, module: usize, ty: &ast::Type, what: &str) -> Option<Vec<u32>> {
    let mut shape = Vec::new();
    for extent in ty.shape.iter().flatten() {
        let span = cx.lib.module(module).file[*extent].span;
        let constant = cx.need_int(module, *extent, &NoNames)?;
        match constant.as_int().and_then(|v| u32::try_from(v).ok()) {
            Some(v) if v > 0 && u64::from(v) <= MAX_TABLE => shape.push(v),
            Some(_) | None => {
                let message = format!("an extent of a {what} is from 1 to {MAX_TABLE}");
                cx.diags.error(Code::ConstantOverflow, span, message, "out of range");
                return None;
            }
        }
    }
    Some(shape)
}

/// The digits of an element's index and what each adds to its slot.
fn modes(cx: &mut Cx, module: usize, field: &ast::FormatField, count: u32) -> Option<Vec<FieldMode>> {
    let Some(layout) = &field.ty.layout else { return Some(vec![FieldMode { size: count, stride: 1 }]) };
    let mut factors: Vec<(Ident, Vec<u32>, Span)> = Vec::new();
    for factor in &layout.factors {
        let mut numbers = Vec::new();
        for arg in &factor.args {
            let constant = cx.need_int(module, *arg, &NoNames)?;
            match constant.as_int().and_then(|v| u32::try_from(v).ok()) {
                Some(v) => numbers.push(v),
                None => {
                    let span = cx.lib.module(module).file[*arg].span;
                    cx.diags.error(
                        Code::LayoutInvalid,
                        span,
                        "a number of a layout is a small positive integer",
                        "out of range",
                    );
                    return None;
                }
            }
        }
        factors.push((factor.name.clone(), numbers, factor.span));
    }
    let built = crate::layout::build(cx, &factors)?;
    if built.spatial_size() != 1 {
        cx.diags.push(
            Diagnostic::error(Code::LayoutInvalid, "a field lies in memory: its layout has no lanes")
                .at(layout.span, format!("spread over {} lanes", built.spatial_size()))
                .help("use `local`, `column_local`, `reshape` and `permute`"),
        );
        return None;
    }
    if built.elements() != count {
        cx.diags.push(
            Diagnostic::error(
                Code::FieldLayoutSize,
                format!("the layout has {} elements, the field {count}", built.elements()),
            )
            .at(layout.span, format!("{} elements", built.elements()))
            .also(field.name.span, format!("{count} elements"))
            .help("the factors' extents multiply to the field's count"),
        );
        return None;
    }
    let flat = built.reshape(&[count]).expect("every layout can be put in one row");
    // Slot digits, most significant first: each counts a stride of the index, and is worth the product of those after it.
    let mut digits: Vec<(u32, FieldMode)> = Vec::new();
    let mut worth = 1;
    for digit in flat.local_digits().into_iter().rev() {
        let Some(place) = digit.place else { continue };
        digits.push((place.stride, FieldMode { size: digit.extent, stride: worth }));
        worth *= digit.extent;
    }
    digits.sort_by_key(|(stride, _)| std::cmp::Reverse(*stride));
    if digits.is_empty() {
        return Some(vec![FieldMode { size: 1, stride: 1 }]);
    }
    Some(digits.into_iter().map(|(_, mode)| mode).collect())
}

struct Layouter<'c, 'l> {
    cx: &'c mut Cx<'l>,
    module: usize,
    fields: Vec<Field>,
    /// Bits so far of a tensor's, a row's and a group's fields.
    bits: [u64; 3],
    good: bool,
}

impl Layouter<'_, '_> {
    fn field(&mut self, field: &ast::FormatField, scope: Scope) -> Option<()> {
        if let Some(first) = self.fields.iter().find(|f| f.name == field.name.name) {
            let message = format!("field `{}` is defined twice", first.name);
            self.cx.diags.error(Code::DuplicateName, field.name.span, message, "defined again");
            return None;
        }
        let dtype = dtype_of(self.cx, &field.ty.elem)?;
        let shape = extents(self.cx, self.module, &field.ty, "field")?;
        let count = match shape[..] {
            [] => 1,
            [count] => count,
            _ => {
                self.cx.diags.push(
                    Diagnostic::error(Code::RankMismatch, "a field is one row of values")
                        .at(field.ty.span, format!("{} dimensions", shape.len()))
                        .help("give the total count, and the order by a layout: `u4[32] @ column_local(2, 16).reshape(32)`"),
                );
                return None;
            }
        };
        let modes = modes(self.cx, self.module, field, count)?;
        let bits = &mut self.bits[scope as usize];
        let bit_offset = u32::try_from(*bits).ok()?;
        *bits += u64::from(count) * u64::from(dtype.bits());
        if *bits > MAX_SCOPE_BITS {
            let message = "what is stored at a time is at most 16 MiB";
            self.cx.diags.error(Code::GroupNotBytes, field.span, message, "too large");
            return None;
        }
        self.fields.push(Field { name: field.name.name.clone(), dtype, count, scope, bit_offset, modes });
        Some(())
    }
}

/// An `encode` block of a format and the file it stands in.
pub(crate) fn encode_body(lib: &Library, id: ItemId, wanted: ast::EncodeOf) -> Option<(&ast::Block, usize)> {
    let format = format_ast(lib, id)?;
    format.members.iter().find_map(|member| match member {
        FormatMember::Encode { of, body, .. } => (*of == wanted).then_some((body, id.module)),
        FormatMember::Scope { .. }
        | FormatMember::Table(_)
        | FormatMember::Value { .. }
        | FormatMember::Error(_) => None,
    })
}

/// Compiles a format; errors are reported.
pub(crate) fn compile(cx: &mut Cx, id: ItemId) -> Option<tile::Format> {
    let lib = cx.lib;
    let format = format_ast(lib, id)?;
    let errors = cx.diags.errors();
    let group = group_size(cx, id);
    let mut layouter = Layouter { cx, module: id.module, fields: Vec::new(), bits: [0; 3], good: true };
    let mut seen: Vec<(Scope, Span)> = Vec::new();
    let mut group_span = format.name.span;
    let mut tables: Vec<(&ast::Table, Span)> = Vec::new();
    let mut value: Option<(&Ident, &ast::PureBody)> = None;
    let mut encoders: Vec<ast::EncodeOf> = Vec::new();
    for member in &format.members {
        match member {
            FormatMember::Scope { kind, fields, span } => {
                let scope = match kind {
                    ScopeKind::Tensor => Scope::Tensor,
                    ScopeKind::Row => Scope::Row,
                    ScopeKind::Group(_) => {
                        group_span = *span;
                        Scope::Group
                    }
                };
                if let Some((_, first)) = seen.iter().find(|s| s.0 == scope && scope != Scope::Group) {
                    let word = if scope == Scope::Row { "row" } else { "tensor" };
                    layouter.cx.diags.push(
                        Diagnostic::error(
                            Code::DuplicateName,
                            format!("a format has one `per {word}`, which is in storage order"),
                        )
                        .at(span.start_point(), "a second one")
                        .also(first.start_point(), "the first")
                        .help("put its fields into the first"),
                    );
                    layouter.good = false;
                }
                seen.push((scope, *span));
                for field in fields {
                    let ok = layouter.field(field, scope).is_some();
                    layouter.good &= ok;
                }
            }
            FormatMember::Table(table) => tables.push((table, table.span)),
            FormatMember::Value { index, body, span } => {
                if value.is_some() {
                    layouter.cx.diags.error(
                        Code::ValueMissing,
                        span.start_point(),
                        "a format has one `value`",
                        "given again",
                    );
                } else {
                    value = Some((index, body));
                }
            }
            // Read where a kernel stores (`elab::encode`).
            FormatMember::Encode { of, span, .. } => {
                if encoders.contains(of) {
                    let message = "a format has one `encode` and one `encode per tensor`";
                    layouter.cx.diags.error(Code::ValueMissing, span.start_point(), message, "given again");
                }
                encoders.push(*of);
            }
            FormatMember::Error(_) => layouter.good = false,
        }
    }
    let Layouter { fields, bits: [tensor_bits, row_bits, bits], good, .. } = layouter;
    if good && bits % 8 != 0 {
        let rest = 8 - bits % 8;
        cx.diags.push(
            Diagnostic::error(
                Code::GroupNotBytes,
                format!("the group has {bits} bits, {rest} short of whole bytes"),
            )
            .at(group_span.start_point(), format!("{bits} bits"))
            .help(format!("add a field for the unused bits: `unused: u1[{rest}];`")),
        );
    }
    let Some((index, body)) = value else {
        cx.diags.push(
            Diagnostic::error(
                Code::ValueMissing,
                format!("format `{}` does not say how an element is decoded", format.name.name),
            )
            .at(format.name.span, "no value")
            .help("write `value[i] = ..;`"),
        );
        return None;
    };
    let group = group?;
    if !good {
        return None;
    }
    let mut elab = Elab::new(cx, id.module, Mode::Format(group), &format.name.name);
    elab.format.fields = fields.iter().map(|f| (f.name.clone(), f.dtype, f.count)).collect();
    for (ast, span) in tables {
        let taken = elab.format.fields.iter().any(|f| f.0 == ast.name.name)
            || elab.format.tables.iter().any(|t| t.0 == ast.name.name);
        if taken {
            elab.error(
                Code::DuplicateName,
                span,
                format!("`{}` is defined twice", ast.name.name),
                "defined again",
            );
        }
        let (shape, dtype, entries) = table(elab.cx, id.module, ast)?;
        elab.format.tables.push((ast.name.name.clone(), shape, dtype, entries));
    }
    let at = elab.define(Op::GroupIndex, &[], TileType::scalar(DType::I32), index.span)?;
    elab.scopes[0].push(Local {
        name: index.name.clone(),
        span: index.span,
        operand: Some(Operand::Value(at)),
        mutable: false,
    });
    let result = elab.pure_body(body);
    let span = elab.span(body.result);
    let result = elab.assign_to(result?, DType::F32, span)?;
    let tables = std::mem::take(&mut elab.format.tables);
    let (_, spans) = elab.all_facts();
    let kernel = std::mem::take(&mut elab.b).finish();
    if cx.diags.errors() > errors {
        return None;
    }
    let insts: Vec<Inst> = kernel
        .body
        .stmts
        .into_iter()
        .filter_map(|s| match s {
            // Locations index the table of the kernel under construction, which ends here.
            Stmt::Inst(inst) => Some(Inst { location: None, ..inst }),
            Stmt::For { .. } | Stmt::Loop { .. } | Stmt::If { .. } => None,
        })
        .collect();
    let tables: Vec<(DType, Vec<u32>)> =
        tables.into_iter().map(|(_, _, dtype, entries)| (dtype, entries)).collect();
    let decode = Decode { values: kernel.values, insts, result };
    let name = format.name.name.clone();
    let bytes = (bits / 8) as u32;
    // Groups stay where units begin.
    let head = |bits: u64| bits.div_ceil(8).next_multiple_of(u64::from(tile::unit_bytes(bytes))) as u32;
    let (row_head, tensor_head) = (head(row_bits), head(tensor_bits));
    let format = tile::Format { name, group, bytes, row_head, tensor_head, fields, tables, decode };
    inside::indices_inside(cx, &format, &spans)?;
    Some(format)
}

/// A format by its name: group layout and decode body.
pub fn format(library: &Library, name: &str) -> Result<tile::Format, Vec<Diagnostic>> {
    let Some(id) = library.find(name, |kind| matches!(kind, ItemKind::Format(_))) else {
        return Err(vec![library.no_such("format", name, library.formats())]);
    };
    let mut cx = Cx::new(library);
    match compile(&mut cx, id) {
        Some(format) if cx.diags.errors() == 0 => Ok(format),
        Some(_) | None => Err(cx.diags.into_vec()),
    }
}
