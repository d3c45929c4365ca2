//! A kernel from source, launched on slices.
//!
//! An argument is a slice with its shape, row-major, or a number. Slices are copied into the machine's memory before a launch, and those that the
//! kernel writes are copied back after it. Memory is kept between launches and renewed only where an argument grows; instances are compiled
//! once for each combination of formats and specialised sizes.
//!
//! A tensor of a format is its bytes as declared ([`Argument::stored`]); what a generic parameter stands for follows from the
//! arguments, as for `tvmc run`.
//!
//! Refused: names that the kernel does not have, arguments missing or given twice, lengths that are not what the shape says, element types that
//! differ from the declaration, shapes that contradict each other, a slice to read for a parameter that is written.

use super::error::{Error, step};
use super::machine::Machine;
use crate::cli::MachineOptions;
use crate::engine::{Engine, Interface, InterfaceElement, InterfaceParam, Library};
use crate::output::{Said, captured};
use std::path::Path;
use std::rc::Rc;
use tvmc_ir::host::Number;
use tvmc_ir::lane::Access;
use tvmc_ir::tile::TensorDecl;
use tvmc_model::executor::{self, Arrangement, Device, DeviceError, Extent, MemoryId, Slice};

/// A type of elements that slices can have.
pub trait Element: bytemuck::Pod {
    /// The name of the dtype in the language.
    const DTYPE: &'static str;
}

