//! What the engine remembers of launches.
//!
//! A **site** of a program is launched again and again, mostly with the same shapes: it keeps the instances and bindings of its last ones, so that neither the
//! kernel's key nor its binding is worked out anew. A launch that is **ready** keeps everything: it is the same each time but for numbers.
//!
//! ```text
//! launch(site, kernel, arguments)    at_site: known shapes? instance and binding  ->  ready  ->  start
//! prepare(site, kernel, arguments)   at_site  ->  ready  ->  kept under an id
//! again(id, numbers)                 numbers put in  ->  start
//! ```
//!
//! Where a kernel's grid or a condition depends on a number, every start binds anew.

use super::machine::{self, Bound, MachineArgument};
use super::{Engine, Instance};
use std::rc::Rc;
use tvmc_ir::host::Number;
use tvmc_ir::lane::Access;
use tvmc_ir::tile::launch::{ArgumentShape, Binding, bind};
use tvmc_ir::tile::{Kernel, TensorDecl};
use tvmc_model::executor::{Argument, Arrangement, DeviceError, Extent, LaunchId, Slice};
use tvmc_types::dtype::{DType, Kind};

/// Shapes that a site remembers. Few repeat; a long list would only be searched.
const REMEMBERED: usize = 8;

/// What a launch site did lately.
pub(super) struct Site {
    kernel: String,
    arguments: Vec<SiteArgument>,
    instance: Rc<Instance>,
    binding: Binding,
}

#[derive(PartialEq)]
enum SiteArgument {
    Tensor { shape: Vec<Extent>, element: String, arrangement: Arrangement, bytes: u64 },
    Scalar,
}

impl SiteArgument {
    fn of(argument: &Argument) -> Self {
        match argument {
            Argument::Tensor { slice, shape, element, arrangement } => SiteArgument::Tensor {
                shape: shape.clone(),
                element: element.clone(),
                arrangement: *arrangement,
                bytes: slice.bytes,
            },
            Argument::Scalar(_) => SiteArgument::Scalar,
        }
    }

    /// Whether everything that was checked for the known argument holds for this one.
    fn fits(&self, argument: &Argument) -> bool {
        match (self, argument) {
            (
                SiteArgument::Tensor { shape, element, arrangement, bytes },
                Argument::Tensor { slice, shape: s, element: e, arrangement: a },
            ) => shape == s && element == e && arrangement == a && *bytes == slice.bytes,
            (SiteArgument::Scalar, Argument::Scalar(_)) => true,
            (SiteArgument::Tensor { .. } | SiteArgument::Scalar, _) => false,
        }
    }
}

/// A launch with all that it needs.
pub(super) struct Ready {
    pub instance: Rc<Instance>,
    pub binding: Binding,
    pub arguments: Vec<MachineArgument>,
    /// The memory, as the machine binds it.
    pub bound: Bound,
    /// For binding anew; empty where the binding stays.
    pub shapes: Vec<ArgumentShape>,
}

impl Ready {
    /// Puts numbers in, each in place of an argument.
    pub fn with(&mut self, numbers: &[(usize, Number)]) -> Result<(), DeviceError> {
        let kernel = &self.instance.kernel;
        for (at, number) in numbers {
            let (Some(TensorDecl::Scalar { name, dtype }), Some(argument)) =
                (kernel.params.get(*at), self.arguments.get_mut(*at))
            else {
                return Err(machine::failure(format!("argument {at} of `{}` is no number", kernel.name)));
            };
            *argument = MachineArgument::Scalar(scalar_bits(name, *dtype, *number)?);
            if let Some(shape) = self.shapes.get_mut(*at) {
                *shape = ArgumentShape::Scalar(*number);
            }
        }
        if !self.shapes.is_empty() && !numbers.is_empty() {
            self.binding = bind(kernel, &self.shapes).map_err(machine::failure)?;
        }
        Ok(())
    }
}

/// Launches that are kept, by their ids.
#[derive(Default)]
pub(super) struct Launches {
    slots: Vec<Option<Ready>>,
    free: Vec<usize>,
}

