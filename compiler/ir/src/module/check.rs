//! What makes a module sound, beyond the soundness of each IR text in it.

use super::read::first;
use super::{FormatSize, Instance, Key, Module, ModuleError, Tuning, Wanted};
use crate::host::Number;
use crate::program::{Interface, Parameter, ParameterElement, verify_launches};
use std::collections::{HashMap, HashSet};
use tvmc_types::dtype::DType;

impl Module {
    /// Whether the parts fit together:
    ///
    /// * **Sorted.** Lists that the fields call sorted are, without repetition; so are the lists of a key.
    /// * **Sources** have different, non-empty names; imports lead from and to sources.
    /// * **Interfaces** are sound ([`Interface::check`]).
    /// * **Programs** launch kernels that have an interface, and fit it ([`verify_launches`]).
    /// * **Instances**: the key names a kernel with an interface, chooses every generic parameter and tune name, gives every dimension
    ///   that must be given, and nothing else; the kernel has the name and parameters that follow.
    /// * **Formats**: those of instances are listed, and have the listed sizes; none is empty or called like a dtype.
    /// * **Settings** are numbers of hyper-parameters of a program, of their kind; none is NaN.
    /// * **Tunings** have a machine and a key as instances have; a machine has one for the same kernel, elements and sizes.
    pub fn check(&self) -> Result<(), ModuleError> {
        sorted("imports", self.imports.iter().map(|i| &i.wanted))?;
        sorted("interfaces", self.interfaces.iter().map(|i| &i.name))?;
        sorted("programs", self.programs.iter().map(|p| &p.name))?;
        sorted("instances", self.instances.iter().map(|i| &i.key))?;
        sorted("formats", self.formats.iter().map(|f| &f.name))?;
        sorted("settings", self.settings.iter().map(|(name, _)| name))?;
        sorted("tunings", self.tunings.iter())?;
        self.sources()?;
        for interface in &self.interfaces {
            let invalid = |message| invalid(format!("interface {:?}", interface.name), message);
            interface.check().or_else(invalid)?;
        }
        let interfaces: HashMap<&str, &Interface> =
            self.interfaces.iter().map(|i| (i.name.as_str(), i)).collect();
        for program in &self.programs {
            verify_launches(program, &|name| interfaces.get(name).copied())
                .or_else(|errors| invalid(format!("program {:?}", program.name), first(&errors)))?;
        }
        let formats: HashMap<&str, &FormatSize> = self.formats.iter().map(|f| (f.name.as_str(), f)).collect();
        for format in &self.formats {
            let what = || format!("format {:?}", format.name);
            if format.group == 0 || format.bytes == 0 || format.name.is_empty() {
                return invalid(what(), "it has no name, no elements or no bytes");
            }
            if DType::from_name(&format.name).is_some() {
                return invalid(what(), "a dtype has this name");
            }
        }
        for instance in &self.instances {
            let what = || format!("instance of {:?}", instance.key.kernel);
            let interface = checked_key(&instance.key, &interfaces).or_else(|m| invalid(what(), m))?;
            agrees(instance, interface, &formats).or_else(|m| invalid(what(), m))?;
        }
        // The values come last in the order, so that two choices for the same stand side by side.
        for pair in self.tunings.windows(2) {
            let site = |t: &Tuning| {
                (t.machine.clone(), t.key.kernel.clone(), t.key.elements.clone(), t.key.dims.clone())
            };
            if site(&pair[0]) == site(&pair[1]) {
                return invalid(format!("tuning of {:?}", pair[0].key.kernel), "it is chosen twice");
            }
        }
        for tuning in &self.tunings {
            let what = || format!("tuning of {:?}", tuning.key.kernel);
            if tuning.machine.is_empty() {
                return invalid(what(), "it has no machine");
            }
            checked_key(&tuning.key, &interfaces).or_else(|m| invalid(what(), m))?;
        }
        self.settings()
    }

    fn sources(&self) -> Result<(), ModuleError> {
        let mut names = HashSet::new();
        for source in &self.sources {
            if source.name.is_empty() || !names.insert(&source.name) {
                return invalid(format!("source {:?}", source.name), "its name is empty or taken");
            }
        }
        for import in &self.imports {
            let (from, name) = match &import.wanted {
                Wanted::Library(name) => (0, name),
                Wanted::File { from, path } => (*from, path),
            };
            if from.max(import.source) as usize >= self.sources.len() || name.is_empty() {
                return invalid(format!("import {name:?}"), "it has no name, or leads to or from no source");
            }
        }
        Ok(())
    }

    fn settings(&self) -> Result<(), ModuleError> {
        let hypers: HashSet<(&str, DType)> =
            self.programs.iter().flat_map(|p| &p.hypers).map(|h| (h.name.as_str(), h.dtype)).collect();
        for (name, number) in &self.settings {
            let dtype = match number {
                Number::Int(value) if i32::try_from(*value).is_ok() => DType::I32,
                Number::Float(value) if !value.is_nan() => DType::F32,
                Number::Int(_) | Number::Float(_) | Number::Bool(_) => {
                    return invalid(format!("setting {name:?}"), "it is no i32 or f32");
                }
            };
            if !hypers.contains(&(name.as_str(), dtype)) {
                let message = format!("no program has such a hyper-parameter of {dtype}");
                return invalid(format!("setting {name:?}"), message);
            }
        }
        Ok(())
    }
}

