//! Packed bytes and halves: `dot4`, `unpack`, `load.unpack`, `table.bytes` and `table.halves`.
//!
//! # dot4
//!
//! The hardware multiplies unsigned by signed bytes. The other forms shift one operand's range by 128
//! (`x ^ 0x80`) and take the shift back out, exactly and modulo 2^32:
//!
//! ```text
//! ss:  sum a * b = sum (a + 128) * b - 128 * sum b
//! uu:  sum a * b = sum a * (b - 128) + 128 * sum a
//! ```
//!
//! The correction depends on one operand only and is shared, out of the loop where that operand is.
//! Without `vpdpbusd` bytes are widened to 16 bits, where no product overflows.
//!
//! # unpack
//!
//! With VBMI a byte shuffle brings each lane pair's bits into its quadword and a multi-shift cuts the
//! codes out. Without, a window of 32 bits per lane is spread in two steps, 16 bits and then 8 apart:
//!
//! ```text
//! ....ddd.ccc.bbb.aaa  ->  ..dddccc ..bbbaaa  ->  ..ddd ..ccc ..bbb ..aaa
//! ```
//!
//! # table.bytes
//!
//! With VBMI a byte permutation looks up 64 entries by an index's low six bits (a smaller table is repeated), one of two registers 128 by seven;
//! 256 entries are two of those, and the index's top bit chooses. Without, a table is cut into pieces of 16 bytes: a byte shuffle
//! gives 0 where an index lies in another piece, and the pieces are joined.
//!
//! # table.halves
//!
//! AVX-512 looks up 64 entries by an index's low six bits; each further bit of it chooses between two results. That is 2 n - 1 operations for 64 n entries and two lanes' worth of
//! indices, where a gather takes an access for each; from [`MAX_PERMUTED`] entries on, and without AVX-512, it is two gathers.
//!
//! Where an index's top bit changes nothing, or only the entry's top bit, as in halves of floats, half the table is looked up.

use iced_x86::Code as C;
use regalloc2::VReg;
use tvmc_ir::lane::{Op, Place, Sign, Table, Value};

use super::{Hoist, Key, Lower, Src, Val, forms};
use crate::mir::{Addr, Inst, MASK, Rm, VEC};

/// `c ? a : b` bit by bit, as a truth table of `vpternlogd a, b, c`.
const SELECT: i64 = 0xe4;
/// `a ^ b & c`, likewise.
const FLIP: i64 = 0x78;
/// Entries of the largest table that is looked up by permutations of halves.
const MAX_PERMUTED: usize = 1024;
/// Entries of two registers of halves.
const HALVES: usize = 64;
/// 128 in every byte.
const TOP_BITS: u32 = 0x8080_8080;

impl<'f> Lower<'f> {
    /// `args` are a, b and the accumulator; `signed` says how the bytes of a and of b are read (a signed
    /// and b unsigned does not occur).
    pub(super) fn dot4(&mut self, signed: [bool; 2], args: &[Src]) -> VReg {
        if !self.features.vnni {
            return self.dot4_widened(signed, args);
        }
        if signed == [false, true] {
            let accumulator = self.source(args[2]);
            let a = self.source(args[0]);
            let b = self.source_rm(args[1]);
            return self.v_tied(forms::DOT_US, accumulator, a, b);
        }
        let (mut biased, mut plain) = (self.source(args[0]), self.source(args[1]));
        // The correction belongs to the operand that changes less often.
        if self.rank_of(biased) < self.rank_of(plain) {
            (biased, plain) = (plain, biased);
        }
        let signed = signed[0];
        let accumulator = self.source(args[2]);
        let rank = self.rank_of(plain);
        let correction = self.cached(Key::DotBias(plain, signed), rank, Hoist::Far, |this| {
            let (zero, top) = (this.fresh_zero(), this.dword(TOP_BITS));
            // 128 as an unsigned byte, or -128 as a signed one.
            let (a, b) = if signed { (top, plain) } else { (plain, top) };
            this.v_tied(forms::DOT_US, zero, a, b)
        });
        let biased = self.binary(forms::XOR, &[Src::Reg(biased), Src::Const(TOP_BITS)], false);
        let (a, b) = if signed { (biased, plain) } else { (plain, biased) };
        let sum = self.v_tied(forms::DOT_US, accumulator, a, b);
        self.v2(forms::SUB_I, sum, correction)
    }

