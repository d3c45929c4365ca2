//! Running a lane function of a filetest: a `.lir` file in `run`.
//!
//! ```text
//! ;; arg x: f32[24] = random 3              a buffer, by its name: what its bytes are compared and shown as
//! ;; out y: i32[8]
//! ;; arg s = 7                              a scalar
//! ;; grid 2                                 blocks; 1 on every axis that is not given
//! ;; machines exact 4                       WGSL may differ by 4 units in the last place of a float; `native` leaves it out
//! ```
//!
//! The lane interpreter is what is pinned. Permuted lanes, Cranelift, x86 at every level of this host and WGSL must leave the same.

use super::{FileTest, launch};
use crate::generate::Data;
use crate::machines::{LaneBuffer, Machines};
use tvmc_ir::lane::{self, Access, Scalar};
use tvmc_ir::tile::Element;
use tvmc_types::dtype::DType;

/// The writable buffers after the launch.
pub fn run(test: &FileTest) -> Result<String, String> {
    let function = lane::parse(&test.source).map_err(|e| e.to_string())?;
    let function = lane::verify(function).map_err(|errors| errors[0].to_string())?;
    let mut buffers = Vec::new();
    for decl in &function.buffers {
        let (dtype, count, bytes) = buffer(launch::given(test, &decl.name)?)?;
        buffers.push(LaneBuffer { dtype, count, bytes, written: decl.access != Access::Read });
    }
    let mut scalars = Vec::new();
    for decl in &function.scalars {
        let text = launch::given(test, &decl.name)?;
        let (_, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME = VALUE"))?;
        let dtype = match decl.scalar {
            Scalar::F32 => DType::F32,
            Scalar::I32 => DType::I32,
            Scalar::I64 => DType::I64,
            Scalar::Bool => DType::BOOL,
        };
        scalars.push(launch::code(dtype, value.trim())?);
    }
    let mut grid = [1u32; 3];
    for (axis, word) in grid.iter_mut().zip(test.all("grid").flat_map(str::split_whitespace)) {
        *axis = word.parse().map_err(|_| format!("`grid {word}`"))?;
    }
    let gpu = match test.one("machines").unwrap_or("exact") {
        "native" => None,
        text => {
            let ulps =
                text.strip_prefix("exact").ok_or("`machines` is `exact`, `exact N` or `native`")?.trim();
            Some(if ulps.is_empty() { 0 } else { ulps.parse().map_err(|_| format!("`machines {text}`"))? })
        }
    };
    let (memory, ran) =
        Machines::open().check_lanes(&function, grid, &scalars, &buffers, gpu).map_err(|e| e.to_string())?;
    super::skips_are_stated(test, &ran)?;
    let mut text = String::new();
    for ((decl, buffer), bytes) in function.buffers.iter().zip(&buffers).zip(memory) {
        if buffer.written {
            let lanes = (function.lanes as usize).min(buffer.count).max(1);
            let whole = buffer.count.is_multiple_of(lanes);
            let shape = if whole { vec![buffer.count / lanes, lanes] } else { vec![buffer.count] };
            let shape = shape.into_iter().map(|extent| extent as u64).collect();
            let element = Element::DType(buffer.dtype);
            launch::show(
                &mut text,
                &decl.name,
                &Data { shape, element, bytes, written: true, packed: false },
            );
        }
    }
    Ok(text)
}

/// `x: f32[24] = 1 2 3`, padded to words.
fn buffer(text: &str) -> Result<(DType, usize, Vec<u8>), String> {
    let bad = || format!("`{text}` is not NAME: DTYPE[COUNT] = VALUES");
    let (declared, values) = text.split_once('=').unwrap_or((text, "0"));
    let (_, ty) = declared.split_once(':').ok_or_else(bad)?;
    let (dtype, count) = ty.trim().strip_suffix(']').and_then(|t| t.split_once('[')).ok_or_else(bad)?;
    let dtype = DType::from_name(dtype).ok_or_else(bad)?;
    let count: usize = count.trim().parse().map_err(|_| bad())?;
    if count > 1 << 16 {
        return Err(format!("`{text}`: at most 65536 elements"));
    }
    let mut bytes = launch::plain(dtype, count, values.trim())?;
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Ok((dtype, count, bytes))
}
