//! Loads and stores. Only bytes that lane IR names are touched: a vector access where four lanes exist and
//! are active, else one element at a time.
//!
//! A masked access tests once whether all its lanes are active. If so it runs as if it had no mask; if not,
//! a loop over the lanes branches around each inactive one, with masks and values in stack slots.
//!
//! ```text
//! load.contig.f32 b0[v1] mask v2  ->  brif all v2, whole, by_lane
//!                            whole:   16-byte loads                       -> after
//!                            by_lane: for each lane: if its mask, load    -> after
//! ```
//!
//! Elements travel *raw* between memory and these blocks (f16 and bf16 as 16-bit integers) and are converted
//! once, where the paths have met or before they part.

use cranelift_codegen::ir::{BlockArg, InstBuilder, Type, Value, types};
use tvmc_ir::lane::{self, Mem, MemoryOp, Place};

use crate::translate::{Held, Translator};
use crate::words::{F32X4, I32X4, Scratch, Shape, plain};

/// How elements of varying accesses are found.
#[derive(Copy, Clone)]
struct Elements<'a> {
    mem: Mem,
    /// Of element 0.
    address: Value,
    /// For gather and scatter: each lane's distance.
    offsets: Option<&'a [Value]>,
}

/// The raw vector type of a memory element type.
fn raw_vector(mem: Mem) -> Type {
    match mem {
        Mem::F32 => F32X4,
        Mem::U8 | Mem::I8 | Mem::U16 | Mem::I16 | Mem::I32 | Mem::F16 | Mem::Bf16 => I32X4,
    }
}

