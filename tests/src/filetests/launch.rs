//! Running a kernel of a filetest.
//!
//! ```text
//! //; arg x: f32[2, 3] = 1 2 -0.5            numbers, row by row, repeated as needed
//! //; arg x: i32[4] = iota                   0 1 2 ..
//! //; arg x: f32[4, 4] = random 7            multiples of 1/4 from -4 to 4; small integers; any bytes below 64 for a format
//! //; arg n = 5                              a number
//! //; out y: f32[2, 3]                       zero at first, shown afterwards; `= ..` gives another beginning
//! //; machines exact                         (the default) every machine leaves the bits that the interpreter leaves
//! //; machines native                        all but WGSL, whose division and square root are not exactly rounded
//! //; too-large wgsl workgroup memory        the limit that a device may have too little of; without this line it must run
//! //; packed x                               compiled code gets it row-interleaved
//! ```

use super::FileTest;
use crate::generate::{Argument, Case, Data, Interpreted};
use crate::machines::Machines;
use crate::random::Random;
use tvmc_ir::tile::{Element, Kernel, TensorDecl};
use tvmc_types::dtype::{DType, Kind, Narrowing};
use tvmc_types::packing::{get_bits, packed_len, set_bits};

/// Elements that a filetest's kernel may compute.
const FUEL: u64 = 1 << 24;

/// Results, row by row, then what was printed; or the trap.
pub fn run(test: &FileTest, kernel: &Kernel) -> Result<String, String> {
    let arguments = arguments(test, kernel)?;
    let portable = match test.one("machines") {
        None | Some("exact") => true,
        Some("native") => false,
        Some(other) => return Err(format!("`machines {other}` is neither `exact` nor `native`")),
    };
    let mut case = Case { kernel: kernel.clone(), arguments, portable };
    let outcome = match case.interpret(FUEL)? {
        Ok(outcome) => outcome,
        Err(trap) => return Ok(format!("trap: {trap}")),
    };
    // What is never written, compiled code is not told to write.
    for (argument, param) in case.arguments.iter_mut().zip(&kernel.params) {
        if let (Argument::Tensor(data), TensorDecl::Tensor { access, .. }) = (argument, param) {
            data.written = *access != tvmc_ir::lane::Access::Read;
        }
    }
    let ran = Machines::open().check(&case, true).map_err(|e| e.to_string())?;
    super::skips_are_stated(test, &ran)?;
    Ok(shown(kernel, &outcome))
}

/// The arguments that the kernel may write, then what was printed.
pub(super) fn shown(kernel: &Kernel, outcome: &Interpreted) -> String {
    let mut text = String::new();
    for (argument, param) in outcome.arguments.iter().zip(&kernel.params) {
        if let (Argument::Tensor(data), TensorDecl::Tensor { name, access, .. }) = (argument, param)
            && *access != tvmc_ir::lane::Access::Read
        {
            show(&mut text, name, data);
        }
    }
    for line in &outcome.log {
        text += &format!("print: {line}\n");
    }
    text
}

pub(super) fn show(text: &mut String, name: &str, data: &Data) {
    let Element::DType(dtype) = data.element else {
        let bytes: Vec<String> = data.bytes.iter().map(|b| format!("{b:02x}")).collect();
        *text += &format!("{name} = {}\n", bytes.join(" "));
        return;
    };
    let count = data.shape.iter().product::<u64>() as usize;
    let row = data.shape.last().copied().unwrap_or(1).max(1) as usize;
    for start in (0..count).step_by(row) {
        let values: Vec<String> =
            (start..start + row).map(|at| dtype.format(get_bits(&data.bytes, at, dtype.bits()))).collect();
        let sign = if start == 0 { format!("{name} =") } else { " ".repeat(name.len() + 2) };
        *text += &format!("{sign} {}\n", values.join(" "));
    }
}

/// What a file gives for an argument, by its name: the text of its `arg` or `out`.
pub(super) fn given<'t>(test: &'t FileTest, name: &str) -> Result<&'t str, String> {
    let of =
        |word: &'static str| test.directives.iter().filter(move |(w, _)| w == word).map(|(_, t)| t.as_str());
    of("arg")
        .chain(of("out"))
        .find(|text| text.split([':', '=', ' ']).next() == Some(name))
        .ok_or_else(|| format!("nothing is given for `{name}`"))
}

fn arguments(test: &FileTest, kernel: &Kernel) -> Result<Vec<Argument>, String> {
    let mut list = Vec::new();
    for param in &kernel.params {
        let text = given(test, param.name())?;
        let name = param.name();
        list.push(match param {
            TensorDecl::Scalar { dtype, .. } => {
                let (_, value) = text.split_once('=').ok_or_else(|| format!("`{name}` needs `= value`"))?;
                Argument::Scalar(*dtype, code(*dtype, value.trim())? as u32)
            }
            TensorDecl::Tensor { element, .. } => {
                let packed = test.all("packed").flat_map(str::split_whitespace).any(|p| p == name);
                Argument::Tensor(Data { packed, ..tensor(kernel, *element, text)? })
            }
        });
    }
    Ok(list)
}

