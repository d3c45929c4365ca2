//! A GGUF file put together field by field, so that each can be wrong.

/// The bytes so far.
#[derive(Clone, Default)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    pub fn start(version: u32, tensors: u64, entries: u64) -> Self {
        Raw(b"GGUF".to_vec()).u32(version).u64(tensors).u64(entries)
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub fn string(self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        self.u64(text.len() as u64).bytes(text)
    }

    pub fn tensor(self, name: &str, fastest_first: &[u64], type_id: u32, offset: u64) -> Self {
        let raw = self.string(name).u32(fastest_first.len() as u32);
        fastest_first.iter().fold(raw, |raw, &dimension| raw.u64(dimension)).u32(type_id).u64(offset)
    }

    pub fn data(mut self, bytes: usize) -> Vec<u8> {
        self.0.resize(self.0.len().next_multiple_of(32), 0);
        self.0.extend((0..bytes).map(|i| i as u8));
        self.0
    }
}