macro_rules! elements {
    ($($ty:ty => $name:literal,)*) => { $(impl Element for $ty { const DTYPE: &'static str = $name; })* };
}

elements! {
    f32 => "f32",
    i32 => "i32",
    u32 => "u32",
    i16 => "i16",
    u16 => "u16",
    i8 => "i8",
    u8 => "u8",
    half::f16 => "f16",
    half::bf16 => "bf16",
}

/// The bytes of an argument.
enum Data<'a> {
    Read(&'a [u8]),
    Write(&'a mut [u8]),
    Number(Number),
}

/// An argument of a launch.
pub struct Argument<'a> {
    name: &'a str,
    data: Data<'a>,
    element: String,
    shape: Vec<u64>,
}

impl<'a> Argument<'a> {
    /// A tensor that the kernel only reads.
    pub fn read<T: Element>(name: &'a str, elements: &'a [T], shape: &[u64]) -> Self {
        Self::tensor(name, Data::Read(bytemuck::cast_slice(elements)), T::DTYPE, shape)
    }

    /// A tensor that the kernel writes, or reads and writes.
    pub fn write<T: Element>(name: &'a str, elements: &'a mut [T], shape: &[u64]) -> Self {
        Self::tensor(name, Data::Write(bytemuck::cast_slice_mut(elements)), T::DTYPE, shape)
    }

    /// A tensor of a format, or of a dtype below a byte, that the kernel only reads: its bytes as declared.
    pub fn stored(name: &'a str, format: &str, bytes: &'a [u8], shape: &[u64]) -> Self {
        Self::tensor(name, Data::Read(bytes), format, shape)
    }

    /// The same for one that the kernel writes.
    pub fn stored_write(name: &'a str, format: &str, bytes: &'a mut [u8], shape: &[u64]) -> Self {
        Self::tensor(name, Data::Write(bytes), format, shape)
    }

    /// A whole number, for a parameter or for a dimension that no tensor gives.
    pub fn integer(name: &'a str, value: i64) -> Self {
        Self::tensor(name, Data::Number(Number::Int(value)), "", &[])
    }

    /// A float parameter.
    pub fn float(name: &'a str, value: f64) -> Self {
        Self::tensor(name, Data::Number(Number::Float(value)), "", &[])
    }

    fn tensor(name: &'a str, data: Data<'a>, element: &str, shape: &[u64]) -> Self {
        Self { name, data, element: element.to_owned(), shape: shape.to_vec() }
    }

    fn wrong<T>(&self, why: impl Into<String>) -> Result<T, Error> {
        Err(Error::Argument { name: self.name.to_owned(), why: why.into() })
    }
}

/// A kernel on a machine.
pub struct Kernel {
    engine: Engine,
    name: String,
    interface: Rc<Interface>,
    /// By parameter: memory and its size.
    memory: Vec<Option<(MemoryId, u64)>>,
    with: Vec<(String, i64)>,
}

impl Kernel {
    /// Checks a source and prepares one of its kernels. `use` finds the standard library.
    pub fn compile(source: &str, kernel: &str, machine: &Machine) -> Result<Self, Error> {
        Self::of(step(|| Library::text("source", source))?, kernel, machine)
    }

    /// The same from a `.tile` file or a `.tvm` module; `use "other.tile"` finds files beside it.
    pub fn open(path: impl AsRef<Path>, kernel: &str, machine: &Machine) -> Result<Self, Error> {
        Self::of(step(|| Library::open(path.as_ref()))?, kernel, machine)
    }

    fn of(library: Library, kernel: &str, machine: &Machine) -> Result<Self, Error> {
        Self::on(library, kernel, &machine.options())
    }

    /// A kernel of a library.
    pub(crate) fn on(library: Library, kernel: &str, machine: &MachineOptions) -> Result<Self, Error> {
        let (interface, engine) = step(|| {
            library.check()?;
            let interface = library.required_interface(kernel)?;
            Ok((interface, Engine::new(library, machine)?))
        })?;
        let memory = vec![None; interface.params.len()];
        Ok(Self { engine, name: kernel.to_owned(), interface: Rc::new(interface), memory, with: Vec::new() })
    }

    /// Fixes a `tune` name or a constant choice for the launches to come, instead of the default rule.
    pub fn tune(&mut self, name: &str, value: i64) -> &mut Self {
        self.with.retain(|(known, _)| known != name);
        self.with.push((name.to_owned(), value));
        self
    }

    /// Runs the kernel over its grid, with arguments in any order. Gives the lines that it printed.
    pub fn launch(&mut self, arguments: &mut [Argument<'_>]) -> Result<Vec<String>, Error> {
        let interface = Rc::clone(&self.interface);
        for (at, argument) in arguments.iter().enumerate() {
            let is_dim = interface.dims.iter().any(|dim| dim == argument.name)
                && matches!(argument.data, Data::Number(_));
            if !is_dim && !interface.params.iter().any(|param| param.name() == argument.name) {
                return argument.wrong(format!("`{}` has no parameter of this name", self.name));
            }
            if arguments[..at].iter().any(|other| other.name == argument.name) {
                return argument.wrong("it is given twice");
            }
        }
        let mut ready = Vec::with_capacity(interface.params.len());
        for (at, param) in interface.params.iter().enumerate() {
            let Some(argument) = arguments.iter().find(|argument| argument.name == param.name()) else {
                let why = "it is missing".to_owned();
                return Err(Error::Argument { name: param.name().to_owned(), why });
            };
            ready.push(self.place(at, param, argument)?);
        }
        let dims: Vec<(String, u64)> = arguments
            .iter()
            .filter(|argument| interface.params.iter().all(|param| param.name() != argument.name))
            .filter_map(|argument| match argument.data {
                Data::Number(Number::Int(value)) => {
                    Some((argument.name.to_owned(), u64::try_from(value).ok()?))
                }
                Data::Number(Number::Float(_) | Number::Bool(_)) | Data::Read(_) | Data::Write(_) => None,
            })
            .collect();
        let (engine, name, with) = (&mut self.engine, &self.name, &self.with);
        let (launched, said) = captured(|| {
            let key = engine.key(name, &ready, with, &dims)?;
            let instance = engine.instance(&key)?;
            let binding = engine.bind(&instance, &ready)?;
            let printed = engine.run(&instance, &binding, &ready)?;
            Ok((instance, printed))
        });
        let (instance, printed) = launched.map_err(|e: DeviceError| Error::launch(&e, said))?;
        for (at, (decl, param)) in instance.kernel.params.iter().zip(&interface.params).enumerate() {
            let TensorDecl::Tensor { access, .. } = decl else { continue };
            let Some(argument) = arguments.iter_mut().find(|argument| argument.name == param.name()) else {
                continue;
            };
            match (&mut argument.data, access, self.memory[at]) {
                (_, Access::Read, _) | (_, _, None) | (Data::Number(_), _, _) => {}
                (Data::Read(_), Access::Write | Access::ReadWrite, _) => {
                    return argument.wrong("the kernel writes it: give it with `Argument::write`");
                }
                (Data::Write(bytes), Access::Write | Access::ReadWrite, Some((memory, _))) => {
                    self.engine.read(memory, 0, bytes).map_err(|e| Error::launch(&e, Said::default()))?;
                }
            }
        }
        Ok(printed)
    }

    /// Brings an argument to the machine.
    fn place(
        &mut self,
        at: usize,
        param: &InterfaceParam,
        argument: &Argument<'_>,
    ) -> Result<executor::Argument, Error> {
        let bytes: &[u8] = match &argument.data {
            Data::Number(number) => {
                return match param {
                    InterfaceParam::Scalar { .. } => Ok(executor::Argument::Scalar(*number)),
                    InterfaceParam::Tensor { .. } => argument.wrong("it is a tensor, not a number"),
                };
            }
            Data::Read(bytes) => bytes,
            Data::Write(bytes) => bytes,
        };
        let InterfaceParam::Tensor { element, .. } = param else {
            return argument.wrong("it is a number, not a tensor");
        };
        if let InterfaceElement::Named(expected) = element
            && *expected != argument.element
        {
            return argument
                .wrong(format!("elements of `{}`, the kernel expects `{expected}`", argument.element));
        }
        let input =
            |error: DeviceError| Error::Argument { name: argument.name.to_owned(), why: error.to_string() };
        let wanted = self.engine.tensor_bytes(&argument.element, &argument.shape).map_err(input)?;
        let given = bytes.len() as u64;
        if wanted != given {
            return argument.wrong(format!(
                "{given} bytes, its shape {:?} of `{}` takes {wanted}",
                argument.shape, argument.element
            ));
        }
        let memory = match self.memory[at] {
            Some((memory, size)) if size >= given => memory,
            known => {
                if let Some((old, _)) = known {
                    self.memory[at] = None;
                    self.engine.release(old).map_err(input)?;
                }
                let memory = self.engine.allocate(given, argument.name).map_err(input)?;
                self.memory[at] = Some((memory, given));
                memory
            }
        };
        self.engine.write(memory, 0, bytes).map_err(input)?;
        Ok(executor::Argument::Tensor {
            slice: Slice { memory, offset: 0, bytes: given },
            shape: argument.shape.iter().map(|&size| Extent { size, fixed: false }).collect(),
            element: argument.element.clone(),
            arrangement: Arrangement::Declared,
        })
    }
}
