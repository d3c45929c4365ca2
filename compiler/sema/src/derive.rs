//! What a format's `value` says about encoding: where an element is one code, scaled, the codes that come nearest to a number follow from it.
//!
//! Derived for `value[i] = scales * (x(code[i]) - zero)`, perhaps plus an offset:
//!
//! ```text
//! x       q[i] + constant, planes of bits joined (`concat(h[i], q[i])`), small floats, table[q[i]]; any function of up to 8 bits of the element
//!         (`where(s[i] == 1, -m[i], m[i])`), which is a table of what it gives (`tabulate`)
//! zero    a stored zero point: a field of the row or group
//! scales  constants and fields: of the tensor, of the row, of the group, or one for each n elements of it (`s[i / n]`)
//! offset  a constant times one field of the row or group that is no scale
//! ```
//!
//! The analysis follows the decode body with what it knows of each value; operations that it does not name end it, which is always right: such a format
//! is decoded only, unless it has an `encode` block. `elab/derived` makes the encoder.
//!
//! ```text
//! s * d[i / 16] * (q[i] - 8)      scales s (tensor), d (runs of 16); code q, bias -8
//! ```

mod tabulate;

use tabulate::Tabulated;
use tvmc_ir::tile::{Binary, CastRule, Format, Op, Scope, Unary};
use tvmc_types::dtype::{DType, Kind};

/// Most entries of a table among which the nearest is sought.
const MAX_ENTRIES: usize = 256;

/// A field that scales or shifts.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Level {
    /// Its number.
    pub field: usize,
    /// How many neighbouring elements of the group share an entry; the whole group for fields of rows and tensors.
    pub run: u32,
    /// Its scope.
    pub scope: Scope,
}

/// Bits of a code that a field holds.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Plane {
    /// Its number.
    pub field: usize,
    /// The lowest of its bits in the code.
    pub shift: u32,
}

/// What is scaled.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Coded {
    /// An integer code plus a constant.
    Integer { planes: Vec<Plane>, bias: f32 },
    /// A float that a field holds.
    Float { field: usize },
    /// An entry of a table.
    Table { planes: Vec<Plane>, entries: Vec<f32> },
}

/// How a format's elements are made of its fields.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Derivation {
    /// What is scaled.
    pub coded: Coded,
    /// What is taken from it before.
    pub zero: Option<Level>,
    /// From the least to the largest of what is scaled.
    pub range: (f64, f64),
    /// A constant factor.
    pub factor: f32,
    /// The scales, coarse to fine.
    pub scales: Vec<Level>,
    /// What is added, and its factor.
    pub offset: Option<(Level, f32)>,
}

/// A product of a constant and fields.
#[derive(Clone, Debug)]
struct Product {
    factor: f32,
    levels: Vec<Level>,
}

impl Known {
    /// A code by itself.
    fn code(coded: Coded) -> Self {
        Known::Value { coded, zero: None, scale: Product::constant(1.0), offset: None }
    }

    /// The code that this is, if it is one by itself.
    fn plain(&self) -> Option<&Coded> {
        match self {
            Known::Value { coded, zero: None, scale, offset: None } if is_plain(scale) => Some(coded),
            Known::Value { .. } | Known::Index(_) | Known::Scale(_) => None,
        }
    }

    /// The planes of an integer code without a bias.
    fn bits(&self) -> Option<&[Plane]> {
        match self.plain()? {
            Coded::Integer { planes, bias: 0.0 } => Some(planes),
            Coded::Integer { .. } | Coded::Float { .. } | Coded::Table { .. } => None,
        }
    }

    /// Whether what is added to a scaled code is a constant.
    fn has_constant_offset(&self) -> bool {
        match self {
            Known::Value { offset: Some(offset), .. } => offset.levels.is_empty(),
            Known::Value { offset: None, .. } | Known::Index(_) | Known::Scale(_) => false,
        }
    }
}

impl Product {
    fn constant(factor: f32) -> Self {
        Self { factor, levels: Vec::new() }
    }