    fn dot4_widened(&mut self, [a_signed, b_signed]: [bool; 2], args: &[Src]) -> VReg {
        let (a, b) = (self.source(args[0]), self.source(args[1]));
        let (a_even, a_odd) = self.widen_bytes(a, a_signed);
        let (b_even, b_odd) = self.widen_bytes(b, b_signed);
        let even = self.v2(forms::MADD_W, a_even, b_even);
        let odd = self.v2(forms::MADD_W, a_odd, b_odd);
        let sum = self.v2(forms::ADD_I, even, odd);
        self.binary(forms::ADD_I, &[Src::Reg(sum), args[2]], true)
    }

    /// The even and the odd bytes as 16-bit integers.
    fn widen_bytes(&mut self, a: VReg, signed: bool) -> (VReg, VReg) {
        if signed {
            let even = self.v1i(forms::SHL_W, a, 8);
            (self.v1i(forms::SHR_S_W, even, 8), self.v1i(forms::SHR_S_W, a, 8))
        } else {
            let even = self.binary(forms::AND, &[Src::Reg(a), Src::Const(0x00ff_00ff)], false);
            (even, self.v1i(forms::SHR_U_W, a, 8))
        }
    }

    pub(super) fn unpack(&mut self, bits: u8, offset: u8, sign: Sign, args: &'f [Value], result: Value) {
        if self.is_varying(result) {
            let parts: Vec<VReg> = (0..self.parts)
                .map(|part| {
                    let [low, high] = [args[0], args[1]].map(|arg| Src::Part(arg, part));
                    self.unpack_vector(bits, offset, sign, low, high)
                })
                .collect();
            self.set(result, Val::Parts(parts.into()));
        } else {
            let [low, high] = [args[0], args[1]].map(|arg| Src::Reg(self.in_vector(arg)));
            let codes = self.unpack_vector(bits, offset, sign, low, high);
            let codes = self.first_element(codes);
            self.set_reg(result, codes);
        }
    }

    fn unpack_vector(&mut self, bits: u8, offset: u8, sign: Sign, low: Src, high: Src) -> VReg {
        let (bits, offset) = (u32::from(bits), u32::from(offset));
        let whole = if offset >= 32 { Some((high, offset - 32)) } else { Some((low, offset)) };
        let in_one_word = whole.filter(|&(_, offset)| offset + 4 * bits <= 32);
        if self.v4 && self.features.vbmi && bits < 8 {
            if let Some((word, offset)) = in_one_word {
                let word = self.quadwords(word);
                let spread = self.multishift(word, |byte| (byte / 4) * 32 + offset + bits * (byte % 4));
                return self.extend_codes(spread, bits, sign);
            }
            let window = self.funnel(low, high, offset);
            let spread = self.multishift(window, |byte| (byte / 4) * 32 + bits * (byte % 4));
            return self.extend_codes(spread, bits, sign);
        }
        let window = match in_one_word {
            Some((word, 0)) => self.source(word),
            Some((word, offset)) => {
                let word = self.source(word);
                self.v1i(forms::SHR_U_C, word, i64::from(offset))
            }
            None => self.funnel(low, high, offset),
        };
        self.spread_codes(window, bits, sign)
    }

