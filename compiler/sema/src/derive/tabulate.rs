//! What is a function of an element's own bits alone: its value for each code that they can be, as long as they are at most eight.
//!
//! ```text
//! s: u1[16]; m: u3[16];   where(s[i] == 1, -m[i], m[i])
//! planes s (bit 0), m (bits 1 to 3); values 0 0 1 -1 2 -2 3 -3 4 -4 5 -5 6 -6 7 -7
//! ```
//!
//! Values are held as constants of tile IR are (`fold`), and computed as the interpreter does.

use super::{Coded, Known, Plane};
use crate::fold;
use tvmc_ir::tile::{Format, Inst, Op, Scope};
use tvmc_types::dtype::{DType, Kind};

/// Most bits of a code.
const MAX_BITS: u32 = 8;

/// A value for each code.
#[derive(Clone, Debug)]
pub(super) struct Tabulated {
    /// Where the bits of the code are stored, the lowest first.
    pub planes: Vec<Plane>,
    /// By code.
    pub values: Vec<u32>,
    dtype: DType,
}

/// What an operation of a decode body makes of such values.
pub(super) fn step(
    format: &Format,
    inst: &Inst,
    tables: &[Option<Tabulated>],
    known: &[Option<Known>],
) -> Option<Tabulated> {
    let dtype = format.decode.values[inst.result?.index()].dtype;
    let constant = |value: u32| Tabulated { planes: Vec::new(), values: vec![value], dtype };
    if let Op::Const(bits) = inst.op {
        return (dtype.bits() <= 32).then(|| constant(bits));
    }
    if let Op::Field(at) = inst.op {
        return field(format, at as usize, known[inst.args[0].index()].as_ref()?);
    }
    let from: Vec<DType> = inst.args.iter().map(|arg| format.decode.values[arg.index()].dtype).collect();
    let args: Vec<&Tabulated> =
        inst.args.iter().map(|arg| tables[arg.index()].as_ref()).collect::<Option<_>>()?;
    if args.is_empty() {
        return None;
    }
    Tabulated::zip(format, &args, dtype, |v| match &inst.op {
        Op::Unary(op) => fold::unary(*op, dtype, v[0]),
        Op::Binary(op) => fold::binary(*op, from[0], v[0], v[1]),
        Op::Cast(rule) => fold::cast(*rule, from[0], dtype, v[0]),
        Op::Select => Some(if v[0] != 0 { v[1] } else { v[2] }),
        Op::Table(at) => format.tables[*at as usize].1.get(v[0] as usize).copied(),
        _ => None,
    })
}

/// A field with an entry for each element, read there.
fn field(format: &Format, at: usize, index: &Known) -> Option<Tabulated> {
    let declared = &format.fields[at];
    let Known::Index(index) = index else { return None };
    let own = index.iter().enumerate().all(|(i, entry)| *entry == i as i32);
    let bits = declared.dtype.bits();
    if declared.scope != Scope::Group || declared.count != format.group || !own || bits > MAX_BITS {
        return None;
    }
    let values = (0..1u64 << bits).map(|code| value(declared.dtype, code)).collect();
    Some(Tabulated { planes: vec![Plane { field: at, shift: 0 }], values, dtype: declared.dtype })
}

/// The value of a code, as a constant.
fn value(dtype: DType, code: u64) -> u32 {
    match dtype.kind() {
        Kind::Float => (dtype.decode(code) as f32).to_bits(),
        Kind::Signed | Kind::Unsigned | Kind::Bool => dtype.decode_i128(code) as i32 as u32,
    }
}

/// A constant as a number.
pub(super) fn number(dtype: DType, bits: u32) -> f32 {
    match dtype.kind() {
        Kind::Float => f32::from_bits(bits),
        Kind::Signed | Kind::Unsigned | Kind::Bool => bits as i32 as f32,
    }
}

impl Tabulated {
    /// The values of a code, as f32.
    pub fn of(format: &Format, coded: &Coded) -> Option<Self> {
        let of_planes = |planes: &[Plane], number: &dyn Fn(u64) -> Option<f32>| {
            let bits: u32 = planes.iter().map(|p| format.fields[p.field].dtype.bits()).sum();
            let codes = 0..(bits <= MAX_BITS).then(|| 1u64 << bits)?;
            let values = codes.map(|code| number(code).map(f32::to_bits)).collect::<Option<_>>()?;
            Some(Tabulated { planes: planes.to_vec(), values, dtype: DType::F32 })
        };
        match coded {
            Coded::Integer { planes, bias } => of_planes(planes, &|code| {
                let signed = matches!(planes.as_slice(), [one] if format.fields[one.field].dtype.kind() == Kind::Signed);
                let code = if signed {
                    value(format.fields[planes[0].field].dtype, code) as i32
                } else {
                    code as i32
                };
                Some(code as f32 + bias)
            }),
            Coded::Float { field } => {
                let dtype = format.fields[*field].dtype;
                of_planes(&[Plane { field: *field, shift: 0 }], &|code| Some(dtype.decode(code) as f32))
            }
            Coded::Table { planes, entries } => {
                of_planes(planes, &|code| entries.get(code as usize).copied())
            }
        }
    }

    /// One function of several: the bits of all, each plane once.
    pub fn zip(
        format: &Format,
        args: &[&Tabulated],
        dtype: DType,
        function: impl Fn(&[u32]) -> Option<u32>,
    ) -> Option<Self> {
        let width = |plane: &Plane| format.fields[plane.field].dtype.bits();
        let mut planes: Vec<Plane> = Vec::new();
        let mut bits = 0;
        for plane in args.iter().flat_map(|arg| &arg.planes) {
            if planes.iter().all(|known| known.field != plane.field) {
                planes.push(Plane { field: plane.field, shift: bits });
                bits += width(plane);
            }
        }
        let count = 1usize << (bits <= MAX_BITS).then_some(bits)?;
        let part = |code: usize, of: &Plane| {
            let here = planes.iter().find(|plane| plane.field == of.field).map_or(0, |plane| plane.shift);
            (code >> here & ((1 << width(of)) - 1)) << of.shift
        };
        let at = |code: usize| -> Option<u32> {
            let values: Vec<u32> = args
                .iter()
                .map(|arg| {
                    arg.values.get(arg.planes.iter().map(|plane| part(code, plane)).sum::<usize>()).copied()
                })
                .collect::<Option<_>>()?;
            function(&values)
        };
        Some(Tabulated { values: (0..count).map(at).collect::<Option<_>>()?, planes, dtype })
    }

    /// As a table of numbers, if any bits decide and all are finite.
    pub fn coded(&self) -> Option<Coded> {
        let entries: Vec<f32> = self.values.iter().map(|bits| number(self.dtype, *bits)).collect();
        let whole = !self.planes.is_empty() && entries.iter().all(|entry| entry.is_finite());
        whole.then(|| Coded::Table { planes: self.planes.clone(), entries })
    }
}
