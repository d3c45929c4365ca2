//! Contiguous and uniform loads and stores.
//!
//! A part's mask joins the program's mask and the lanes that exist. AVX-512 masks every element size and
//! suppresses faults of masked-off elements; AVX2 masks 32-bit elements only, so smaller ones go through
//! exact pieces (`narrow`) where the lanes are known and a loop over lanes where they are not.
//!
//! A contiguous load of an argument that is only read also asks for what lies [`AHEAD`] bytes on. Weights come from memory once a token, in
//! matrices of half a megabyte: too short for the processor's own prefetcher to get far ahead.

use iced_x86::Code as C;
use regalloc2::VReg;
use tvmc_ir::lane::{Access, Inst as LaneInst, Mem, MemoryOp, Place, Scalar, Value};

use super::{Lower, Val, forms};
use crate::mir::{Addr, GPR, Inst, MASK, Rm, Term, VEC};

/// Bytes between a load and what is asked for with it, into the second cache: far, but within what that holds. `docs/lab-notes.md` has the figures.
const AHEAD: i32 = 6144;
/// Bytes of a cache line.
const LINE: i32 = 64;

impl<'f> Lower<'f> {
    /// Asks for the line that a contiguous load will want soon. Where several loads share a line, the first in it asks. An address
    /// behind the argument's end is no fault, and nothing of it is seen.
    pub(super) fn prefetch(&mut self, place: Place, addr: Addr) {
        let Place::Buffer(buffer) = place else { return };
        let read_only = self.f.buffers[buffer.index()].access == Access::Read;
        if read_only && addr.disp % LINE == 0 {
            self.emit(Inst::new(C::Prefetcht1_m8).mem(addr.plus(AHEAD)));
        }
    }

    /// Lanes of a part.
    pub(super) fn lanes_of(&self, part: u32) -> u32 {
        (self.f.lanes - part * self.width).min(self.width)
    }

    /// The mask of a part, or `None` where all of its `P` lanes exist and are on.
    pub(super) fn part_mask(&mut self, mask: Option<Value>, part: u32) -> Option<VReg> {
        let lanes = self.lanes_of(part);
        let tail = (lanes < self.width).then(|| self.first_lanes(lanes));
        let mask = mask.map(|mask| self.part(mask, part));
        match (mask, tail) {
            (Some(mask), Some(tail)) => Some(self.mask_and(mask, tail)),
            (mask, tail) => mask.or(tail),
        }
    }

    /// The mask of the first lanes of a part.
    pub(super) fn first_lanes(&mut self, lanes: u32) -> VReg {
        if self.v4 {
            return self.mask_constant((1 << lanes) - 1);
        }
        let bytes = self.vector_of(|l| if l < lanes { u32::MAX } else { 0 });
        self.vector_constant(bytes)
    }

    pub(super) fn memory(
        &mut self,
        form: MemoryOp,
        mem: Mem,
        place: Place,
        masked: bool,
        inst: &'f LaneInst,
    ) {
        let (rest, mask) = match inst.args.split_last() {
            Some((&mask, rest)) if masked => (rest, Some(mask)),
            _ => (inst.args.as_slice(), None),
        };
        // A mask that is known to be all true is none.
        let mask = mask.filter(|&mask| self.constant(mask) != Some(1));
        let base = rest[0];
        match (form, inst.result) {
            (MemoryOp::LoadUniform, Some(result)) => {
                let mut addr = self.address(place, base, mem.bytes());
                if let Some(mask) = mask {
                    let condition = self.uniform(mask);
                    let zero = Addr::pool(self.mir.pool.add(4, vec![0; 4]));
                    let chosen = self.choose_address(condition, addr, zero);
                    addr = Addr::at(chosen, 0);
                }
                let reg = self.load_one(mem, addr);
                self.set_reg(result, reg);
            }
            (MemoryOp::LoadContig, Some(result)) => {
                let addr = self.address(place, base, mem.bytes());
                self.prefetch(place, addr);
                self.set_parts(result, |this, part| {
                    let addr = addr.plus((part * this.width * mem.bytes()) as i32);
                    this.load_part(mem, addr, part, mask)
                });
                if mask.is_none() {
                    self.note_readable(addr, (self.f.lanes * mem.bytes()) as i32);
                }
            }
            (MemoryOp::Gather, Some(result)) => self.gather(mem, place, base, rest[1], mask, result),
            (MemoryOp::StoreUniform, _) => self.store_uniform(mem, place, base, rest[1], mask),
            (MemoryOp::StoreContig, _) => {
                let addr = self.address(place, base, mem.bytes());
                for part in 0..self.parts {
                    let addr = addr.plus((part * self.width * mem.bytes()) as i32);
                    let value = self.part(rest[1], part);
                    self.store_part(mem, addr, part, value, mask);
                }
            }
            (MemoryOp::Scatter, _) => self.scatter(mem, place, base, rest[1], rest[2], mask),
            (MemoryOp::LoadUniform | MemoryOp::LoadContig | MemoryOp::Gather, None) => {
                unreachable!("a load has a result")
            }
        }
    }

