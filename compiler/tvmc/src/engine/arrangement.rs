//! What kernels do with an argument, as far as it decides how the executor arranges memory.
//!
//! Asked of a sample instance: of the extents that are known before any call, and of a sample size for the others. Element types are no part of the question, so all generic
//! parameters are one type that fits them.
//!
//! ```text
//! dot(x[..], w[n +: 16, k +: 32].T)      multiplies: w is read faster when its rows are interleaved
//! k[pos, h +: 7] = ..                    stores in parts: of a type narrower than a byte, it shares bytes with what it does not write
//! scatter(k[n, ..], ..)                  stores in parts, whatever the type
//! ```

use super::interface::{InterfaceElement, InterfaceParam};
use super::library::Library;
use std::collections::{BTreeSet, HashMap};
use tvmc_ir::host::{Expr, Number};
use tvmc_ir::lane::Access;
use tvmc_ir::module::Key;
use tvmc_ir::tile::{Index, Kernel, Memory, Op, Param, Region, Stmt, Value};
use tvmc_lang::ast::GenericKind;
use tvmc_model::executor::DeviceError;
use tvmc_types::dtype::DType;

/// What dimensions are taken for that nothing is known of.
const SAMPLE_SIZE: u64 = 64;

impl Library {
    /// Whether a parameter is the right operand of a product, transposed: then lanes lie along its rows. `shapes` has what is known of the
    /// extents of each argument.
    pub fn multiplies(
        &self,
        kernel: &str,
        parameter: usize,
        shapes: &[Vec<Option<u64>>],
    ) -> Result<bool, DeviceError> {
        let interface = self.interface(kernel)?;
        match interface.params.get(parameter) {
            Some(InterfaceParam::Tensor { element: InterfaceElement::Generic(_), shape, .. })
                if shape.len() >= 2 => {}
            Some(InterfaceParam::Tensor { .. } | InterfaceParam::Scalar { .. }) | None => return Ok(false),
        }
        let kernel = self.sample(kernel, shapes)?;
        let mut transposed = BTreeSet::new();
        Ok(feeds_product(&kernel.body, Param(parameter as u32), &mut transposed))
    }

    /// Whether a kernel stores to a parameter with such elements in a way that only the declared order admits: to computed places, or to elements that share a
    /// byte with others.
    pub fn stores_in_parts(
        &self,
        kernel: &str,
        parameter: usize,
        element: &str,
        shapes: &[Vec<Option<u64>>],
    ) -> Result<bool, DeviceError> {
        let interface = self.interface(kernel)?;
        match interface.declared.params.get(parameter).map(|param| param.access) {
            Some(Access::Write | Access::ReadWrite) => {}
            Some(Access::Read) | None => return Ok(false),
        }
        // Elements that fill bytes together.
        let together = match DType::from_name(element) {
            Some(dtype) if dtype.bits() < 8 => 8 >> dtype.bits().trailing_zeros(),
            Some(_) | None => 1,
        };
        let columns = shapes.get(parameter).and_then(|shape| shape.last().copied().flatten());
        let rows_end_within_bytes = columns.is_none_or(|columns| columns % u64::from(together) != 0);
        let memory = Memory::Param(Param(parameter as u32));
        // A kernel that refuses the sample says nothing of itself.
        let Ok(sample) = self.sample(kernel, shapes) else { return Ok(false) };
        let mut parts = false;
        sample.body.visit(&mut |inst| {
            if let Op::Store { memory: to, indices } = &inst.op
                && *to == memory
                && together > 1
            {
                let whole = matches!(indices.last(), Some(Index::Slice(size)) if size % together == 0);
                parts |= rows_end_within_bytes || !whole;
            }
            parts |= matches!(&inst.op, Op::Scatter { memory: to } | Op::Atomic { memory: to, .. } if *to == memory);
        });
        Ok(parts)
    }

    fn sample(&self, kernel: &str, shapes: &[Vec<Option<u64>>]) -> Result<Kernel, DeviceError> {
        let interface = self.interface(kernel)?;
        let mut known: HashMap<&str, u64> = HashMap::new();
        for (param, extents) in interface.params.iter().zip(shapes) {
            let InterfaceParam::Tensor { shape, .. } = param else { continue };
            for (expr, extent) in shape.iter().zip(extents) {
                if let (Expr::Name(dim), Some(size)) = (expr, extent) {
                    known.insert(dim, *size);
                }
            }
        }
        let size = |name: &str| known.get(name).copied().unwrap_or(SAMPLE_SIZE);
        let element = |kind: GenericKind| match kind {
            GenericKind::Int => "i32".to_owned(),
            GenericKind::Format | GenericKind::Float | GenericKind::Dtype => "f32".to_owned(),
        };
        let generics = interface.declared.generics.iter();
        let key = Key {
            kernel: kernel.to_owned(),
            elements: generics.map(|g| (g.name.clone(), element(g.kind))).collect(),
            dims: interface.declared.dims.iter().map(|d| (d.name.clone(), size(&d.name))).collect(),
            tunes: interface.choose(&|name| Some(Number::Int(size(name) as i64)), &[])?,
        };
        self.instantiate(&key)
    }
}

/// Whether a load of this parameter reaches the right operand of a `dot` through a transposition.
fn feeds_product(region: &Region, param: Param, loaded: &mut BTreeSet<(Value, bool)>) -> bool {
    region.stmts.iter().any(|stmt| match stmt {
        Stmt::Inst(inst) => {
            let reached = |at: usize, flipped: bool, loaded: &BTreeSet<(Value, bool)>| {
                inst.args.get(at).is_some_and(|a| loaded.contains(&(*a, flipped)))
            };
            match (&inst.op, inst.result) {
                (Op::Load { memory: Memory::Param(p), .. }, Some(result)) if *p == param => {
                    loaded.insert((result, false));
                }
                (Op::Permute(_), Some(result)) if reached(0, false, loaded) => {
                    loaded.insert((result, true));
                }
                (Op::Cast(_), Some(result)) => {
                    for flipped in [false, true] {
                        if reached(0, flipped, loaded) {
                            loaded.insert((result, flipped));
                        }
                    }
                }
                (Op::Dot, _) => return reached(1, true, loaded),
                (_, _) => {}
            }
            false
        }
        Stmt::For { body, .. } | Stmt::Loop { body, .. } => feeds_product(body, param, loaded),
        Stmt::If { then, otherwise, .. } => {
            feeds_product(then, param, loaded) || feeds_product(otherwise, param, loaded)
        }
    })
}
