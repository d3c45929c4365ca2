//! Packed bytes: `dot4`, codes of 1 to 8 bits unpacked into bytes, and tables of bytes.
//!
//! `dot4` is written as the tree of widening multiplications and pairwise sums that Cranelift's lowering
//! knows: it becomes `vpdpbusd`, `sdot` or `usdot` where the target has them, and stays exact where not.
//!
//! Four codes in the low `4 b` bits of a word are spread in two steps, pairs to half-words and then codes to
//! bytes, which costs the same for every b. A stream of codes is cut so that a vector of four lanes takes
//! `2 b` bytes; a byte shuffle gives each lane its bytes, for odd b the odd lanes shift by four bits.
//! A vector that would read past the stream's end is loaded from the last 16 bytes instead.
//!
//! A table of bytes is cut into pieces of 16: `swizzle` gives 0 where an index lies in another piece, and the pieces are joined.

use cranelift_codegen::ir::{ConstantData, InstBuilder, Value, types};
use tvmc_ir::lane::{self, Inst, Place, Pure, Sign, Table};

use crate::translate::{Held, Translator};
use crate::words::{I32X4, Shape, plain};

/// A constant with this byte in all four places.
fn bytes4(byte: u32) -> u32 {
    byte * 0x0101_0101
}

impl Translator<'_> {
    /// `acc + sum of four products`, operands in the order of the row.
    pub fn dot4(&mut self, op: Pure, shape: Shape, a: Value, b: Value, acc: Value) -> Value {
        if shape == Shape::Scalar {
            let [a, b, acc] = [a, b, acc].map(|word| self.b.ins().scalar_to_vector(I32X4, word));
            let sum = self.dot4(op, Shape::Vector, a, b, acc);
            return self.b.ins().extractlane(sum, 0);
        }
        let a = self.cast(types::I8X16, a);
        let b = self.cast(types::I8X16, b);
        let mut sums = [a; 2];
        for (high, sum) in [false, true].into_iter().zip(&mut sums) {
            let a_signed = op == Pure::Dot4SS;
            let b_signed = op != Pure::Dot4UU;
            let wide_a = self.widen(a, high, a_signed);
            let wide_b = self.widen(b, high, b_signed);
            *sum = if op == Pure::Dot4UU {
                // The products need 16 bits without a sign: multiply in 32.
                let products = [false, true].map(|high| {
                    let (x, y) = (self.widen(wide_a, high, true), self.widen(wide_b, high, true));
                    self.b.ins().imul(x, y)
                });
                self.b.ins().iadd_pairwise(products[0], products[1])
            } else {
                // On x86 the fused form is known with its signed operand first.
                let swap = self.target.x86 && !a_signed;
                let (x, y) = if swap { (wide_b, wide_a) } else { (wide_a, wide_b) };
                let products = self.b.ins().imul(x, y);
                let low = self.widen(products, false, true);
                let high = self.widen(products, true, true);
                self.b.ins().iadd_pairwise(low, high)
            };
        }
        let dots = self.b.ins().iadd_pairwise(sums[0], sums[1]);
        self.b.ins().iadd(dots, acc)
    }

    /// The low or high half of a vector with its elements twice as wide.
    fn widen(&mut self, vector: Value, high: bool, signed: bool) -> Value {
        match (high, signed) {
            (false, false) => self.b.ins().uwiden_low(vector),
            (false, true) => self.b.ins().swiden_low(vector),
            (true, false) => self.b.ins().uwiden_high(vector),
            (true, true) => self.b.ins().swiden_high(vector),
        }
    }

    /// Codes of each lane's own 64 bits.
    pub fn unpack(&mut self, bits: u8, offset: u8, sign: Sign, inst: &Inst) -> Held {
        if !self.varies(inst.args[0]) {
            let (low, high) = (self.uniform(inst.args[0]), self.uniform(inst.args[1]));
            return Held::Uniform(self.unpack_word(Shape::Scalar, bits, offset, sign, low, high));
        }
        let (low, high) = (self.varying(inst.args[0]), self.varying(inst.args[1]));
        let chunks = low.iter().zip(high.iter());
        let chunks =
            chunks.map(|(&low, &high)| self.unpack_word(Shape::Vector, bits, offset, sign, low, high));
        Held::Varying(chunks.collect())
    }

    fn unpack_word(
        &mut self,
        shape: Shape,
        bits: u8,
        offset: u8,
        sign: Sign,
        low: Value,
        high: Value,
    ) -> Value {
        let (start, end) = (u32::from(offset), u32::from(offset) + 4 * u32::from(bits));
        let field = if start >= 32 {
            self.shr(high, start - 32)
        } else if end <= 32 {
            self.shr(low, start)
        } else if start == 0 {
            low
        } else {
            let (low, high) = (self.shr(low, start), self.shl(high, 32 - start));
            self.b.ins().bor(low, high)
        };
        self.spread(shape, bits, sign, field)
    }

    /// Four codes in the low bits of a word to four bytes; what lies above them is ignored.
    fn spread(&mut self, shape: Shape, bits: u8, sign: Sign, word: Value) -> Value {
        let b = u32::from(bits);
        if b == 8 {
            return word;
        }
        let pair = (1 << (2 * b)) - 1;
        let low = self.mask(shape, word, pair);
        let high = self.shl(word, 16 - 2 * b);
        let high = self.mask(shape, high, pair << 16);
        let pairs = self.b.ins().bor(low, high);
        let code = (1 << b) - 1;
        let even = self.mask(shape, pairs, code | code << 16);
        let odd = self.shl(pairs, 8 - b);
        let odd = self.mask(shape, odd, code << 8 | code << 24);
        let codes = self.b.ins().bor(even, odd);
        match sign {
            Sign::Unsigned => codes,
            Sign::Signed => {
                // A byte's top code bit t gains 2^8 - 2^b = t * (2^(9 - b) - 2): no carry between bytes.
                let tops = self.mask(shape, codes, bytes4(1 << (b - 1)));
                let up = self.shl(tops, 9 - b);
                let down = self.shl(tops, 1);
                let extension = self.b.ins().isub(up, down);
                self.b.ins().bor(codes, extension)
            }
        }
    }

    /// A byte of a table for each byte of the index.
    pub fn table_bytes(&mut self, table: Table, index: lane::Value) -> Held {
        let mut entries: Vec<u8> =
            self.function.tables[table.index()].entries.iter().map(|e| *e as u8).collect();
        let size = entries.len().next_power_of_two();
        entries.resize(size.max(16), 0);
        if !self.varies(index) {
            let index = self.uniform(index);
            let index = self.b.ins().scalar_to_vector(I32X4, index);
            let found = self.bytes_of_table(&entries, size, index);
            return Held::Uniform(self.b.ins().extractlane(found, 0));
        }
        let chunks = self.varying(index);
        Held::Varying(chunks.iter().map(|&index| self.bytes_of_table(&entries, size, index)).collect())
    }

    fn bytes_of_table(&mut self, entries: &[u8], size: usize, index: Value) -> Value {
        let index = self.mask(Shape::Vector, index, bytes4(size as u32 - 1));
        let mut found: Option<Value> = None;
        for (at, piece) in entries.chunks(16).enumerate() {
            let word = |i: usize| u32::from_le_bytes([piece[i], piece[i + 1], piece[i + 2], piece[i + 3]]);
            let piece = self.words(std::array::from_fn(|i| word(4 * i)), types::I8X16);
            let first = self.words([bytes4(16 * at as u32); 4], types::I8X16);
            let places = self.cast(types::I8X16, index);
            let places = if at == 0 { places } else { self.b.ins().isub(places, first) };
            let part = self.b.ins().swizzle(piece, places);
            found = Some(match found {
                Some(other) => self.b.ins().bor(other, part),
                None => part,
            });
        }
        match found {
            Some(found) => self.cast(I32X4, found),
            None => index,
        }
    }

    /// Codes of a stream that runs across the lanes.
    pub fn load_unpack(&mut self, place: Place, bits: u8, sign: Sign, base: tvmc_ir::lane::Value) -> Held {
        let base = self.uniform(base);
        let address = self.address(place, base, 1);
        let b = usize::from(bits);
        let total = (self.lanes() * b).div_ceil(2);
        let mut out = Vec::with_capacity(self.chunks());
        for chunk in 0..self.chunks() {
            let start = 2 * b * chunk;
            // Where the 16 bytes are taken from, and how far into them the chunk starts.
            let from = start.min(total.saturating_sub(16));
            let stream = self.load_bytes(address, from, total.min(16));
            let skip = start - from;
            let word = if b == 8 && skip == 0 {
                self.cast(I32X4, stream)
            } else {
                let mut places = [0u8; 16];
                for (at, place) in places.iter_mut().enumerate() {
                    // Lane at / 4 starts at its half byte; bytes past the vector only feed bits that are masked.
                    *place = (skip + b * (at / 4) / 2 + at % 4).min(15) as u8;
                }
                let places = self.b.func.dfg.immediates.push(ConstantData::from(&places[..]));
                let bytes = self.b.ins().shuffle(stream, stream, places);
                self.cast(I32X4, bytes)
            };
            let word = if b % 2 == 1 {
                let shifted = self.shr(word, 4);
                let odd = self.words([0, u32::MAX, 0, u32::MAX], I32X4);
                self.b.ins().bitselect(odd, shifted, word)
            } else {
                word
            };
            out.push(self.spread(Shape::Vector, bits, sign, word));
        }
        Held::Varying(out.into())
    }

    /// Exactly `count` bytes (up to 16) as the low bytes of a vector.
    fn load_bytes(&mut self, address: Value, from: usize, count: usize) -> Value {
        if count >= 16 {
            return self.b.ins().load(types::I8X16, plain(), address, from as i32);
        }
        let mut halves = [None; 2];
        let mut at = 0;
        for size in [8, 4, 2, 1] {
            if count & size == 0 {
                continue;
            }
            let offset = (from + at) as i32;
            let piece = match size {
                8 => self.b.ins().load(types::I64, plain(), address, offset),
                4 => self.b.ins().uload32(plain(), address, offset),
                2 => self.b.ins().uload16(types::I64, plain(), address, offset),
                _ => self.b.ins().uload8(types::I64, plain(), address, offset),
            };
            // Pieces shrink, so each lies within one half.
            let piece = self.shl(piece, 8 * (at % 8) as u32);
            let half = &mut halves[at / 8];
            *half = Some(match *half {
                None => piece,
                Some(other) => self.b.ins().bor(other, piece),
            });
            at += size;
        }
        let zero = self.long(0);
        let low = halves[0].unwrap_or(zero);
        let mut vector = self.b.ins().scalar_to_vector(types::I64X2, low);
        if let Some(high) = halves[1] {
            vector = self.b.ins().insertlane(vector, high, 1);
        }
        self.cast(types::I8X16, vector)
    }
}
