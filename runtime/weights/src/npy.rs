//! `.npy` files: arrays in and out of kernels.
//!
//! **Maps** a version 1, 2 or 3 file to dtype, shape (slowest first) and the elements' little-endian bytes, and back
//! (version 1 is written, or 2 if the header needs it; nothing else would use a feature of version 3).
//!
//! ```text
//! \x93NUMPY | major u8 | minor u8 | header length u16 (u32 from version 2)
//! {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  padded with spaces, newline last
//! elements in C order
//! ```
//!
//! **Invariant.** `data.len()` is exactly the product of the shape times the element's bytes. Zero-sized arrays are
//! legal here, as in NumPy; whoever launches a kernel decides.
//!
//! **Refuses** big-endian and Fortran-order data (the message says how to convert), object, string, structured and
//! complex dtypes, truth values other than 0 and 1, and bytes after the data.

use std::io::Write;
use std::path::Path;

use crate::mapped::{Access, FileBytes};
use crate::quote;

/// The most dimensions: the language's own limit.
pub const MAX_RANK: usize = 8;
/// The longest header text. NumPy's own reader stops at 10,000 by default.
pub const MAX_HEADER_BYTES: usize = 65_536;
/// The alignment of the data that writers keep.
const DATA_ALIGNMENT: usize = 64;
const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The element type of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NpyDtype {
    /// One byte, 0 or 1.
    Bool,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// Half precision.
    F16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

/// (dtype, name in the language, NumPy kind and width)
const DTYPES: [(NpyDtype, &str, &str); 12] = [
    (NpyDtype::Bool, "bool", "b1"),
    (NpyDtype::I8, "i8", "i1"),
    (NpyDtype::I16, "i16", "i2"),
    (NpyDtype::I32, "i32", "i4"),
    (NpyDtype::I64, "i64", "i8"),
    (NpyDtype::U8, "u8", "u1"),
    (NpyDtype::U16, "u16", "u2"),
    (NpyDtype::U32, "u32", "u4"),
    (NpyDtype::U64, "u64", "u8"),
    (NpyDtype::F16, "f16", "f2"),
    (NpyDtype::F32, "f32", "f4"),
    (NpyDtype::F64, "f64", "f8"),
];

impl NpyDtype {
    fn row(self) -> &'static (NpyDtype, &'static str, &'static str) {
        &DTYPES[self as usize]
    }

    /// The dtype's name in the language.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The dtype of a name in the language.
    pub fn from_name(name: &str) -> Option<Self> {
        DTYPES.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        usize::from(self.row().2.as_bytes()[1] - b'0')
    }

    fn descr(self) -> String {
        format!("{}{}", if self.bytes() == 1 { '|' } else { '<' }, self.row().2)
    }
}

/// An array: element type, shape slowest first, little-endian elements in C order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpyArray {
    /// Element type.
    pub dtype: NpyDtype,
    /// Dimensions, slowest first; empty for a scalar.
    pub shape: Vec<u64>,
    /// The elements' bytes.
    pub data: Vec<u8>,
}

/// Why an `.npy` file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    /// The file cannot be opened, read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The first bytes are not those of an `.npy` file.
    #[error("byte 0: this is not an .npy file")]
    NotNpy,
    /// A version from the future.
    #[error("byte 6: .npy version {0}.{1}; versions 1.0, 2.0 and 3.0 are read")]
    UnsupportedVersion(u8, u8),
    /// The header is longer than the file or the cap.
    #[error("byte 8, header length: {announced} bytes announced, {left} left, {MAX_HEADER_BYTES} allowed")]
    HeaderLength {
        /// The length in the file.
        announced: u64,
        /// Bytes after it.
        left: u64,
    },
    /// The header is not the dictionary it must be.
    #[error("byte {offset}, header: expected {expected}")]
    Header {
        /// Offset in the file.
        offset: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// An element type that kernels cannot take.
    #[error(
        "descr {} is not supported; use one of b1, i1..i8, u1..u8, f2, f4, f8 (numpy: `a.astype(...)`)",
        quote::name(.0)
    )]
    UnsupportedDtype(String),
    /// Big-endian elements.
    #[error("descr {} is big-endian; convert with numpy: `a.astype(a.dtype.newbyteorder('<'))`", quote::name(.0))]
    BigEndian(String),
    /// Column-major data.
    #[error("the array is in Fortran order; convert with numpy: `np.ascontiguousarray(a)`")]
    FortranOrder,
    /// Too many dimensions.
    #[error("{0} dimensions exceed the limit of {MAX_RANK}")]
    Rank(usize),
    /// The shape's size exceeds 64 bits.
    #[error("the size of the array exceeds 64 bits")]
    Overflow,
    /// The data are shorter or longer than the shape says.
    #[error("byte {offset}, data: {given} bytes there, shape and dtype need {needed}")]
    ByteCount {
        /// Where the data begin.
        offset: usize,
        /// Bytes there.
        given: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// A truth value other than 0 and 1.
    #[error("element {index} is a truth value of {value}; only 0 and 1 exist")]
    BadBool {
        /// Index of the element in C order.
        index: usize,
        /// The byte.
        value: u8,
    },
}