    /// Bits `offset..offset + 32` of `low | high << 32`, for offsets 1 to 31.
    fn funnel(&mut self, low: Src, high: Src, offset: u32) -> VReg {
        let (low, high) = (self.source(low), self.source(high));
        if self.v4 && self.features.vbmi2 {
            let code = C::EVEX_Vpshrdd_zmm_k1z_zmm_zmmm512b32_imm8;
            return self.v2i(forms::Form { v3: code, v4: code }, low, high, i64::from(offset));
        }
        let low = self.v1i(forms::SHR_U_C, low, i64::from(offset));
        let high = self.v1i(forms::SHL_C, high, i64::from(32 - offset));
        self.v2(forms::OR, low, high)
    }

    /// A source as an operand that is no 32-bit one: a broadcast of such a size does not exist.
    fn quadwords(&mut self, source: Src) -> Rm {
        match source {
            Src::Part(value, part) if matches!(self.val(value), Val::Again(load) if load.op != Op::Splat) => {
                self.source_rm(Src::Part(value, part))
            }
            Src::Part(..) | Src::Reg(_) | Src::Const(_) => Rm::Reg(self.source(source)),
        }
    }

    /// Byte `j` of each quadword becomes the 8 bits of the quadword that start at bit `start(j)`.
    fn multishift(&mut self, quads: impl Into<Rm>, start: impl Fn(u32) -> u32) -> VReg {
        let control: Vec<u8> = (0..64).map(|byte| start(byte % 8) as u8).collect();
        let control = self.vector_constant(control);
        let code = C::EVEX_Vpmultishiftqb_zmm_k1z_zmm_zmmm512b64;
        self.v2(forms::Form { v3: code, v4: code }, control, quads)
    }

    /// Clears or sign-fills each byte above its low `bits`.
    fn extend_codes(&mut self, bytes: VReg, bits: u32, sign: Sign) -> VReg {
        if bits == 8 {
            return bytes;
        }
        let mask = (1_u32 << bits) - 1;
        if sign == Sign::Unsigned {
            return self.binary(forms::AND, &[Src::Reg(bytes), Src::Const(mask * 0x0101_0101)], false);
        }
        if self.features.gfni {
            // A bit matrix: result bit i is source bit min(i, bits - 1). Rows are stored last bit first.
            let rows: [u8; 8] = std::array::from_fn(|byte| 1 << (7 - byte as u32).min(bits - 1));
            let matrix = self.vector_operand(rows.repeat(self.width as usize / 2));
            return self.v2i(forms::AFFINE, bytes, matrix, 0);
        }
        let codes = self.binary(forms::AND, &[Src::Reg(bytes), Src::Const(mask * 0x0101_0101)], false);
        let top = self.dword((1_u32 << (bits - 1)) * 0x0101_0101);
        let flipped = self.v2(forms::XOR, codes, top);
        self.v2(forms::SUB_B, flipped, top)
    }

    /// Codes from the low `4 * bits` bits of each element to its four bytes.
    fn spread_codes(&mut self, window: VReg, bits: u32, sign: Sign) -> VReg {
        if bits == 8 {
            return window;
        }
        let shifted = self.v1i(forms::SHL_C, window, i64::from(16 - 2 * bits));
        let pairs = self.select_bits(window, shifted, 0x0000_ffff);
        let shifted = self.v1i(forms::SHL_C, pairs, i64::from(8 - bits));
        let bytes = self.select_bits(pairs, shifted, 0x00ff_00ff);
        self.extend_codes(bytes, bits, sign)
    }

    /// `mask ? a : b`, bit by bit, for masks of whole bytes.
    fn select_bits(&mut self, a: VReg, b: VReg, mask: u32) -> VReg {
        if self.v4 {
            let mask = self.dword_operand(mask);
            return self.ternary_of(a, b, mask, SELECT);
        }
        let def = self.vreg(VEC);
        let inst = if mask == 0x0000_ffff {
            Inst::new(C::VEX_Vpblendw_ymm_ymm_ymmm256_imm8).def(def).reg(a).reg(b).imm(0xaa)
        } else {
            let mask = self.dword(mask);
            Inst::new(C::VEX_Vpblendvb_ymm_ymm_ymmm256_ymm).def(def).reg(b).reg(a).reg(mask)
        };
        self.emit(inst);
        def
    }