    fn times(&self, other: &Product) -> Product {
        let levels = self.levels.iter().chain(&other.levels).cloned().collect();
        Product { factor: self.factor * other.factor, levels }
    }
}

/// What is known of a value of the decode body.
#[derive(Clone, Debug)]
enum Known {
    /// An integer for each element of the group.
    Index(Vec<i32>),
    /// A product without a code.
    Scale(Product),
    /// A code, less a zero point, scaled, and what is added.
    Value { coded: Coded, zero: Option<Level>, scale: Product, offset: Option<Product> },
}

/// The derivation of a format, or what stands in its way.
pub(crate) fn derive(format: &Format) -> Result<Derivation, String> {
    let mut known: Vec<Option<Known>> = vec![None; format.decode.values.len()];
    let mut tables: Vec<Option<Tabulated>> = vec![None; format.decode.values.len()];
    for inst in &format.decode.insts {
        let Some(result) = inst.result else { continue };
        let args: Vec<Option<&Known>> = inst.args.iter().map(|arg| known[arg.index()].as_ref()).collect();
        let dtype = format.decode.values[result.index()].dtype;
        let table = tabulate::step(format, inst, &tables, &known);
        let decides = inst.args.first().and_then(|arg| tables[arg.index()].as_ref());
        let value = decides
            .filter(|_| inst.op == Op::Select)
            .and_then(|by| select(by, &args))
            .or_else(|| step(format, &inst.op, &args, dtype))
            .filter(|value| table.is_none() || !value.has_constant_offset());
        known[result.index()] = value.or_else(|| table.as_ref()?.coded().map(Known::code));
        tables[result.index()] = table;
    }
    let Some(Known::Value { coded, zero, scale, offset }) = known[format.decode.result.index()].take() else {
        return Err("its value is not a code of each element, scaled and shifted".to_owned());
    };
    let range = range(format, &coded)?;
    let mut scales = scale.levels;
    let coarse_first = |level: &Level| (level.scope, std::cmp::Reverse(level.run));
    scales.sort_by_key(coarse_first);
    let offset = match offset {
        None => None,
        Some(Product { factor, levels }) => match <[Level; 1]>::try_from(levels) {
            Ok([level]) if level.scope != Scope::Tensor && factor != 0.0 => Some((level, factor)),
            Ok(_) | Err(_) => {
                return Err("what is added to a code is not one field of its row or group".to_owned());
            }
        },
    };
    if zero.as_ref().is_some_and(|level| level.scope == Scope::Tensor) {
        return Err("its zero point is stored once for the tensor, not for a row or group".to_owned());
    }
    let levels = scales.iter().chain(offset.iter().map(|o| &o.0)).chain(&zero);
    let mut used: Vec<usize> = levels.map(|level| level.field).collect();
    match &coded {
        Coded::Float { field } => used.push(*field),
        Coded::Integer { planes, .. } | Coded::Table { planes, .. } => {
            used.extend(planes.iter().map(|p| p.field));
        }
    }
    used.sort_unstable();
    if let Some(pair) = used.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("its field `{}` is used in two ways", format.fields[pair[0]].name));
    }
    if scale.factor == 0.0 || !scale.factor.is_finite() {
        return Err("its codes are scaled by a constant that is zero or no number".to_owned());
    }
    Ok(Derivation { coded, zero, range, factor: scale.factor, scales, offset })
}