/// Bytes of an array; zero if a dimension is zero.
fn array_bytes(dtype: NpyDtype, shape: &[u64]) -> Result<u64, NpyError> {
    if shape.len() > MAX_RANK {
        return Err(NpyError::Rank(shape.len()));
    }
    if shape.contains(&0) {
        return Ok(0);
    }
    let block = crate::sizes::Block { elements: 1, bytes: dtype.bytes() as u32 };
    crate::sizes::tensor_bytes(shape, block).map_err(|_| NpyError::Overflow)
}

impl NpyArray {
    /// An array of given content, checked.
    pub fn new(dtype: NpyDtype, shape: Vec<u64>, data: Vec<u8>) -> Result<Self, NpyError> {
        let (given, needed) = (data.len() as u64, array_bytes(dtype, &shape)?);
        if given != needed {
            return Err(NpyError::ByteCount { offset: 0, given, needed });
        }
        check_bools(dtype, &data)?;
        Ok(NpyArray { dtype, shape, data })
    }

    /// Reads a file.
    pub fn read_file(path: &Path) -> Result<Self, NpyError> {
        Self::read(&FileBytes::open(path, Access::Map)?)
    }

    /// Reads an array from the bytes of a file.
    pub fn read(file: &[u8]) -> Result<Self, NpyError> {
        if !file.starts_with(MAGIC) {
            return Err(NpyError::NotNpy);
        }
        let (text, data_start) = header_text(file)?;
        let header = HeaderParser { text, position: 0, base: data_start - text.len() }.parse()?;
        let data = &file[data_start..];
        let (given, needed) = (data.len() as u64, array_bytes(header.dtype, &header.shape)?);
        if given != needed {
            return Err(NpyError::ByteCount { offset: data_start, given, needed });
        }
        check_bools(header.dtype, data)?;
        Ok(NpyArray { dtype: header.dtype, shape: header.shape, data: data.to_vec() })
    }

    /// Writes the file's bytes.
    pub fn write_to(&self, output: &mut dyn Write) -> Result<(), NpyError> {
        let (given, needed) = (self.data.len() as u64, array_bytes(self.dtype, &self.shape)?);
        if given != needed {
            return Err(NpyError::ByteCount { offset: 0, given, needed });
        }
        let dimensions: String = self.shape.iter().map(|dimension| format!("{dimension}, ")).collect();
        // Python writes (2, 3) without and (2,) with a comma at the end.
        let dimensions = match self.shape.len() {
            1 => dimensions.trim_end().to_owned(),
            _ => dimensions.trim_end_matches(", ").to_owned(),
        };
        let mut header = format!(
            "{{'descr': '{}', 'fortran_order': False, 'shape': ({dimensions}), }}",
            self.dtype.descr()
        );
        let prefix = MAGIC.len() + 2 + 2;
        let total = (prefix + header.len() + 1).next_multiple_of(DATA_ALIGNMENT);
        header.extend(std::iter::repeat_n(' ', total - prefix - header.len() - 1));
        header.push('\n');
        // At most 8 dimensions of 20 digits: the header never needs the 32-bit length of version 2.
        let length = u16::try_from(header.len()).map_err(|_| NpyError::Overflow)?;
        output.write_all(MAGIC)?;
        output.write_all(&[1, 0])?;
        output.write_all(&length.to_le_bytes())?;
        output.write_all(header.as_bytes())?;
        output.write_all(&self.data)?;
        output.flush()?;
        Ok(())
    }
}