/// `x: f32[2, 3] = 1 2 3`: the element type is that of the kernel, and is written for the reader.
fn tensor(kernel: &Kernel, element: Element, text: &str) -> Result<Data, String> {
    let bad = || format!("`{text}` is not NAME: TYPE[SIZES] = VALUES");
    let (declared, values) = match text.split_once('=') {
        Some((declared, values)) => (declared, values.trim()),
        None => (text, "0"),
    };
    let (_, ty) = declared.split_once(':').ok_or_else(bad)?;
    let (ty, sizes) = ty.trim().strip_suffix(']').and_then(|t| t.split_once('[')).ok_or_else(bad)?;
    let shape: Vec<u64> = sizes
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().map_err(|_| bad()))
        .collect::<Result<_, _>>()?;
    let bytes = match element {
        Element::Format(id) => {
            let format = &kernel.formats[id.index()];
            if format.name != ty {
                return Err(format!("`{text}`: the kernel has {}", format.name));
            }
            let mut bytes = vec![0u8; format.tensor_bytes(&shape).ok_or_else(bad)? as usize];
            match seed(values) {
                Some(seed) => {
                    let mut noise = Random::new(seed);
                    bytes.iter_mut().for_each(|b| *b = (noise.bits() & 0x3f) as u8);
                }
                None => {
                    let list: Vec<u8> = values
                        .split_whitespace()
                        .map(|v| u8::from_str_radix(v, 16).map_err(|_| bad()))
                        .collect::<Result<_, _>>()?;
                    for (byte, value) in bytes.iter_mut().zip(list.iter().cycle()) {
                        *byte = *value;
                    }
                }
            }
            bytes
        }
        Element::DType(dtype) => {
            if dtype.name() != ty {
                return Err(format!("`{text}`: the kernel has {dtype}"));
            }
            let count = shape.iter().product::<u64>() as usize;
            plain(dtype, count, values).map_err(|why| format!("`{text}`: {why}"))?
        }
    };
    Ok(Data { shape, element, bytes, written: false, packed: false })
}

/// The bytes of so many plain elements: numbers, `iota` or `random SEED`.
pub(super) fn plain(dtype: DType, count: usize, values: &str) -> Result<Vec<u8>, String> {
    let seed = seed(values);
    let mut bytes = vec![0u8; packed_len(count, dtype.bits()).ok_or("too many elements")?];
    let mut noise = Random::new(seed.unwrap_or(0));
    let list: Vec<&str> = values.split_whitespace().collect();
    for at in 0..count {
        let value = match (list.first(), seed) {
            (_, Some(_)) => small(dtype, noise.bits()),
            (Some(&"iota"), _) => number(dtype, at as f64),
            (Some(_), _) => code(dtype, list[at % list.len()])?,
            (None, _) => return Err("no values".to_owned()),
        };
        set_bits(&mut bytes, at, dtype.bits(), value);
    }
    Ok(bytes)
}

/// The seed of `random SEED`.
fn seed(values: &str) -> Option<u64> {
    values.strip_prefix("random").map(|seed| seed.trim().parse().unwrap_or(0))
}

fn number(dtype: DType, value: f64) -> u64 {
    match dtype.kind() {
        Kind::Float => dtype.encode_f64(value),
        Kind::Signed | Kind::Unsigned | Kind::Bool => dtype.encode_int(value as i64, Narrowing::Wrap),
    }
}

/// The code of a number as written; `0x..` is the code itself.
pub(super) fn code(dtype: DType, text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is no {dtype}");
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).map_err(|_| bad());
    }
    match text {
        "true" => Ok(1),
        "false" => Ok(0),
        _ if dtype.kind() == Kind::Float => Ok(dtype.encode_f64(text.parse().map_err(|_| bad())?)),
        _ => Ok(dtype.encode_int(text.parse().map_err(|_| bad())?, Narrowing::Wrap)),
    }
}

/// A small number: sums and products of these are exact.
fn small(dtype: DType, random: u64) -> u64 {
    match dtype.kind() {
        Kind::Float => dtype.encode_f64(((random % 33) as f64 - 16.0) / 4.0),
        Kind::Signed => dtype.encode_int((random % 15) as i64 - 7, Narrowing::Saturate),
        Kind::Unsigned | Kind::Bool => dtype.encode_int((random % 15) as i64, Narrowing::Saturate),
    }
}
