//! Tuned choices: which values of a kernel's `tune` names were measured to be the fastest on this machine.
//!
//! **What it maps.** A [`Case`] (a kernel, its element types, the sizes it is specialised to, the others to the next power of two, and which arguments
//! lie packed) to one value for each tune name. Cases are looked up whenever an instance's key is made; where there is none, the kernel's own rule decides:
//! the first listed value, or the one that `fit`s.
//!
//! ```text
//! linear<W=q4_1 packed, X=act8>[K=576, M<=1, N=1536]   ->   BM = 1, BN = 64
//! ```
//!
//! **When a choice holds.** It is stored for one machine (target, processor or device, driver, threads) and for the text of the kernel's source and of the formats: with
//! another text it is passed over. Nobody believes the file: a value that the kernel does not offer is passed over as well. What the source fixes
//! (`with`) and the user sets (`--set`) comes first, and `--tuned off` leaves all of it aside.
//!
//! On CPU targets no tune name changes any bit of a result (`ARCHITECTURE.md`, order of arithmetic), so neither does tuning.
//!
//! * [`store`] is the file, * [`measure`] times candidates, in place of launching them once.

mod measure;
mod store;

pub use measure::{Measured, Measurements};
pub use store::{Choices, Stored};

use sha2::{Digest, Sha256};

use super::{InstanceKey, Interface, InterfaceParam, Library};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use tvmc_ir::host::Expr;
use tvmc_model::executor::{Argument, Arrangement, DeviceError};

/// Values of tune names.
pub type Tunes = Vec<(String, i64)>;

/// What a choice is for. The text form is what the file holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Case {
    kernel: String,
    /// Generic parameters with their element types.
    elements: Vec<(String, String)>,
    /// Tensors that lie packed.
    packed: Vec<String>,
    /// Sizes that an instance is specialised to.
    exact: Vec<(String, u64)>,
    /// Other sizes, rounded up to powers of two.
    within: Vec<(String, u64)>,
}

impl Case {
    /// The case of a launch whose instance has this key.
    pub fn of(interface: &Interface, key: &InstanceKey, arguments: &[Argument]) -> Self {
        let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
        let mut packed = Vec::new();
        for (param, argument) in interface.params.iter().zip(arguments) {
            let (
                InterfaceParam::Tensor { name, shape, .. },
                Argument::Tensor { shape: given, arrangement, .. },
            ) = (param, argument)
            else {
                continue;
            };
            if *arrangement == Arrangement::Packed {
                packed.push(name.clone());
            }
            for (expr, extent) in shape.iter().zip(given) {
                if let Expr::Name(dim) = expr {
                    sizes.insert(dim, extent.size);
                }
            }
        }
        let exact: Vec<(String, u64)> = key.choices.dims.clone();
        let within = sizes
            .into_iter()
            .filter(|(name, _)| !exact.iter().any(|(n, _)| n == name))
            .map(|(name, size)| (name.to_owned(), size.checked_next_power_of_two().unwrap_or(u64::MAX)))
            .collect();
        Case {
            kernel: key.choices.kernel.clone(),
            elements: key.choices.elements.clone(),
            packed,
            exact,
            within,
        }
    }

    /// The kernel's name.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// A digest of everything in the source that decides how fast the candidates are: the file of the kernel, and the formats of its arguments.
    pub fn digest(&self, library: &Library) -> Result<String, DeviceError> {
        let mut text = library.kernel_source(&self.kernel).unwrap_or_default().to_owned();
        for (_, element) in &self.elements {
            text += &library.format_text(element)?;
        }
        Ok(digest(&text))
    }
}

impl Display for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let elements: Vec<String> =
            self.elements.iter().map(|(name, element)| format!("{name}={element}")).collect();
        let exact = self.exact.iter().map(|(name, size)| format!("{name}={size}"));
        let sizes: Vec<String> =
            exact.chain(self.within.iter().map(|(name, size)| format!("{name}<={size}"))).collect();
        write!(f, "{}<{}>[{}]", self.kernel, elements.join(", "), sizes.join(", "))?;
        if self.packed.is_empty() { Ok(()) } else { write!(f, " {} packed", self.packed.join(", ")) }
    }
}

/// The first 16 hexadecimal digits of a text's SHA-256.
fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// How an engine chooses values of tune names.
#[derive(Debug, Default)]
pub enum Tuning {
    /// By the kernels' own rules.
    #[default]
    Rules,
    /// As stored, else by the rules.
    Stored(Choices),
    /// Every launch times a candidate.
    Measuring(Measurements),
}