fn check_bools(dtype: NpyDtype, data: &[u8]) -> Result<(), NpyError> {
    match data.iter().position(|&byte| byte > 1) {
        Some(index) if dtype == NpyDtype::Bool => Err(NpyError::BadBool { index, value: data[index] }),
        _ => Ok(()),
    }
}

/// The header's text, and where the data begin.
fn header_text(file: &[u8]) -> Result<(&str, usize), NpyError> {
    let version = (file.get(6).copied().unwrap_or(0), file.get(7).copied().unwrap_or(0));
    let (announced, start) = match version {
        (1, 0) => (file.get(8..10).map(|b| u64::from(u16::from_le_bytes([b[0], b[1]]))), 10),
        (2 | 3, 0) => (file.get(8..12).map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))), 12),
        (major, minor) => return Err(NpyError::UnsupportedVersion(major, minor)),
    };
    let left = file.len().saturating_sub(start) as u64;
    let announced = announced.ok_or(NpyError::HeaderLength { announced: 0, left })?;
    if announced > left || announced > MAX_HEADER_BYTES as u64 {
        return Err(NpyError::HeaderLength { announced, left });
    }
    let end = start + announced as usize;
    let text = std::str::from_utf8(&file[start..end]).map_err(|error| NpyError::Header {
        offset: start + error.valid_up_to(),
        expected: "text in UTF-8",
    })?;
    Ok((text, end))
}

struct Header {
    dtype: NpyDtype,
    shape: Vec<u64>,
}

/// Reads the one Python dictionary that a header may be: three known keys in any order.
struct HeaderParser<'a> {
    text: &'a str,
    position: usize,
    base: usize,
}

impl<'a> HeaderParser<'a> {
    fn parse(mut self) -> Result<Header, NpyError> {
        let (mut dtype, mut fortran, mut shape) = (None, None, None);
        self.expect("{", "'{'")?;
        while !self.accept("}") {
            let key_at = self.position;
            let key = self.quoted()?;
            self.expect(":", "':'")?;
            let fresh = match key {
                "descr" => dtype.replace(parse_descr(self.quoted()?)?).is_none(),
                "fortran_order" => fortran.replace(self.truth()?).is_none(),
                "shape" => shape.replace(self.tuple()?).is_none(),
                _ => false,
            };
            if !fresh {
                self.position = key_at;
                return Err(self.wrong("each of 'descr', 'fortran_order' and 'shape' once"));
            }
            if !self.accept(",") {
                self.expect("}", "',' or '}'")?;
                break;
            }
        }
        self.skip_space();
        if self.position != self.text.len() {
            return Err(self.wrong("nothing after '}'"));
        }
        match (dtype, fortran, shape) {
            (Some(dtype), Some(fortran), Some(shape)) => {
                // An array of one dimension or of one element is the same in both orders.
                if fortran && shape.iter().filter(|&&dimension: &&u64| dimension != 1).count() > 1 {
                    return Err(NpyError::FortranOrder);
                }
                Ok(Header { dtype, shape })
            }
            _ => Err(self.wrong("all of 'descr', 'fortran_order' and 'shape'")),
        }
    }