fn invalid<T>(what: impl Into<String>, message: impl Into<String>) -> Result<T, ModuleError> {
    Err(ModuleError::Invalid { what: what.into(), message: message.into() })
}

fn sorted<T: Ord>(what: &str, items: impl Iterator<Item = T>) -> Result<(), ModuleError> {
    if items.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    invalid(what, "they are not sorted, or one stands twice")
}

/// The interface of a key's kernel, if the key suits it.
fn checked_key<'i>(key: &Key, interfaces: &HashMap<&str, &'i Interface>) -> Result<&'i Interface, String> {
    let Some(interface) = interfaces.get(key.kernel.as_str()).copied() else {
        return Err("its kernel has no interface here".to_owned());
    };
    let names = |list: &mut dyn Iterator<Item = &str>| {
        let names: Vec<String> = list.map(str::to_owned).collect();
        names.is_sorted_by(|a, b| a < b).then_some(names)
    };
    let all = |list: &mut dyn Iterator<Item = &str>| {
        let mut names: Vec<String> = list.map(str::to_owned).collect();
        names.sort();
        Some(names)
    };
    if names(&mut key.elements.iter().map(|(n, _)| n.as_str()))
        != all(&mut interface.generics.iter().map(|g| g.name.as_str()))
    {
        return Err("its key does not choose the generic parameters, in order of their names".to_owned());
    }
    if names(&mut key.tunes.iter().map(|(n, _)| n.as_str()))
        != all(&mut interface.tunes.iter().map(|t| t.name.as_str()))
    {
        return Err("its key does not choose the tune names, in order".to_owned());
    }
    if names(&mut key.dims.iter().map(|(n, _)| n.as_str())).is_none() {
        return Err("the dimensions of its key are not in order".to_owned());
    }
    for (name, value) in &key.tunes {
        if !interface.tunes.iter().any(|t| t.name == *name && t.values.contains(value)) {
            return Err(format!("{value} is not offered for `{name}`"));
        }
    }
    let given: HashSet<&str> = key.dims.iter().map(|(n, _)| n.as_str()).collect();
    if let Some(dim) = interface.dims.iter().find(|d| d.specialised && !given.contains(d.name.as_str())) {
        return Err(format!("its key does not give `{}`", dim.name));
    }
    if let Some((name, _)) = key.dims.iter().find(|(n, _)| !interface.dims.iter().any(|d| d.name == *n)) {
        return Err(format!("`{name}` is no dimension"));
    }
    Ok(interface)
}

/// Whether an instance's kernel is what its key and interface say.
fn agrees(
    instance: &Instance,
    interface: &Interface,
    formats: &HashMap<&str, &FormatSize>,
) -> Result<(), String> {
    let (key, kernel) = (&instance.key, &instance.kernel);
    let base = key.kernel.rsplit("::").next().unwrap_or_default();
    if kernel.name != base {
        return Err(format!("its code is that of `{}`", kernel.name));
    }
    let mut left: Vec<&str> = interface.dims.iter().map(|d| d.name.as_str()).collect();
    left.retain(|d| !key.dims.iter().any(|(n, _)| n == d));
    if !kernel.dims.iter().map(|d| d.name.as_str()).eq(left) {
        return Err("its dimensions are not those that the key leaves open".to_owned());
    }
    for format in &kernel.formats {
        match formats.get(format.name.as_str()) {
            Some(listed) if **listed == FormatSize::from(format) => {}
            Some(_) => return Err(format!("format `{}` is listed with other sizes", format.name)),
            None => return Err(format!("format `{}` is not listed", format.name)),
        }
    }
    let chosen = |generic: &str| key.elements.iter().find(|(n, _)| n == generic).map(|(_, e)| e.as_str());
    let own = Interface::from(&**kernel);
    if own.params.len() != interface.params.len() {
        return Err(format!("it has {} parameters, not {}", own.params.len(), interface.params.len()));
    }
    for (has, wants) in own.params.iter().zip(&interface.params) {
        let same = match (has, wants) {
            (
                Parameter::Tensor { name, element, shape, access },
                Parameter::Tensor { name: n, element: e, shape: s, access: a },
            ) => {
                let element = match element {
                    ParameterElement::DType(dtype) => dtype.name(),
                    ParameterElement::Format(name) | ParameterElement::Generic(name) => name,
                };
                let wanted = match e {
                    ParameterElement::DType(dtype) => Some(dtype.name()),
                    ParameterElement::Format(name) => Some(name.as_str()),
                    ParameterElement::Generic(generic) => chosen(generic),
                };
                name == n && shape.len() == s.len() && access == a && wanted == Some(element)
            }
            (Parameter::Scalar { name, dtype }, Parameter::Scalar { name: n, dtype: d }) => {
                name == n && dtype == d
            }
            (Parameter::Tensor { .. }, Parameter::Scalar { .. })
            | (Parameter::Scalar { .. }, Parameter::Tensor { .. }) => false,
        };
        if !same {
            return Err(format!("its parameter `{}` is not that of its interface and key", has.name()));
        }
    }
    Ok(())
}
