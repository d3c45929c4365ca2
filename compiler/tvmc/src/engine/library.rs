//! lite adapter (not committed)
use super::InstanceKey;
use crate::commands::Failure;
use std::collections::HashMap;
use std::path::Path;
use tvmc_ir::host::{Expr, Number};
use tvmc_ir::program::Program;
use tvmc_ir::tile::Kernel;
use tvmc_model::executor::DeviceError;
use tvmc_sema_lite as lite;
use tvmc_types::dtype::DType;

#[derive(Clone, Debug)]
pub enum InterfaceElement { Generic(String), Named(String) }
#[derive(Clone, Debug)]
pub enum InterfaceParam { Tensor { name: String, element: InterfaceElement, shape: Vec<Expr> }, Scalar { name: String, dtype: DType } }
impl InterfaceParam { pub fn name(&self) -> &str { match self { InterfaceParam::Tensor { name, .. } | InterfaceParam::Scalar { name, .. } => name } } }
#[derive(Clone, Debug)]
pub struct Interface { pub params: Vec<InterfaceParam>, pub required: Vec<String>, pub tunes: Vec<String>, list: Vec<(String, Vec<Expr>, Option<Expr>)> }
impl Interface {
    pub fn choose(&self, names: &dyn Fn(&str) -> Option<Number>, with: &[(String, i64)]) -> Result<Vec<(String, i64)>, DeviceError> {
        let mut out = vec![];
        for (n, vals, fit) in &self.list {
            if let Some(w) = with.iter().find(|w| w.0 == *n) { out.push(w.clone()); continue; }
            let vals: Vec<i64> = vals.iter().map(|v| v.eval_int(names).unwrap()).collect();
            let v = match fit { None => vals[0], Some(f) => { let s = f.eval_int(names).map_err(|e| DeviceError(e.to_string()))?; vals.iter().copied().find(|v| *v <= s).unwrap_or(*vals.last().unwrap()) } };
            out.push((n.clone(), v));
        }
        Ok(out)
    }
}
pub struct Library { lib: lite::Lib, interfaces: HashMap<String, Interface>, main: Vec<String> }
impl Library {
    fn make(sources: Vec<(String, String)>) -> Result<Self, Failure> {
        let mut all: Vec<(String, String)> = tvmc_stdlib::MODULES.iter().map(|m| (m.name.to_owned(), m.source.to_owned())).collect();
        all.extend(sources);
        let lib = lite::Lib::new(&all).map_err(Failure::user)?;
        let mut interfaces = HashMap::new();
        let mut main = vec![];
        for (f, file) in lib.files.iter().enumerate() { for item in &file.items { if let tvmc_lang::ast::ItemKind::Kernel(k) = &item.kind {
            let name = k.name.name.clone();
            let i = lite::iface(&lib, &name).map_err(Failure::user)?;
            if f == lib.files.len() - 1 { main.push(name.clone()); }
            interfaces.insert(name, Interface { params: i.params.iter().map(|(n, t, d, _)| match t { Some((el, s)) => InterfaceParam::Tensor { name: n.clone(), element: match el { Ok(x) => InterfaceElement::Named(x.clone()), Err(g) => InterfaceElement::Generic(g.clone()) }, shape: s.clone() }, None => InterfaceParam::Scalar { name: n.clone(), dtype: *d } }).collect(), required: i.required, tunes: i.tunes.iter().map(|t| t.0.clone()).collect(), list: i.tunes });
        } } }
        Ok(Self { lib, interfaces, main })
    }
    pub fn standard(_m: &str) -> Result<Self, Failure> { Self::make(vec![]) }
    pub fn open(p: &Path) -> Result<Self, Failure> { let t = std::fs::read_to_string(p).map_err(|e| Failure::user(e.to_string()))?; Self::make(vec![(p.display().to_string(), t)]) }
    pub fn check(&self) -> Result<(), Failure> { Ok(()) }
    pub fn printed(&self) -> String { String::new() }
    pub fn kernel_names(&self) -> Vec<String> { self.main.clone() }
    pub fn program_names(&self) -> Vec<String> { vec![] }
    pub fn program(&self, n: &str) -> Result<Program, Failure> { lite::program(&self.lib, n).map_err(Failure::user) }
    pub fn interface(&self, k: &str) -> Result<&Interface, DeviceError> { self.interfaces.get(k).ok_or_else(|| DeviceError(format!("no kernel {k}"))) }
    pub fn instantiate(&self, key: &InstanceKey) -> Result<Kernel, DeviceError> { lite::instantiate(&self.lib, &key.kernel, &lite::Inst { elements: key.elements.clone(), dims: key.dims.clone(), tunes: key.tunes.clone() }).map_err(DeviceError) }
    pub fn group_bytes(&self, e: &str) -> Result<usize, DeviceError> { if let Some(d) = DType::from_name(e) { return Ok(d.bits() as usize / 8); } Ok(lite::format_named(&self.lib, e).map_err(DeviceError)?.bytes as usize) }
    pub fn multiplies(&self, kernel: &str, p: usize) -> Result<bool, DeviceError> { Ok(kernel.starts_with("linear") && p == 1) }
    pub fn tensor_bytes(&self, e: &str, shape: &[u64]) -> Result<u64, DeviceError> {
        if let Some(d) = DType::from_name(e) { return Ok((shape.iter().product::<u64>() * d.bits() as u64).div_ceil(8)); }
        let f = lite::format_named(&self.lib, e).map_err(DeviceError)?;
        let (l, o) = shape.split_last().unwrap();
        Ok(o.iter().product::<u64>() * f.row_bytes(*l).unwrap())
    }
}