    fn wrong(&self, expected: &'static str) -> NpyError {
        NpyError::Header { offset: self.base + self.position, expected }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn skip_space(&mut self) {
        self.position = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn accept(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(token);
        if found {
            self.position += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str, words: &'static str) -> Result<(), NpyError> {
        if self.accept(token) { Ok(()) } else { Err(self.wrong(words)) }
    }

    fn quoted(&mut self) -> Result<&'a str, NpyError> {
        let quote = if self.accept("'") {
            '\''
        } else if self.accept("\"") {
            '"'
        } else {
            return Err(self.wrong("a quoted string"));
        };
        let rest = self.rest();
        let length = rest.find(quote).ok_or_else(|| self.wrong("a closing quote"))?;
        self.position += length + 1;
        Ok(&rest[..length])
    }

    fn truth(&mut self) -> Result<bool, NpyError> {
        if self.accept("True") {
            Ok(true)
        } else if self.accept("False") {
            Ok(false)
        } else {
            Err(self.wrong("True or False"))
        }
    }

    fn tuple(&mut self) -> Result<Vec<u64>, NpyError> {
        let mut shape = Vec::new();
        self.expect("(", "'('")?;
        while !self.accept(")") {
            if shape.len() == MAX_RANK {
                return Err(NpyError::Rank(MAX_RANK + 1));
            }
            self.skip_space();
            let rest = self.rest();
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let dimension = rest[..digits].parse().map_err(|_| self.wrong("a dimension"))?;
            self.position += digits;
            self.accept("L"); // Python 2 wrote long integers so.
            shape.push(dimension);
            if !self.accept(",") {
                self.expect(")", "',' or ')'")?;
                break;
            }
        }
        Ok(shape)
    }
}

fn parse_descr(descr: &str) -> Result<NpyDtype, NpyError> {
    let (order, kind) = match descr.as_bytes().first() {
        Some(b'<' | b'|' | b'>' | b'=') => descr.split_at(1),
        _ => ("", descr),
    };
    let unsupported = || NpyError::UnsupportedDtype(descr.to_owned());
    let dtype = DTYPES.iter().find(|row| row.2 == kind).map(|row| row.0).ok_or_else(unsupported)?;
    match order {
        _ if dtype.bytes() == 1 => Ok(dtype),
        "<" => Ok(dtype),
        ">" => Err(NpyError::BigEndian(descr.to_owned())),
        // `=` or nothing means "of the machine that wrote it", which the file does not name.
        _ => Err(unsupported()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        if version == 1 {
            bytes.extend((header.len() as u16).to_le_bytes());
        } else {
            bytes.extend((header.len() as u32).to_le_bytes());
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, (dtype, name, _)) in DTYPES.iter().enumerate() {
            assert_eq!(*dtype as usize, index);
            assert_eq!(NpyDtype::from_name(name), Some(*dtype));
        }
        assert_eq!(NpyDtype::I8.bytes(), 1);
        assert_eq!(NpyDtype::I64.bytes(), 8);
    }

    /// The exact bytes that NumPy 2 writes for `np.arange(6, dtype='<i2').reshape(2, 3)`.
    #[test]
    fn writes_what_numpy_writes() {
        let array = NpyArray::new(NpyDtype::I16, vec![2, 3], (0..6i16).flat_map(i16::to_le_bytes).collect());
        let mut written = Vec::new();
        array.unwrap().write_to(&mut written).unwrap();
        let mut expected =
            b"\x93NUMPY\x01\x00v\x00{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }".to_vec();
        expected.resize(127, b' ');
        expected.extend(b"\n\x00\x00\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00");
        assert_eq!(written, expected);
    }

    /// A `descr` of 64 KiB was shown whole.
    #[test]
    fn messages_do_not_grow_with_the_header() {
        for start in ["<", ">"] {
            let header =
                format!("{{'descr': '{start}{}', 'fortran_order': False, 'shape': ()}}", "x".repeat(60_000));
            let message = NpyArray::read(&file(1, &header, &[])).expect_err("refused").to_string();
            assert!(message.len() < 1000, "{message}");
        }
    }

    #[test]
    fn reads_all_versions_and_spellings() {
        let data = [1, 0, 0, 0, 2, 0, 0, 0];
        let spellings = [
            "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }\n",
            "{\"shape\": (2L,), \"descr\": \"<i4\", \"fortran_order\": True}",
            "{'descr':'<i4','fortran_order':False,'shape':(1,2)}   \n",
        ];
        for version in 1..=3 {
            for header in spellings {
                let array = NpyArray::read(&file(version, header, &data)).unwrap();
                assert_eq!((array.dtype, &array.data[..]), (NpyDtype::I32, &data[..]));
            }
        }
        let scalar = NpyArray::read(&file(1, "{'descr': '|b1', 'fortran_order': False, 'shape': ()}", &[1]));
        assert!(scalar.unwrap().shape.is_empty());
        let empty =
            NpyArray::read(&file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3)}", &[]));
        assert_eq!(empty.unwrap().shape, [0, 3]);
    }

    #[test]
    fn refusals() {
        let reject = |header: &str, data: &[u8]| NpyArray::read(&file(1, header, data)).unwrap_err();
        let head = |descr: &str, order: &str, shape: &str| {
            format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}")
        };
        assert!(matches!(reject(&head("'>f4'", "False", "(1,)"), &[0; 4]), NpyError::BigEndian(_)));
        assert!(matches!(reject(&head("'<c8'", "False", "(1,)"), &[0; 8]), NpyError::UnsupportedDtype(_)));
        assert!(matches!(reject(&head("'|O'", "False", "(1,)"), &[0; 8]), NpyError::UnsupportedDtype(_)));
        assert!(matches!(reject(&head("[('a', '<f4')]", "False", "(1,)"), &[]), NpyError::Header { .. }));
        assert!(matches!(reject(&head("'<f4'", "True", "(2, 2)"), &[0; 16]), NpyError::FortranOrder));
        assert!(matches!(reject(&head("'<f4'", "False", "(2,)"), &[0; 7]), NpyError::ByteCount { .. }));
        assert!(matches!(reject(&head("'<f4'", "False", "(2,)"), &[0; 9]), NpyError::ByteCount { .. }));
        assert!(matches!(reject(&head("'<f4'", "False", "(-2,)"), &[]), NpyError::Header { .. }));
        assert!(matches!(reject(&head("'<f4'", "False", "(1,1,1,1,1,1,1,1,1)"), &[]), NpyError::Rank(9)));
        assert!(matches!(reject(&head("'<f4'", "False", "(4611686018427387904,)"), &[]), NpyError::Overflow));
        assert!(matches!(
            reject(&head("'<f4'", "False", "(99999999999999999999,)"), &[]),
            NpyError::Header { .. }
        ));
        assert!(matches!(
            reject(&head("'|b1'", "False", "(2,)"), &[1, 2]),
            NpyError::BadBool { index: 1, value: 2 }
        ));
        assert!(matches!(reject("{'descr': '<f4', 'fortran_order': False}", &[]), NpyError::Header { .. }));
        assert!(matches!(reject("{'descr': '<f4', 'descr': '<f4'}", &[]), NpyError::Header { .. }));
        assert!(matches!(reject("{'descr': '<f4", &[]), NpyError::Header { .. }));
        assert!(matches!(NpyArray::read(b"hello"), Err(NpyError::NotNpy)));
        assert!(matches!(NpyArray::read(&file(9, "{}", &[])), Err(NpyError::UnsupportedVersion(9, 0))));
        let mut long = file(2, "{}", &[]);
        long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(NpyArray::read(&long), Err(NpyError::HeaderLength { .. })));
        let whole = file(1, &head("'<f4'", "False", "(2,)"), &[0; 8]);
        for cut in 0..whole.len() {
            assert!(NpyArray::read(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(shape in proptest::collection::vec(0u64..5, 0..=5), row in 0usize..12, seed in any::<u8>()) {
            let dtype = DTYPES[row].0;
            let bytes = array_bytes(dtype, &shape).unwrap() as usize;
            let mask = if dtype == NpyDtype::Bool { 1 } else { 255 };
            let data = (0..bytes).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed) & mask).collect();
            let array = NpyArray::new(dtype, shape, data).unwrap();
            let mut written = Vec::new();
            array.write_to(&mut written).unwrap();
            prop_assert_eq!((written.len() - array.data.len()) % DATA_ALIGNMENT, 0);
            prop_assert_eq!(NpyArray::read(&written).unwrap(), array);
        }

        #[test]
        fn any_header_text_ends_in_a_result(text in "[{}()',:<>|a-z0-9 TF]{0,80}") {
            let _ = NpyArray::read(&file(1, &text, &[]));
        }
    }
}
