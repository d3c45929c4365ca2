//! A case as a filetest: what a fuzzer found, to be pasted into `tests/filetests/run`.
//!
//! ```text
//! ;; arg t0: f32[3] = 0x3f800000 0x0 0x7fc00000     every element by its code, so that nothing is lost
//! ;; packed t0
//! kernel @random ..
//! ; ---- expected                                   what the tile interpreter gives
//! ```

use super::{MARKER, launch};
use crate::generate::{Argument, Case};
use tvmc_ir::tile::{Element, TensorDecl};
use tvmc_types::packing::get_bits;

/// Work that the kernel may need.
const FUEL: u64 = 1 << 32;

/// The text of a `.tir` file for the stage `run`.
pub fn paste(case: &Case) -> String {
    let mut text = String::new();
    for (argument, param) in case.arguments.iter().zip(&case.kernel.params) {
        let name = param.name();
        let written =
            matches!(param, TensorDecl::Tensor { access, .. } if *access != tvmc_ir::tile::Access::Read);
        match argument {
            Argument::Scalar(_, bits) => text += &format!(";; arg {name} = {bits:#x}\n"),
            Argument::Tensor(data) => {
                let word = if written { "out" } else { "arg" };
                let count = data.shape.iter().product::<u64>() as usize;
                let (element, values): (String, Vec<String>) = match data.element {
                    Element::DType(dtype) => (
                        dtype.to_string(),
                        (0..count)
                            .map(|at| format!("{:#x}", get_bits(&data.bytes, at, dtype.bits())))
                            .collect(),
                    ),
                    Element::Format(id) => (
                        case.kernel.formats[id.index()].name.clone(),
                        data.bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
                    ),
                };
                text += &format!(";; {word} {name}: {element}{:?} = {}\n", data.shape, values.join(" "));
                if data.packed {
                    text += &format!(";; packed {name}\n");
                }
            }
        }
    }
    if !case.portable {
        text += ";; machines native\n";
    }
    text += &case.kernel.to_string();
    text += &format!("; {MARKER}\n");
    let expected = match case.interpret(FUEL) {
        Ok(Ok(outcome)) => launch::shown(&case.kernel, &outcome),
        Ok(Err(trap)) => format!("trap: {trap}"),
        Err(error) => format!("refused: {error}"),
    };
    for line in expected.trim_end().lines() {
        text += &format!("; {line}\n");
    }
    text
}