fn step(format: &Format, op: &Op, args: &[Option<&Known>], dtype: DType) -> Option<Known> {
    let all: Vec<&Known> = args.iter().copied().collect::<Option<_>>()?;
    match (op, all.as_slice()) {
        (Op::GroupIndex, []) => Some(Known::Index((0..format.group as i32).collect())),
        (Op::Const(bits), []) if dtype == DType::F32 => {
            Some(Known::Scale(Product::constant(f32::from_bits(*bits))))
        }
        (Op::Const(bits), []) if dtype == DType::I32 => {
            Some(Known::Index(vec![*bits as i32; format.group as usize]))
        }
        (Op::Field(at), [Known::Index(index)]) => field(format, *at as usize, index),
        (Op::Table(at), [value]) => {
            let planes = value.bits()?.to_vec();
            let (dtype, bits) = &format.tables[*at as usize];
            let entries = bits.iter().map(|bits| tabulate::number(*dtype, *bits)).collect();
            Some(Known::code(Coded::Table { planes, entries }))
        }
        (Op::Cast(CastRule::Exact | CastRule::Round), [Known::Index(all)]) if dtype == DType::F32 => {
            let same = all.windows(2).all(|pair| pair[0] == pair[1]);
            same.then(|| Known::Scale(Product::constant(all[0] as f32)))
        }
        (Op::Cast(CastRule::Exact | CastRule::Round), [value]) => Some((*value).clone()),
        (Op::Unary(Unary::Neg), [value]) => product(&Known::Scale(Product::constant(-1.0)), value),
        (Op::Binary(op), [Known::Index(a), Known::Index(b)]) => {
            a.iter().zip(b).map(|(a, b)| integer(*op, *a, *b)).collect::<Option<_>>().map(Known::Index)
        }
        (Op::Binary(Binary::Mul), [a, b]) => product(a, b).or_else(|| multiplied(format, a, b)),
        (Op::Binary(Binary::Shl), [value, Known::Index(by)]) => shifted(value, by),
        (Op::Binary(Binary::Or), [a, b]) => joined(format, a, b),
        (Op::Binary(Binary::Add), [a, b]) => sum(a, b, 1.0),
        (Op::Binary(Binary::Sub), [a, b]) => sum(a, b, -1.0),
        (Op::Fma, [a, b, c]) => sum(&product(a, b)?, c, 1.0),
        (
            Op::Const(_)
            | Op::GroupIndex
            | Op::Field(_)
            | Op::Table(_)
            | Op::Cast(_)
            | Op::Bitcast
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Fma
            | Op::Select
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
            | Op::Print(_),
            _,
        ) => None,
    }
}

fn is_plain(scale: &Product) -> bool {
    scale.levels.is_empty() && scale.factor == 1.0
}

fn integer(op: Binary, a: i32, b: i32) -> Option<i32> {
    match op {
        Binary::Add => a.checked_add(b),
        Binary::Sub => a.checked_sub(b),
        Binary::Mul => a.checked_mul(b),
        Binary::Div => a.checked_div(b),
        Binary::Rem => a.checked_rem(b),
        Binary::And => Some(a & b),
        Binary::Or => Some(a | b),
        Binary::Xor => Some(a ^ b),
        Binary::Shl => a.checked_shl(u32::try_from(b).ok()?),
        Binary::Shr => a.checked_shr(u32::try_from(b).ok()?),
        Binary::Min => Some(a.min(b)),
        Binary::Max => Some(a.max(b)),
        Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le => None,
    }
}

/// A field read at these entries: a code of each element, or one of each run.
fn field(format: &Format, at: usize, index: &[i32]) -> Option<Known> {
    let declared = &format.fields[at];
    let own = index.iter().enumerate().all(|(i, entry)| *entry == i as i32);
    // In groups of one element a field by itself is its code.
    let alone = || format.fields.iter().filter(|f| f.scope == Scope::Group).count() == 1;
    if declared.scope == Scope::Group
        && declared.count == format.group
        && own
        && (format.group > 1 || alone())
    {
        let coded = match declared.dtype.kind() {
            Kind::Float => Coded::Float { field: at },
            Kind::Signed | Kind::Unsigned => {
                Coded::Integer { planes: vec![Plane { field: at, shift: 0 }], bias: 0.0 }
            }
            Kind::Bool => return None,
        };
        return Some(Known::code(coded));
    }
    if declared.dtype.kind() == Kind::Bool || !format.group.is_multiple_of(declared.count) {
        return None;
    }
    let run = format.group / declared.count;
    let even = index.iter().enumerate().all(|(i, entry)| *entry == (i as u32 / run) as i32);
    if !even || declared.scope != Scope::Group && declared.count != 1 {
        return None;
    }
    let level = Level { field: at, run, scope: declared.scope };
    Some(Known::Scale(Product { factor: 1.0, levels: vec![level] }))
}