impl Launches {
    pub fn add(&mut self, launch: Ready) -> LaunchId {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(launch);
                LaunchId(slot)
            }
            None => {
                self.slots.push(Some(launch));
                LaunchId(self.slots.len() - 1)
            }
        }
    }

    /// Takes a launch out for a start, after which it is put back.
    pub fn take(&mut self, launch: LaunchId) -> Result<Ready, DeviceError> {
        let slot = self.slots.get_mut(launch.0).and_then(Option::take);
        slot.ok_or_else(|| machine::failure("a launch that was forgotten"))
    }

    pub fn put_back(&mut self, launch: LaunchId, ready: Ready) {
        self.slots[launch.0] = Some(ready);
    }

    pub fn forget(&mut self, launch: LaunchId) {
        if self.slots.get_mut(launch.0).is_some_and(|slot| slot.take().is_some()) {
            self.free.push(launch.0);
        }
    }
}

impl Engine {
    /// The instance for a launch, and what its dimensions are.
    pub(super) fn at_site(
        &mut self,
        site: usize,
        kernel: &str,
        arguments: &[Argument],
        with: &[(String, i64)],
    ) -> Result<(Rc<Instance>, Binding), DeviceError> {
        let same = |known: &Site| {
            known.kernel == kernel
                && known.arguments.len() == arguments.len()
                && known.arguments.iter().zip(arguments).all(|(known, argument)| known.fits(argument))
        };
        if self.sites.len() <= site {
            self.sites.resize_with(site + 1, Vec::new);
        }
        if let Some(known) = self.sites[site].iter().find(|s| same(s)) {
            let (instance, binding) = (known.instance.clone(), known.binding.clone());
            let binding = if instance.scalar_grid { self.bind(&instance, arguments)? } else { binding };
            return Ok((instance, binding));
        }
        let key = self.key(kernel, arguments, with, &[])?;
        let instance = self.instance(&key)?;
        let binding = self.bind(&instance, arguments)?;
        if self.sites[site].len() >= REMEMBERED {
            self.sites[site].remove(0);
        }
        self.sites[site].push(Site {
            kernel: kernel.to_owned(),
            arguments: arguments.iter().map(SiteArgument::of).collect(),
            instance: instance.clone(),
            binding: binding.clone(),
        });
        Ok((instance, binding))
    }
}

/// The bits of a scalar argument in its parameter's dtype.
pub(super) fn scalar_bits(name: &str, dtype: DType, number: Number) -> Result<u32, DeviceError> {
    let bad = || DeviceError(format!("argument `{name}` is {number}, the kernel expects {dtype}"));
    match (dtype.kind(), number) {
        (Kind::Float, Number::Float(value)) => Ok((value as f32).to_bits()),
        (Kind::Float, Number::Int(value)) => Ok((value as f32).to_bits()),
        (Kind::Signed, Number::Int(value)) => i32::try_from(value).map(|v| v as u32).map_err(|_| bad()),
        (Kind::Unsigned, Number::Int(value)) => u32::try_from(value).map_err(|_| bad()),
        (Kind::Bool, Number::Bool(value)) => Ok(u32::from(value)),
        (Kind::Signed | Kind::Unsigned, Number::Float(_) | Number::Bool(_))
        | (Kind::Float, Number::Bool(_))
        | (Kind::Bool, Number::Int(_) | Number::Float(_)) => Err(bad()),
    }
}

/// Memory that a kernel writes must not overlap any other argument.
pub(super) fn overlaps(kernel: &Kernel, arguments: &[MachineArgument]) -> Result<(), DeviceError> {
    let slices: Vec<(Slice, Access)> = machine::tensors(kernel, arguments).collect();
    for (at, (a, access)) in slices.iter().enumerate() {
        if *access == Access::Read {
            continue;
        }
        for (other, (b, _)) in slices.iter().enumerate() {
            let disjoint =
                a.memory != b.memory || a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
            if at != other && !disjoint && a.bytes > 0 && b.bytes > 0 {
                let tensors: Vec<&str> = kernel
                    .params
                    .iter()
                    .filter(|p| matches!(p, TensorDecl::Tensor { .. }))
                    .map(TensorDecl::name)
                    .collect();
                return Err(DeviceError(format!(
                    "arguments `{}` and `{}` of `{}` overlap, and the first is written",
                    tensors[at], tensors[other], kernel.name
                )));
            }
        }
    }
    Ok(())
}