impl Translator<'_> {
    /// Any load or store; gives what a load defines.
    pub fn memory(
        &mut self,
        form: MemoryOp,
        mem: Mem,
        place: Place,
        masked: bool,
        args: &[lane::Value],
    ) -> Option<Held> {
        let base = self.uniform(args[0]);
        let address = self.address(place, base, mem.bytes());
        let mask = if masked { args.last().copied() } else { None };
        match form {
            MemoryOp::LoadUniform => {
                let mask = mask.map(|mask| self.uniform(mask));
                Some(Held::Uniform(self.load_uniform(mem, address, mask)))
            }
            MemoryOp::StoreUniform => {
                let value = self.uniform(args[1]);
                let raw = self.before_store(mem, Shape::Scalar, value);
                match mask {
                    None => self.store_element(mem, raw, address, 0),
                    Some(mask) => {
                        let mask = self.uniform(mask);
                        self.when(mask, |this| this.store_element(mem, raw, address, 0));
                    }
                }
                None
            }
            MemoryOp::LoadContig | MemoryOp::Gather => {
                let offsets = (form == MemoryOp::Gather).then(|| self.varying(args[1]));
                let elements = Elements { mem, address, offsets: offsets.as_deref() };
                let mask = mask.map(|mask| self.varying(mask));
                let raw = self.load_varying(elements, mask.as_deref());
                let chunks = raw.into_iter().map(|raw| self.after_load(mem, Shape::Vector, raw));
                Some(Held::Varying(chunks.collect()))
            }
            MemoryOp::StoreContig | MemoryOp::Scatter => {
                let scatter = form == MemoryOp::Scatter;
                let offsets = scatter.then(|| self.varying(args[1]));
                let value = self.varying(args[if scatter { 2 } else { 1 }]);
                let raw: Vec<Value> =
                    value.iter().map(|&value| self.before_store(mem, Shape::Vector, value)).collect();
                let elements = Elements { mem, address, offsets: offsets.as_deref() };
                let mask = mask.map(|mask| self.varying(mask));
                self.store_varying(elements, &raw, mask.as_deref());
                None
            }
        }
    }

    /// Address of element `base` of a place.
    pub fn address(&mut self, place: Place, base: Value, bytes: u32) -> Value {
        let pointer = self.pointer(place);
        let distance = self.shl(base, bytes.trailing_zeros());
        self.b.ins().iadd(pointer, distance)
    }

    /// Raw to register.
    fn after_load(&mut self, mem: Mem, shape: Shape, raw: Value) -> Value {
        match mem {
            Mem::F16 => self.f16_to_f32(shape, raw),
            Mem::Bf16 => self.bf16_to_f32(shape, raw),
            Mem::U8 | Mem::I8 | Mem::U16 | Mem::I16 | Mem::I32 | Mem::F32 => raw,
        }
    }

    /// Register to raw; of integers only the low bits count.
    fn before_store(&mut self, mem: Mem, shape: Shape, value: Value) -> Value {
        match mem {
            Mem::F16 => self.f32_to_f16(shape, value),
            Mem::Bf16 => self.f32_to_bf16(shape, value),
            Mem::U8 | Mem::I8 | Mem::U16 | Mem::I16 | Mem::I32 | Mem::F32 => value,
        }
    }

    fn load_element(&mut self, mem: Mem, address: Value, at: i32) -> Value {
        let ins = self.b.ins();
        match mem {
            Mem::U8 => ins.uload8(types::I32, plain(), address, at),
            Mem::I8 => ins.sload8(types::I32, plain(), address, at),
            Mem::U16 | Mem::F16 | Mem::Bf16 => ins.uload16(types::I32, plain(), address, at),
            Mem::I16 => ins.sload16(types::I32, plain(), address, at),
            Mem::I32 => ins.load(types::I32, plain(), address, at),
            Mem::F32 => ins.load(types::F32, plain(), address, at),
        }
    }

    fn store_element(&mut self, mem: Mem, raw: Value, address: Value, at: i32) {
        let ins = self.b.ins();
        match mem {
            Mem::U8 | Mem::I8 => ins.istore8(plain(), raw, address, at),
            Mem::U16 | Mem::I16 | Mem::F16 | Mem::Bf16 => ins.istore16(plain(), raw, address, at),
            Mem::I32 | Mem::F32 => ins.store(plain(), raw, address, at),
        };
    }

    fn load_uniform(&mut self, mem: Mem, address: Value, mask: Option<Value>) -> Value {
        let Some(mask) = mask else {
            let raw = self.load_element(mem, address, 0);
            return self.after_load(mem, Shape::Scalar, raw);
        };
        let (then, after) = (self.b.create_block(), self.b.create_block());
        let zero = match mem {
            Mem::F32 => self.b.ins().f32const(0.0),
            Mem::U8 | Mem::I8 | Mem::U16 | Mem::I16 | Mem::I32 | Mem::F16 | Mem::Bf16 => {
                self.int(Shape::Scalar, 0)
            }
        };
        let raw = self.b.append_block_param(after, raw_vector(mem).lane_type());
        self.b.ins().brif(mask, then, &[], after, &[BlockArg::Value(zero)]);
        self.b.switch_to_block(then);
        let loaded = self.load_element(mem, address, 0);
        self.b.ins().jump(after, &[BlockArg::Value(loaded)]);
        self.b.switch_to_block(after);
        self.after_load(mem, Shape::Scalar, raw)
    }

    /// Whether every lane of a mask is set, as a scalar.
    fn all_set(&mut self, mask: &[Value]) -> Value {
        let all = self.conjunction(mask);
        self.b.ins().vall_true(all)
    }

    fn load_varying(&mut self, elements: Elements, mask: Option<&[Value]>) -> Vec<Value> {
        let Some(mask) = mask else { return self.load_whole(elements) };
        let all = self.all_set(mask);
        let [whole, by_lane, after] = [(); 3].map(|()| self.b.create_block());
        self.b.ins().brif(all, whole, &[], by_lane, &[]);
        let ty = raw_vector(elements.mem);
        let result = (0..self.chunks()).map(|_| self.b.append_block_param(after, ty)).collect();

        self.b.switch_to_block(whole);
        let chunks = self.load_whole(elements);
        let arguments: Vec<BlockArg> = chunks.into_iter().map(BlockArg::Value).collect();
        self.b.ins().jump(after, &arguments);

        self.b.switch_to_block(by_lane);
        let masks = self.spill(Scratch::Mask, mask);
        let zero = self.words([0; 4], ty);
        let zeros = vec![zero; self.chunks()];
        let output = self.spill(Scratch::Result, &zeros);
        let offsets = elements.offsets.map(|offsets| self.spill(Scratch::Operand(0), offsets));
        self.lane_loop(|this, at| {
            let active = this.word_at(masks, at);
            this.when(active, |this| {
                let address = this.element_at(elements, offsets, at);
                let raw = this.load_element(elements.mem, address, 0);
                let slot = this.b.ins().iadd(output, at);
                this.b.ins().store(plain(), raw, slot, 0);
            });
        });
        let chunks = self.reload(Scratch::Result, ty);
        let arguments: Vec<BlockArg> = chunks.into_iter().map(BlockArg::Value).collect();
        self.b.ins().jump(after, &arguments);

        self.b.switch_to_block(after);
        result
    }

    fn store_varying(&mut self, elements: Elements, raw: &[Value], mask: Option<&[Value]>) {
        let Some(mask) = mask else { return self.store_whole(elements, raw) };
        let all = self.all_set(mask);
        let [whole, by_lane, after] = [(); 3].map(|()| self.b.create_block());
        self.b.ins().brif(all, whole, &[], by_lane, &[]);

        self.b.switch_to_block(whole);
        self.store_whole(elements, raw);
        self.b.ins().jump(after, &[]);

        self.b.switch_to_block(by_lane);
        self.store_by_lane(elements, raw, Some(mask));
        self.b.ins().jump(after, &[]);

        self.b.switch_to_block(after);
    }

    fn store_by_lane(&mut self, elements: Elements, raw: &[Value], mask: Option<&[Value]>) {
        let ty = raw_vector(elements.mem).lane_type();
        let masks = mask.map(|mask| self.spill(Scratch::Mask, mask));
        let values = self.spill(Scratch::Operand(1), raw);
        let offsets = elements.offsets.map(|offsets| self.spill(Scratch::Operand(0), offsets));
        self.lane_loop(|this, at| {
            let store = |this: &mut Self| {
                let slot = this.b.ins().iadd(values, at);
                let raw = this.b.ins().load(ty, plain(), slot, 0);
                let address = this.element_at(elements, offsets, at);
                this.store_element(elements.mem, raw, address, 0);
            };
            match masks {
                None => store(this),
                Some(masks) => {
                    let active = this.word_at(masks, at);
                    this.when(active, store);
                }
            }
        });
    }

    /// The word of a lane (given by four times its number) in a stack slot.
    pub fn word_at(&mut self, slot: Value, at: Value) -> Value {
        let address = self.b.ins().iadd(slot, at);
        self.b.ins().load(types::I32, plain(), address, 0)
    }

    /// Address of a lane's element within a loop over the lanes.
    fn element_at(&mut self, elements: Elements, offsets: Option<Value>, at: Value) -> Value {
        let bytes = elements.mem.bytes();
        match offsets {
            Some(offsets) => {
                let offset = self.word_at(offsets, at);
                self.offset_address(elements, offset)
            }
            None => {
                let distance = self.shr(at, 2 - bytes.trailing_zeros());
                self.b.ins().iadd(elements.address, distance)
            }
        }
    }

    fn offset_address(&mut self, elements: Elements, offset: Value) -> Value {
        let offset = self.b.ins().sextend(types::I64, offset);
        let distance = self.shl(offset, elements.mem.bytes().trailing_zeros());
        self.b.ins().iadd(elements.address, distance)
    }

    /// All lanes active.
    fn load_whole(&mut self, elements: Elements) -> Vec<Value> {
        let ty = raw_vector(elements.mem);
        match elements.offsets {
            Some(offsets) => self.map_lanes(&[offsets], ty, |this, lane| {
                let address = this.offset_address(elements, lane[0]);
                this.load_element(elements.mem, address, 0)
            }),
            None => self.load_contiguous(elements.mem, elements.address),
        }
    }

    fn load_contiguous(&mut self, mem: Mem, address: Value) -> Vec<Value> {
        let (whole, tail) = (self.lanes() / 4, self.lanes() % 4);
        let mut out = Vec::with_capacity(self.chunks());
        while out.len() < whole {
            let at = 4 * (out.len() as u32 * mem.bytes()) as i32;
            match mem {
                Mem::F32 | Mem::I32 => out.push(self.b.ins().load(raw_vector(mem), plain(), address, at)),
                Mem::U16 | Mem::F16 | Mem::Bf16 => out.push(self.b.ins().uload16x4(plain(), address, at)),
                Mem::I16 => out.push(self.b.ins().sload16x4(plain(), address, at)),
                Mem::U8 | Mem::I8 => {
                    let pair = whole - out.len() >= 2;
                    let signed = mem == Mem::I8;
                    let wide = match (pair, signed) {
                        (true, false) => self.b.ins().uload8x8(plain(), address, at),
                        (true, true) => self.b.ins().sload8x8(plain(), address, at),
                        (false, _) => {
                            let word = self.b.ins().load(types::I32, plain(), address, at);
                            let vector = self.b.ins().scalar_to_vector(I32X4, word);
                            let bytes = self.cast(types::I8X16, vector);
                            if signed {
                                self.b.ins().swiden_low(bytes)
                            } else {
                                self.b.ins().uwiden_low(bytes)
                            }
                        }
                    };
                    out.push(if signed {
                        self.b.ins().swiden_low(wide)
                    } else {
                        self.b.ins().uwiden_low(wide)
                    });
                    if pair {
                        out.push(if signed {
                            self.b.ins().swiden_high(wide)
                        } else {
                            self.b.ins().uwiden_high(wide)
                        });
                    }
                }
            }
        }
        if tail > 0 {
            let start = 4 * (whole as u32 * mem.bytes()) as i32;
            let first = self.load_element(mem, address, start);
            let mut vector = self.b.ins().scalar_to_vector(raw_vector(mem), first);
            for lane in 1..tail {
                let at = start + lane as i32 * mem.bytes() as i32;
                let element = self.load_element(mem, address, at);
                vector = self.b.ins().insertlane(vector, element, lane as u8);
            }
            out.push(vector);
        }
        out
    }

    /// All lanes active.
    fn store_whole(&mut self, elements: Elements, raw: &[Value]) {
        const INLINE_LANES: usize = 32;
        match elements.offsets {
            None => self.store_contiguous(elements.mem, elements.address, raw),
            Some(_) if self.lanes() > INLINE_LANES => self.store_by_lane(elements, raw, None),
            Some(offsets) => {
                for lane in 0..self.lanes() {
                    let (chunk, part) = (lane / 4, (lane % 4) as u8);
                    let offset = self.lane_of(offsets[chunk], part);
                    let value = self.lane_of(raw[chunk], part);
                    let address = self.offset_address(elements, offset);
                    self.store_element(elements.mem, value, address, 0);
                }
            }
        }
    }

    fn store_contiguous(&mut self, mem: Mem, address: Value, raw: &[Value]) {
        let (whole, tail) = (self.lanes() / 4, self.lanes() % 4);
        let mut done = 0;
        while done < whole {
            let at = 4 * (done as u32 * mem.bytes()) as i32;
            let left = whole - done;
            match mem {
                Mem::F32 | Mem::I32 => {
                    self.b.ins().store(plain(), raw[done], address, at);
                    done += 1;
                }
                Mem::U16 | Mem::I16 | Mem::F16 | Mem::Bf16 => {
                    let count = left.min(2);
                    let halves = self.narrow_to_halves(mem, raw[done], raw[done + count - 1]);
                    self.store_low_bytes(halves, 8 * count, address, at);
                    done += count;
                }
                Mem::U8 | Mem::I8 => {
                    let count = if left >= 4 { 4 } else { left.min(2) };
                    let pick = |at: usize| raw[done + at.min(count - 1)];
                    let words = [0, 1, 2, 3].map(pick);
                    let words = words.map(|word| self.mask(Shape::Vector, word, 0xff));
                    let low = self.b.ins().snarrow(words[0], words[1]);
                    let high = if count == 4 { self.b.ins().snarrow(words[2], words[3]) } else { low };
                    let bytes = self.b.ins().unarrow(low, high);
                    self.store_low_bytes(bytes, 4 * count, address, at);
                    done += count;
                }
            }
        }
        for lane in 0..tail {
            let element = self.b.ins().extractlane(raw[whole], lane as u8);
            let at = (4 * whole + lane) as i32 * mem.bytes() as i32;
            self.store_element(mem, element, address, at);
        }
    }

    /// The low 16 bits of eight words. Saturation does nothing: no word is above 16 bits.
    fn narrow_to_halves(&mut self, mem: Mem, low: Value, high: Value) -> Value {
        let [low, high] = match mem {
            Mem::F16 | Mem::Bf16 => [low, high],
            Mem::U8 | Mem::I8 | Mem::U16 | Mem::I16 | Mem::I32 | Mem::F32 => {
                [low, high].map(|word| self.mask(Shape::Vector, word, 0xffff))
            }
        };
        self.b.ins().unarrow(low, high)
    }

    /// Stores the first 4, 8 or 16 bytes of a vector.
    fn store_low_bytes(&mut self, vector: Value, bytes: usize, address: Value, at: i32) {
        let part = match bytes {
            4 => {
                let words = self.cast(I32X4, vector);
                self.b.ins().extractlane(words, 0)
            }
            8 => {
                let longs = self.cast(types::I64X2, vector);
                self.b.ins().extractlane(longs, 0)
            }
            _ => vector,
        };
        self.b.ins().store(plain(), part, address, at);
    }
}