fn product(a: &Known, b: &Known) -> Option<Known> {
    match (a, b) {
        (Known::Scale(a), Known::Scale(b)) => Some(Known::Scale(a.times(b))),
        (Known::Scale(by), Known::Value { coded, zero, scale, offset })
        | (Known::Value { coded, zero, scale, offset }, Known::Scale(by)) => {
            let offset = offset.as_ref().map(|offset| offset.times(by));
            Some(Known::Value { coded: coded.clone(), zero: zero.clone(), scale: scale.times(by), offset })
        }
        (Known::Index(all), other) | (other, Known::Index(all)) => {
            let same = all.windows(2).all(|pair| pair[0] == pair[1]);
            let by = Known::Scale(Product::constant(all[0] as f32));
            if same && !matches!(other, Known::Index(_)) { product(&by, other) } else { None }
        }
        (Known::Value { .. }, Known::Value { .. }) => None,
    }
}

/// Two codes of an element, each scaled, are one of the bits of both.
fn multiplied(format: &Format, a: &Known, b: &Known) -> Option<Known> {
    let (
        Known::Value { coded: a, zero: None, scale: by_a, offset: None },
        Known::Value { coded: b, zero: None, scale: by_b, offset: None },
    ) = (a, b)
    else {
        return None;
    };
    let (a, b) = (Tabulated::of(format, a)?, Tabulated::of(format, b)?);
    let both = Tabulated::zip(format, &[&a, &b], DType::F32, |v| {
        Some((f32::from_bits(v[0]) * f32::from_bits(v[1])).to_bits())
    })?;
    Some(Known::Value { coded: both.coded()?, zero: None, scale: by_a.times(by_b), offset: None })
}

/// One of two scales that differ by a constant factor, as bits of the element say: a table of factors.
fn select(by: &Tabulated, args: &[Option<&Known>]) -> Option<Known> {
    let [_, Some(Known::Scale(then)), Some(Known::Scale(otherwise))] = args else { return None };
    if then.levels.is_empty() || then.levels != otherwise.levels {
        return None;
    }
    let factor = |bits: &u32| if *bits != 0 { then.factor } else { otherwise.factor };
    let coded = Coded::Table { planes: by.planes.clone(), entries: by.values.iter().map(factor).collect() };
    let scale = Product { factor: 1.0, levels: then.levels.clone() };
    Some(Known::Value { coded, zero: None, scale, offset: None })
}

/// `a + sign * b`.
fn sum(a: &Known, b: &Known, sign: f32) -> Option<Known> {
    let biased = |by: f32| match a.plain()? {
        Coded::Integer { planes, bias } => {
            Some(Known::code(Coded::Integer { planes: planes.clone(), bias: bias + sign * by }))
        }
        Coded::Float { .. } | Coded::Table { .. } => None,
    };
    match (a, b) {
        (Known::Value { .. }, Known::Index(all)) => {
            let same = all.windows(2).all(|pair| pair[0] == pair[1]);
            if same && all[0].unsigned_abs() < 1 << 24 { biased(all[0] as f32) } else { None }
        }
        (Known::Value { .. }, Known::Scale(by)) if by.levels.is_empty() && a.plain().is_some() => {
            biased(by.factor)
        }
        // A code without a scale, less what is stored: a zero point.
        (Known::Value { coded, zero: None, scale, offset: None }, Known::Scale(by))
            if is_plain(scale) && sign < 0.0 && by.factor == 1.0 && by.levels.len() == 1 =>
        {
            let zero = by.levels.first().cloned();
            Some(Known::Value { coded: coded.clone(), zero, scale: scale.clone(), offset: None })
        }
        (Known::Value { coded, zero, scale, offset: None }, Known::Scale(by)) => {
            let offset = Some(Product { factor: sign * by.factor, levels: by.levels.clone() });
            Some(Known::Value { coded: coded.clone(), zero: zero.clone(), scale: scale.clone(), offset })
        }
        (Known::Scale(by), Known::Value { coded, zero, scale, offset: None }) => {
            let scale = Product { factor: sign * scale.factor, levels: scale.levels.clone() };
            Some(Known::Value { coded: coded.clone(), zero: zero.clone(), scale, offset: Some(by.clone()) })
        }
        (Known::Index(_) | Known::Scale(_) | Known::Value { .. }, _) => None,
    }
}