    /// The bytes around an address, relative to it, that may be read besides its own `bytes`: those next to
    /// them that code before this has read unconditionally.
    pub(super) fn readable(&self, addr: Addr, bytes: i32) -> (i32, i32) {
        let key = Addr { disp: 0, ..addr };
        let (mut first, mut end) = (addr.disp, addr.disp + bytes);
        for scope in &self.scopes {
            if let Some(&(from, to)) = scope.readable.get(&key)
                && from <= end
                && first <= to
            {
                (first, end) = (first.min(from), end.max(to));
            }
        }
        (first - addr.disp, end - addr.disp)
    }

    /// Notes that an address' bytes are read here.
    pub(super) fn note_readable(&mut self, addr: Addr, bytes: i32) {
        let (first, end) = self.readable(addr, bytes);
        if let Some(scope) = self.scopes.last_mut() {
            let key = Addr { disp: 0, ..addr };
            scope.readable.insert(key, (addr.disp + first, addr.disp + end));
        }
    }

    /// One element, widened: a general register, or a vector register for floats.
    fn load_one(&mut self, mem: Mem, addr: Addr) -> VReg {
        let from = Rm::Mem(addr);
        match mem {
            Mem::U8 => self.gpr_from(C::Movzx_r32_rm8, from),
            Mem::I8 => self.gpr_from(C::Movsx_r32_rm8, from),
            Mem::U16 => self.gpr_from(C::Movzx_r32_rm16, from),
            Mem::I16 => self.gpr_from(C::Movsx_r32_rm16, from),
            Mem::I32 => self.gpr_from(C::Mov_r32_rm32, from),
            Mem::F16 => {
                let half = self.gpr_from(C::Movzx_r32_rm16, from);
                let half = self.v1(forms::FROM_GPR, half);
                self.v1(forms::HALF_TO_F_X, half)
            }
            Mem::Bf16 => {
                let half = self.gpr_from(C::Movzx_r32_rm16, from);
                let bits = self.tied_imm(C::Shl_rm32_imm8, half, 16);
                self.v1(forms::FROM_GPR, bits)
            }
            Mem::F32 => self.load_scalar(addr),
        }
    }

    fn store_uniform(&mut self, mem: Mem, place: Place, base: Value, value: Value, mask: Option<Value>) {
        let addr = self.address(place, base, mem.bytes());
        let value = self.uniform(value);
        let (code, value) = match mem {
            Mem::U8 | Mem::I8 => (C::Mov_rm8_r8, value),
            Mem::U16 | Mem::I16 => (C::Mov_rm16_r16, value),
            Mem::I32 => (C::Mov_rm32_r32, value),
            Mem::F16 => {
                let half = self.v1i(forms::F_TO_HALF_X, value, 0);
                (C::Mov_rm16_r16, self.first_element(half))
            }
            Mem::Bf16 => {
                let bits = self.bf16_of(value);
                (C::Mov_rm16_r16, self.first_element(bits))
            }
            Mem::F32 => (self.code(forms::STORE_S), value),
        };
        let store = Inst::new(code).mem(addr).reg(value);
        let Some(mask) = mask else { return self.emit(store) };
        let [then, skip, join] = std::array::from_fn(|_| self.mir.block());
        self.branch(mask, then, skip);
        self.place(then);
        self.emit(store);
        self.finish(Term::Jump(join, Vec::new()));
        self.place(skip);
        self.finish(Term::Jump(join, Vec::new()));
        self.place(join);
    }

    /// `P` consecutive elements, widened; those masked off are 0 and not touched.
    fn load_part(&mut self, mem: Mem, addr: Addr, part: u32, mask: Option<Value>) -> VReg {
        let form = match mem {
            Mem::F32 | Mem::I32 => forms::LOAD,
            Mem::U8 => forms::ZX_B,
            Mem::I8 => forms::SX_B,
            Mem::U16 | Mem::Bf16 => forms::ZX_W,
            Mem::I16 => forms::SX_W,
            Mem::F16 => forms::HALF_TO_F,
        };
        let lanes = self.lanes_of(part);
        let loaded = if self.v4 {
            let mask = self.part_mask(mask, part);
            let def = self.vreg(VEC);
            let load = Inst::new(form.v4).def(def).mem(addr);
            self.emit(match mask {
                Some(mask) => load.masked(mask, true),
                None => load,
            });
            def
        } else if mask.is_none() && lanes == self.width {
            self.v1(form, Rm::Mem(addr))
        } else if mem.bytes() == 4 {
            let mask = self.part_mask(mask, part).unwrap_or_else(|| unreachable!("some lane is off"));
            let def = self.vreg(VEC);
            self.emit(Inst::new(C::VEX_Vmaskmovps_ymm_ymm_m256).def(def).reg(mask).mem(addr));
            def
        } else if mask.is_none() {
            let bytes = self.load_exact(addr, lanes * mem.bytes());
            self.v1(form, bytes)
        } else {
            let mask = self.part_mask(mask, part).unwrap_or_else(|| unreachable!("some lane is off"));
            return self.load_by_lane(mem, addr, mask);
        };
        if mem == Mem::Bf16 { self.v1i(forms::SHL_C, loaded, 16) } else { loaded }
    }

