//! Where weights come from: named tensors, and numbers beside them.
//!
//! A file is one source ([`Weights`]); arrays that a caller holds are another, alone or in front of a file.

use tvmc_weights::Weights;
use tvmc_weights::gguf::Metadata;

/// A tensor of a source.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SourceTensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dimensions, slowest first.
    pub shape: &'a [u64],
    /// The name of its number format or dtype.
    pub format: &'a str,
    /// Its bytes, as the format lays them out.
    pub bytes: &'a [u8],
}

/// See the module head.
pub trait WeightSource {
    /// The numbers that a program's hyper-parameters name.
    fn metadata(&self) -> Option<&Metadata>;

    /// The place of the tensor of this name.
    fn find(&self, name: &str) -> Option<usize>;

    /// The tensor at a place that [`Self::find`] gave.
    fn tensor(&self, at: usize) -> SourceTensor<'_>;

    /// Says that this tensor's bytes will not be read soon.
    fn release(&self, at: usize);
}

impl WeightSource for Weights {
    fn metadata(&self) -> Option<&Metadata> {
        Weights::metadata(self)
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.index(name)
    }

    fn tensor(&self, at: usize) -> SourceTensor<'_> {
        let info = &self.tensors()[at];
        let bytes = self.tensor_bytes(at);
        SourceTensor { name: &info.name, shape: &info.shape, format: &info.format, bytes }
    }

    fn release(&self, at: usize) {
        Weights::release(self, at);
    }
}
