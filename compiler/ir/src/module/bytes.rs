//! Numbers, strings and lists as bytes. Law: [`Reader`] reads exactly what [`Writer`] writes, and takes no memory for lengths that the bytes
//! at hand cannot fill.

use super::ModuleError;

/// Appends.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.u64(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.u64(items.len() as u64);
        for each in items {
            item(self, each);
        }
    }

    /// Writes a u64 length and then what `contents` writes.
    pub(super) fn measured(&mut self, contents: impl FnOnce(&mut Self)) {
        let at = self.0.len();
        self.u64(0);
        contents(self);
        let length = (self.0.len() - at - 8) as u64;
        self.0[at..at + 8].copy_from_slice(&length.to_le_bytes());
    }
}

/// Reads from a part of a file; offsets in errors are those of the file.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// End of the part.
    end: usize,
}

impl<'a> Reader<'a> {
    /// At byte `at`, up to `end`.
    pub(super) fn new(bytes: &'a [u8], at: usize, end: usize) -> Self {
        Self { bytes, at, end: end.min(bytes.len()) }
    }

    pub(super) fn error<T>(&self, message: impl Into<String>) -> Result<T, ModuleError> {
        Err(ModuleError::Encoding { offset: self.at, message: message.into() })
    }

    fn left(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], ModuleError> {
        if count > self.left() {
            return self.error(format!("{what} takes {count} bytes, {} are left", self.left()));
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, ModuleError> {
        let taken = self.take(8, what)?;
        let mut bytes = [0; 8];
        bytes.copy_from_slice(taken);
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn i64(&mut self, what: &str) -> Result<i64, ModuleError> {
        self.u64(what).map(u64::cast_signed)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, ModuleError> {
        let value = self.u64(what)?;
        match u32::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) => self.error(format!("{what} is {value}, must fit in 32 bits")),
        }
    }

    /// A length in bytes or entries; `size` is the least that one takes.
    fn length(&mut self, size: usize, what: &str) -> Result<usize, ModuleError> {
        let length = self.u64(what)?;
        match usize::try_from(length).ok().filter(|n| n.checked_mul(size).is_some_and(|n| n <= self.left())) {
            Some(length) => Ok(length),
            None => self.error(format!("{what} has {length} entries, {} bytes are left", self.left())),
        }
    }

    pub(super) fn text(&mut self, what: &str) -> Result<&'a str, ModuleError> {
        let length = self.length(1, what)?;
        let taken = self.take(length, what)?;
        match std::str::from_utf8(taken) {
            Ok(text) => Ok(text),
            Err(error) => self.error(format!("{what} is not UTF-8 at its byte {}", error.valid_up_to())),
        }
    }

    pub(super) fn string(&mut self, what: &str) -> Result<String, ModuleError> {
        self.text(what).map(str::to_owned)
    }

    /// A list of entries that take at least `size` bytes each.
    pub(super) fn list<T>(
        &mut self,
        size: usize,
        what: &str,
        mut item: impl FnMut(&mut Self, usize) -> Result<T, ModuleError>,
    ) -> Result<Vec<T>, ModuleError> {
        let length = self.length(size, what)?;
        (0..length).map(|number| item(self, number)).collect()
    }

    /// A part that says its length.
    pub(super) fn part(&mut self, what: &str) -> Result<Reader<'a>, ModuleError> {
        let length = self.length(1, what)?;
        let start = self.at;
        self.take(length, what)?;
        Ok(Reader::new(self.bytes, start, start + length))
    }

    /// Nothing may be left.
    pub(super) fn done(&self, what: &str) -> Result<(), ModuleError> {
        if self.left() == 0 {
            Ok(())
        } else {
            self.error(format!("{what} has ended, {} bytes follow", self.left()))
        }
    }
}