    pub(super) fn table_bytes(&mut self, table: Table, index: Value, result: Value) {
        let mut entries: Vec<u8> = self.f.tables[table.index()].entries.iter().map(|e| *e as u8).collect();
        entries.resize(entries.len().next_power_of_two(), 0);
        if self.is_varying(index) {
            return self.set_parts(result, |this, part| {
                let index = this.part(index, part);
                this.bytes_of_table(&entries, index)
            });
        }
        let index = self.in_vector(index);
        let found = self.bytes_of_table(&entries, index);
        let found = self.first_element(found);
        self.set_reg(result, found);
    }

    fn bytes_of_table(&mut self, entries: &[u8], index: VReg) -> VReg {
        if entries.len() == 256 {
            let (lower, upper) = entries.split_at(128);
            let differs = |by: u8| lower.iter().zip(upper).all(|(lower, upper)| lower ^ upper == by);
            if differs(0) {
                return self.bytes_of_table(lower, index);
            }
            if differs(0x80) {
                let found = self.bytes_of_table(lower, index);
                if self.v4 {
                    let top = self.dword_operand(TOP_BITS);
                    return self.ternary_of(found, index, top, FLIP);
                }
                let sign = self.binary(forms::AND, &[Src::Reg(index), Src::Const(TOP_BITS)], false);
                return self.v2(forms::XOR, found, sign);
            }
        }
        if !(self.v4 && self.features.vbmi) {
            return self.bytes_of_pieces(entries, index);
        }
        let form = |code| forms::Form { v3: code, v4: code };
        if entries.len() <= 64 {
            // Repeated, so that an index's low bits say all.
            let table = self.vector_operand(entries.iter().copied().cycle().take(64).collect());
            return self.v2(form(C::EVEX_Vpermb_zmm_k1z_zmm_zmmm512), index, table);
        }
        let halves: Vec<VReg> = entries
            .chunks(128)
            .map(|half| {
                let low = self.vector_constant(half[..64].to_vec());
                let high = self.vector_operand(half[64..].to_vec());
                self.v_tied(form(C::EVEX_Vpermi2b_zmm_k1z_zmm_zmmm512), index, low, high)
            })
            .collect();
        let [low, high] = halves[..] else { return halves[0] };
        let (top, def) = (self.vreg(MASK), self.vreg(VEC));
        self.emit(Inst::new(C::EVEX_Vpmovb2m_kr_zmm).def(top).reg(index));
        let blend = Inst::new(C::EVEX_Vpblendmb_zmm_k1z_zmm_zmmm512).def(def).reg(low).reg(high);
        self.emit(blend.masked(top, false));
        def
    }

    pub(super) fn table_halves(&mut self, table: Table, index: Value, result: Value) {
        let mut entries: Vec<u32> = self.f.tables[table.index()].entries.clone();
        entries.resize(entries.len().next_power_of_two(), 0);
        let permuted = self.v4 && entries.len() <= MAX_PERMUTED;
        let look_up = |this: &mut Self, index: VReg| {
            if permuted {
                this.halves_permuted(&entries, index)
            } else {
                this.halves_gathered(&entries, index)
            }
        };
        if self.is_varying(index) {
            return self.set_parts(result, |this, part| {
                let index = this.part(index, part);
                look_up(this, index)
            });
        }
        let index = self.in_vector(index);
        let found = look_up(self, index);
        let found = self.first_element(found);
        self.set_reg(result, found);
    }