/// Bits moved up: a plane of a code.
fn shifted(value: &Known, by: &[i32]) -> Option<Known> {
    let planes = value.bits()?;
    let more = u32::try_from(by[0]).ok().filter(|more| *more < 16)?;
    let same = by.windows(2).all(|pair| pair[0] == pair[1]);
    let planes = planes.iter().map(|p| Plane { field: p.field, shift: p.shift + more }).collect();
    same.then(|| Known::code(Coded::Integer { planes, bias: 0.0 }))
}

/// Planes of unsigned bits that do not overlap.
fn joined(format: &Format, a: &Known, b: &Known) -> Option<Known> {
    let mut all = a.bits()?.to_vec();
    all.extend(b.bits()?.iter().cloned());
    all.sort_by_key(|plane| plane.shift);
    let mut next = 0;
    for plane in &all {
        let dtype = format.fields[plane.field].dtype;
        if dtype.kind() != Kind::Unsigned || plane.shift != next {
            return None;
        }
        next += dtype.bits();
    }
    (next <= 16).then(|| Known::code(Coded::Integer { planes: all, bias: 0.0 }))
}

/// The least and the largest code of planes.
pub(crate) fn codes(format: &Format, planes: &[Plane]) -> (i64, i64) {
    match planes {
        [plane] if plane.shift == 0 => {
            let (low, high) = format.fields[plane.field].dtype.int_range().unwrap_or((0, 0));
            (low as i64, high as i64)
        }
        _ => {
            let bits: u32 = planes.iter().map(|p| format.fields[p.field].dtype.bits()).sum();
            (0, (1i64 << bits.min(32)) - 1)
        }
    }
}

/// How many codes planes have, and a table entries for them.
pub(crate) fn entry_count(format: &Format, planes: &[Plane]) -> usize {
    let bits: u32 = planes.iter().map(|p| format.fields[p.field].dtype.bits()).sum();
    1 << bits.min(16)
}

fn range(format: &Format, coded: &Coded) -> Result<(f64, f64), String> {
    let (low, high) = match coded {
        Coded::Integer { planes, bias, .. } => {
            if planes.iter().any(|plane| format.fields[plane.field].dtype.bits() > 16) {
                return Err("its codes have more than 16 bits".to_owned());
            }
            let (low, high) = codes(format, planes);
            (low as f64 + f64::from(*bias), high as f64 + f64::from(*bias))
        }
        Coded::Float { field } => {
            let dtype = format.fields[*field].dtype;
            (dtype.min(), dtype.max())
        }
        Coded::Table { planes, entries } => {
            let count = entry_count(format, planes);
            if count > entries.len() || entries.len() > MAX_ENTRIES {
                return Err(format!(
                    "its table has more than {MAX_ENTRIES} entries, or not one for each code"
                ));
            }
            let numbers = || entries[..count].iter().map(|e| f64::from(*e));
            if !numbers().all(f64::is_finite) {
                return Err("its table holds what is no number".to_owned());
            }
            (numbers().fold(f64::INFINITY, f64::min), numbers().fold(f64::NEG_INFINITY, f64::max))
        }
    };
    if low < high { Ok((low, high)) } else { Err("its codes all mean the same".to_owned()) }
}