    /// What a vector looks like just before its low parts go to memory: floats as bits of their format.
    pub(super) fn storage_of(&mut self, mem: Mem, value: VReg) -> VReg {
        match mem {
            Mem::F16 => {
                let half = self.half_of(value);
                self.v1(forms::ZX_W, half)
            }
            Mem::Bf16 => self.bf16_of(value),
            Mem::U8 | Mem::I8 | Mem::U16 | Mem::I16 | Mem::I32 | Mem::F32 => value,
        }
    }

    fn store_part(&mut self, mem: Mem, addr: Addr, part: u32, value: VReg, mask: Option<Value>) {
        let value = if mem == Mem::Bf16 { self.bf16_of(value) } else { value };
        if self.v4 {
            let mask = self.part_mask(mask, part);
            let store = match mem {
                Mem::F32 | Mem::I32 => Inst::new(forms::STORE.v4).mem(addr).reg(value),
                Mem::U8 | Mem::I8 => Inst::new(C::EVEX_Vpmovdb_xmmm128_k1z_zmm).mem(addr).reg(value),
                Mem::U16 | Mem::I16 | Mem::Bf16 => {
                    Inst::new(C::EVEX_Vpmovdw_ymmm256_k1z_zmm).mem(addr).reg(value)
                }
                Mem::F16 => Inst::new(forms::F_TO_HALF.v4).mem(addr).reg(value).imm(0),
            };
            return self.emit(match mask {
                Some(mask) => store.masked(mask, false),
                None => store,
            });
        }
        let lanes = self.lanes_of(part);
        if mem.bytes() == 4 {
            let store = match self.part_mask(mask, part) {
                Some(mask) => Inst::new(C::VEX_Vmaskmovps_m256_ymm_ymm).mem(addr).reg(mask).reg(value),
                None => Inst::new(forms::STORE.v3).mem(addr).reg(value),
            };
            return self.emit(store);
        }
        if let Some(mask) = mask {
            let mask = self.part_mask(Some(mask), part).unwrap_or_else(|| unreachable!("there is a mask"));
            return self.store_by_lane(mem, addr, value, mask);
        }
        let narrow = match mem {
            Mem::U8 | Mem::I8 => self.narrow_bytes(value),
            Mem::F16 => self.half_of(value),
            Mem::U16 | Mem::I16 | Mem::Bf16 | Mem::I32 | Mem::F32 => self.narrow_words(value),
        };
        self.store_exact(addr, narrow, lanes * mem.bytes());
    }

    /// Uniform to varying.
    pub(super) fn splat(&mut self, value: Value, result: Value) {
        if let Some(imm) = self.constant(value) {
            return self.set(result, Val::SplatImm(imm as u32));
        }
        let scalar = self.scalar(value);
        if let Some(addr) = self.pending_load(value) {
            let reg = self.v1(forms::BROADCAST, Rm::Mem(addr));
            return self.set(result, Val::Parts(vec![reg; self.parts as usize].into()));
        }
        let reg = match scalar {
            Scalar::F32 => {
                let reg = self.uniform(value);
                self.v1(forms::BROADCAST, reg)
            }
            Scalar::I32 | Scalar::I64 => {
                let reg = self.uniform(value);
                self.broadcast_gpr(reg)
            }
            Scalar::Bool => {
                let reg = self.uniform(value);
                let ones = self.vreg(GPR);
                self.emit(Inst::new(C::Neg_rm32).tied(ones, reg));
                if self.v4 {
                    let mask = self.vreg(MASK);
                    self.emit(Inst::new(C::VEX_Kmovw_kr_r32).def(mask).reg(ones));
                    mask
                } else {
                    self.broadcast_gpr(ones)
                }
            }
        };
        self.set(result, Val::Parts(vec![reg; self.parts as usize].into()));
    }

    pub(super) fn broadcast_gpr(&mut self, reg: VReg) -> VReg {
        if self.v4 {
            let def = self.vreg(VEC);
            self.emit(Inst::new(C::EVEX_Vpbroadcastd_zmm_k1z_r32).def(def).reg(reg));
            return def;
        }
        let low = self.v1(forms::FROM_GPR, reg);
        self.v1(forms::BROADCAST, low)
    }
}