    fn halves_permuted(&mut self, entries: &[u32], index: VReg) -> VReg {
        let form = |code| forms::Form { v3: code, v4: code };
        let bytes = |entries: &[u32]| -> Vec<u8> {
            let half = entries.iter().cycle().take(HALVES / 2);
            half.flat_map(|entry| (*entry as u16).to_le_bytes()).collect()
        };
        if entries.len() <= HALVES / 2 {
            let table = self.vector_operand(bytes(entries));
            return self.v2(form(C::EVEX_Vpermw_zmm_k1z_zmm_zmmm512), index, table);
        }
        // Chosen between as soon as both are there, so that few are in registers at once: the first is joined with the second, those two with the next two, and so on.
        let steps = (entries.len() / HALVES).trailing_zeros();
        let uppers: Vec<VReg> = (0..steps)
            .map(|step| {
                let bit = (HALVES as u16) << step;
                let bits = bit.to_le_bytes().repeat(HALVES / 2);
                let bits = Rm::Mem(Addr::pool(self.mir.pool.add(bits.len() as u32, bits)));
                let upper = self.vreg(MASK);
                self.emit(Inst::new(C::EVEX_Vptestmw_kr_k1_zmm_zmmm512).def(upper).reg(index).rm(bits));
                upper
            })
            .collect();
        let mut found: Vec<VReg> = Vec::new();
        for (at, piece) in entries.chunks(HALVES).enumerate() {
            let (low, high) = (bytes(&piece[..HALVES / 2]), bytes(&piece[HALVES / 2..]));
            // Read where they are needed: kept in registers, they push out what a loop needs more.
            let [low, high] = [low, high].map(|half| Addr::pool(self.mir.pool.add(half.len() as u32, half)));
            let low = self.v1(forms::LOAD, Rm::Mem(low));
            let mut last = self.v_tied(form(C::EVEX_Vpermt2w_zmm_k1z_zmm_zmmm512), low, index, Rm::Mem(high));
            for upper in &uppers[..(at + 1).trailing_zeros().min(steps) as usize] {
                let Some(first) = found.pop() else { break };
                let def = self.vreg(VEC);
                let blend = Inst::new(C::EVEX_Vpblendmw_zmm_k1z_zmm_zmmm512).def(def).reg(first).reg(last);
                self.emit(blend.masked(*upper, false));
                last = def;
            }
            found.push(last);
        }
        found[0]
    }

    fn halves_gathered(&mut self, entries: &[u32], index: VReg) -> VReg {
        let id = self.mir.pool.add(4, entries.iter().flat_map(|entry| entry.to_le_bytes()).collect());
        let base = self.address_reg(Addr::pool(id));
        let mask = (entries.len() as u32 - 1) & 0xffff;
        let upper = self.v1i(forms::SHR_U_C, index, 16);
        let [low, high] = [index, upper].map(|index| {
            let index = self.binary(forms::AND, &[Src::Reg(index), Src::Const(mask)], false);
            self.gather_words(Addr::at(base, 0), index, 4, None)
        });
        let high = self.v1i(forms::SHL_C, high, 16);
        self.v2(forms::OR, low, high)
    }

    fn bytes_of_pieces(&mut self, entries: &[u8], index: VReg) -> VReg {
        let piece = |this: &mut Self, bytes: &[u8]| {
            this.vector_constant(bytes.iter().copied().cycle().take(4 * this.width as usize).collect())
        };
        let mask = (entries.len() as u32 - 1) * 0x0101_0101;
        let index = if mask == u32::MAX {
            index
        } else {
            self.binary(forms::AND, &[Src::Reg(index), Src::Const(mask)], false)
        };
        if entries.len() <= 16 {
            let table = piece(self, entries);
            return self.v2(forms::SHUFFLE_B, table, index);
        }
        let mut found: Option<VReg> = None;
        for (at, bytes) in entries.chunks(16).enumerate() {
            let place = match at {
                0 => index,
                _ => {
                    let first = self.vector_operand(vec![16 * at as u8; 4 * self.width as usize]);
                    self.v2(forms::SUB_B, index, first)
                }
            };
            // Places 16 and up get their top bit, which makes the shuffle give 0.
            let outside = self.vector_operand(vec![0x70; 4 * self.width as usize]);
            let place = self.v2(forms::ADD_SATURATED_B, place, outside);
            let table = piece(self, bytes);
            let part = self.v2(forms::SHUFFLE_B, table, place);
            found = Some(match found {
                Some(other) => self.v2(forms::OR, other, part),
                None => part,
            });
        }
        found.unwrap_or(index)
    }

