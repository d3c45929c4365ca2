//! Names of a kernel in C.
//!
//! ```text
//! kernel double(x: f32[N], x_bytes: i32, linux: i32)   ->   double_(int64_t N, const float *x, size_t x_bytes_, int32_t x_bytes, int32_t linux_)
//! ```
//!
//! A name of the source stays as it is where C lets it. One that C keeps for itself (`reserved.txt`; a name that begins with `_` or `tvmc_`, or
//! ends with `_t`) gets a `_` at its end, and another for as long as the result is taken. Lengths give way to names of the source. The names
//! that the wrapper makes up begin with `tvmc_` and end with a letter, so nothing here can meet them.

use std::collections::HashSet;
use tvmc_ir::tile::{Kernel, TensorDecl};

/// Words that stay out of headers, sorted by what keeps them.
const RESERVED: &str = include_str!("reserved.txt");

/// The C names of a kernel's function, dimensions and arguments.
pub struct Names {
    /// The function's.
    pub symbol: String,
    dims: Vec<String>,
    params: Vec<String>,
    lengths: Vec<Option<String>>,
}

fn reserved(name: &str) -> bool {
    let words = || RESERVED.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    name.starts_with('_')
        || name.starts_with("tvmc_")
        || name.ends_with("_t")
        || words().any(|word| word == name)
}

/// The name with as many `_` at its end as it takes to be free.
fn free(name: &str, taken: &mut HashSet<String>) -> String {
    let mut name = if reserved(name) { format!("{name}_") } else { name.to_owned() };
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

impl Names {
    /// Chooses the names.
    pub fn of(kernel: &Kernel) -> Self {
        let symbol = free(&kernel.name, &mut HashSet::new());
        let guard = symbol.to_uppercase();
        let mut taken: HashSet<String> = [symbol.clone(), format!("{symbol}_block")].into_iter().collect();
        taken.extend(["H", "DEFINED", "IMPLEMENTATION"].map(|end| format!("{guard}_{end}")));
        let dims = kernel.dims.iter().map(|dim| free(&dim.name, &mut taken)).collect();
        let name = |param: &TensorDecl| match param {
            TensorDecl::Tensor { name, .. } | TensorDecl::Scalar { name, .. } => name.clone(),
        };
        let params: Vec<String> = kernel.params.iter().map(|param| free(&name(param), &mut taken)).collect();
        let lengths = std::iter::zip(&kernel.params, &params)
            .map(|(param, name)| match param {
                TensorDecl::Tensor { .. } => Some(free(&format!("{name}_bytes"), &mut taken)),
                TensorDecl::Scalar { .. } => None,
            })
            .collect();
        Self { symbol, dims, params, lengths }
    }

    /// Of the dimension at a position.
    pub fn dim(&self, at: usize) -> &str {
        &self.dims[at]
    }

    /// Of the argument at a position.
    pub fn param(&self, at: usize) -> &str {
        &self.params[at]
    }

    /// Of the length of the tensor at a position.
    pub fn length(&self, at: usize) -> &str {
        self.lengths[at].as_deref().unwrap_or_default()
    }

    /// The beginning of the header's macros.
    pub fn guard(&self) -> String {
        self.symbol.to_uppercase()
    }
}