    /// Codes of all lanes from one stream. No byte is read but the stream's own and those next to it
    /// that the same straight-line code reads anyway (see `window`).
    pub(super) fn load_unpack(&mut self, place: Place, bits: u8, sign: Sign, base: Value, result: Value) {
        let bits = u32::from(bits);
        let addr = self.address(place, base, 1);
        let total = (self.f.lanes * bits).div_ceil(2);
        let stream = Stream { addr, readable: self.readable(addr, total as i32) };
        let parts: Vec<VReg> = (0..self.parts)
            .map(|part| {
                let from = (part * self.width * bits / 2) as i32;
                let to = from + (self.lanes_of(part) * bits).div_ceil(2) as i32;
                if self.v4 {
                    self.unpack_part_v4(&stream, from, to, bits, sign)
                } else {
                    self.unpack_part_v3(&stream, from, to, bits, sign)
                }
            })
            .collect();
        self.note_readable(addr, total as i32);
        self.set(result, Val::Parts(parts.into()));
    }

    fn unpack_part_v4(&mut self, stream: &Stream, from: i32, to: i32, bits: u32, sign: Sign) -> VReg {
        let form = |code| forms::Form { v3: code, v4: code };
        if bits == 8 {
            let (bytes, _) = self.stream_bytes(stream, from, to, 64);
            return match bytes {
                Rm::Reg(reg) => reg,
                Rm::Mem(_) | Rm::Broadcast(_) => self.v1(forms::LOAD, bytes),
            };
        }
        if self.features.vbmi {
            // Quadword q holds codes 8 q to 8 q + 7: its bits start at byte q * bits.
            let (bytes, skip) = self.stream_bytes(stream, from, to, 1);
            let places = (0..64).map(|byte| ((byte / 8) * bits + byte % 8 + skip) as u8 & 63).collect();
            let places = self.vector_constant(places);
            let quads = self.v2(form(C::EVEX_Vpermb_zmm_k1z_zmm_zmmm512), places, bytes);
            let codes = self.multishift(quads, |byte| bits * byte);
            return self.extend_codes(codes, bits, sign);
        }
        // 16-byte group g holds lanes 4 g to 4 g + 3: its bits start at byte 2 * g * bits.
        let (bytes, skip) = self.stream_bytes(stream, from, to, 2);
        let word = |word: u32| ((word / 8) * bits + word % 8 + skip / 2) as u16 & 31;
        let words = self.vector_constant((0..32).flat_map(|at| word(at).to_le_bytes()).collect());
        let groups = self.v2(form(C::EVEX_Vpermw_zmm_k1z_zmm_zmmm512), words, bytes);
        self.codes_of_groups(groups, [0, 0], bits, sign)
    }

    fn unpack_part_v3(&mut self, stream: &Stream, from: i32, to: i32, bits: u32, sign: Sign) -> VReg {
        let middle = from + 2 * bits as i32;
        // Whole bytes are taken as they lie: they must start where the group does.
        let unit = if bits == 8 { 64 } else { 1 };
        let (low, low_skip) = self.group_bytes(stream, from, to.min(middle), unit);
        let low = self.in_register(low);
        let (groups, high_skip) = if to > middle {
            let (high, skip) = self.group_bytes(stream, middle, to, unit);
            (self.v2i(forms::JOIN_HALVES, low, high, 1), skip)
        } else {
            (low, 0)
        };
        if bits == 8 { groups } else { self.codes_of_groups(groups, [low_skip, high_skip], bits, sign) }
    }

    /// From 16-byte groups, each with the bits of four lanes some bytes from its start (given for even and
    /// odd groups), to codes.
    fn codes_of_groups(&mut self, groups: VReg, skip: [u32; 2], bits: u32, sign: Sign) -> VReg {
        let place = |byte: u32| {
            let (group, byte) = (byte / 16, byte % 16);
            // A window's last bytes may lie past the group; no code is cut from there.
            (((byte / 4) * bits / 2 + byte % 4 + skip[group as usize % 2]).min(15)) as u8
        };
        let places = self.vector_operand((0..4 * self.width).map(place).collect());
        let windows = self.v2(forms::SHUFFLE_B, groups, places);
        // Odd lanes of an odd width start in the middle of a byte.
        let windows = if bits.is_multiple_of(2) {
            windows
        } else {
            let shifts = self.vector_of(|lane| 4 * (lane % 2));
            let shifts = self.vector_operand(shifts);
            self.v2(forms::SHR_U_V, windows, shifts)
        };
        self.spread_codes(windows, bits, sign)
    }

    /// Bytes `from..to` of a stream as a 64-byte operand, and how many bytes in they start: a multiple of
    /// `unit`. What lies around them is anything.
    fn stream_bytes(&mut self, stream: &Stream, from: i32, to: i32, unit: i32) -> (Rm, u32) {
        let found = [4, 8, 16, 32, 64]
            .into_iter()
            .find_map(|size| stream.window(from, to, size, unit).map(|start| (size, start)));
        let (code, start) = match found {
            Some((4, start)) => (C::EVEX_Vmovd_xmm_rm32, start),
            Some((8, start)) => (C::EVEX_Vmovq_xmm_rm64, start),
            Some((16, start)) => (C::EVEX_Vmovups_xmm_k1z_xmmm128, start),
            Some((32, start)) => (C::EVEX_Vmovups_ymm_k1z_ymmm256, start),
            Some((_, start)) => return (Rm::Mem(stream.addr.plus(start)), (from - start) as u32),
            None => (C::EVEX_Vmovdqu8_zmm_k1z_zmmm512, from),
        };
        let def = self.vreg(VEC);
        let load = Inst::new(code).def(def).mem(stream.addr.plus(start));
        let load = match found {
            Some(_) => load,
            None => {
                let mask = self.mask_constant(u64::MAX >> (64 - (to - from)));
                load.masked(mask, true)
            }
        };
        self.emit(load);
        (Rm::Reg(def), (from - start) as u32)
    }

    /// Bytes `from..to` of a stream, 16 at most, as a 16-byte operand, and how many bytes in they start: a
    /// multiple of `unit`.
    fn group_bytes(&mut self, stream: &Stream, from: i32, to: i32, unit: i32) -> (Rm, u32) {
        match stream.window(from, to, 16, unit) {
            Some(start) => (Rm::Mem(stream.addr.plus(start)), (from - start) as u32),
            None => (Rm::Reg(self.load_exact(stream.addr.plus(from), (to - from) as u32)), 0),
        }
    }

    fn in_register(&mut self, group: Rm) -> VReg {
        match group {
            Rm::Reg(reg) => reg,
            Rm::Mem(addr) | Rm::Broadcast(addr) => self.load_exact(addr, 16),
        }
    }
}

/// A stream in memory and the bytes around its start that may be read, both ends relative to it.
struct Stream {
    addr: Addr,
    readable: (i32, i32),
}

impl Stream {
    /// Where a read of `size` bytes may start so that it covers `from..to`, a multiple of `unit` before it.
    fn window(&self, from: i32, to: i32, size: i32, unit: i32) -> Option<i32> {
        let (first, end) = self.readable;
        let start = from.min(end - size);
        let start = from - (from - start + unit - 1) / unit * unit;
        (to - from <= size && start >= first && start + size >= to).then_some(start)
    }
}
