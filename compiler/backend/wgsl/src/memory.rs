//! Loads, stores and table look-ups. Memory is words; an element below 32 bits is cut out of its word.
//!
//! ```text
//! load.contig.u16 b0[v4]            let e1 = v4.x + lane + b0_halves;
//!                                   let v5 = (b0[e1 >> 1u] >> ((e1 & 1u) << 4u)) & 0xffffu;
//! store.contig.u8 b1[v4], v5        let e2 = v4.x + lane + b1_bytes;
//!                                   let s3 = (e2 & 3u) << 3u;
//!                                   atomicXor(&b1[e2 >> 2u], (atomicLoad(&b1[e2 >> 2u]) ^ (v5 << s3)) & (0xffu << s3));
//! ```
//!
//! The exclusive-or changes only bits of the lane's own element, whatever its neighbours do to theirs at the same
//! time, and its outcome is the stored value because nobody else writes those bits.
//!
//! Loads that `vectors` found to be parts of one vector are cut out of that, which is loaded where the first of them stands.
//!
//! A `store.uniform` is executed by lane 0. Where the place is also loaded, barriers around the store make it one
//! event for the whole block.

use tvmc_ir::lane::{Buffer, Mem, MemoryOp, Place, Sign, Table, Value};

use crate::emit::{Emitter, from_bits, to_bits, type_name};
use crate::fragments::Half;
use crate::helpers::Helper;
use crate::vectors::{Part, Vector};

impl Emitter<'_> {
    /// A load or store. Operands: base, offset (gather, scatter), value (stores), mask.
    pub(crate) fn memory(
        &mut self,
        form: MemoryOp,
        mem: Mem,
        place: Place,
        masked: bool,
        args: &[&str],
        result: Option<Value>,
    ) {
        if let Some(part) = result.and_then(|result| self.vectors.parts.get(&result).copied())
            && let Some(result) = result
        {
            return self.part(part, mem, (form, masked), args, result);
        }
        let mut rest = args.iter().copied();
        let base = rest.next().unwrap_or("");
        let index = match form {
            MemoryOp::LoadUniform | MemoryOp::StoreUniform => format!("{base}.x"),
            MemoryOp::LoadContig | MemoryOp::StoreContig => format!("{base}.x + lane"),
            MemoryOp::Gather | MemoryOp::Scatter => {
                let offset = rest.next().unwrap_or("");
                format!("{base}.x + {offset}")
            }
        };
        match form {
            MemoryOp::LoadUniform | MemoryOp::LoadContig | MemoryOp::Gather => {
                let mask = if masked { rest.next() } else { None };
                if let Some(result) = result {
                    self.load(mem, place, &index, mask, result);
                }
            }
            MemoryOp::StoreUniform => {
                let value = rest.next().unwrap_or("");
                let mask = if masked { rest.next() } else { None };
                let ordered = self.usage.place(place).loaded;
                if ordered {
                    self.order(place);
                }
                let condition = mask.map_or("lane == 0u".to_owned(), |m| format!("lane == 0u && {m}"));
                self.store(mem, place, &index, value, Some(&condition));
                if ordered {
                    self.order(place);
                }
            }
            MemoryOp::StoreContig | MemoryOp::Scatter => {
                let value = rest.next().unwrap_or("");
                let mask = if masked { rest.next() } else { None };
                self.store(mem, place, &index, value, mask);
            }
        }
    }

    fn load(&mut self, mem: Mem, place: Place, index: &str, mask: Option<&str>, result: Value) {
        let Some(mask) = mask else {
            let value = self.loaded(mem, place, index);
            return self.define(result, &value);
        };
        // declared without a value, a variable is zero
        let line = format!("var {}: {};", self.name(result), type_name(self.ty(result).scalar));
        self.line(&line);
        self.open(&format!("if ({mask})"));
        let value = self.loaded(mem, place, index);
        let line = format!("{} = {value};", self.name(result));
        self.line(&line);
        self.close();
    }

    /// An element that is part of a vector, which is loaded first if it is not yet.
    fn part(&mut self, part: Part, mem: Mem, (form, masked): (MemoryOp, bool), args: &[&str], result: Value) {
        let vector = self.vectors.vectors[part.vector];
        let known = self.vector_names.get(&part.vector).cloned();
        let name = known.unwrap_or_else(|| {
            let mut rest = args.iter().copied().skip(1);
            let offset = if form == MemoryOp::Gather { rest.next() } else { None };
            let mask = if masked { rest.next() } else { None };
            let name = self.load_vector(vector, mem, offset, mask);
            self.vector_names.insert(part.vector, name.clone());
            name
        });
        let word = match (vector.words, part.word) {
            (1, _) => name,
            (_, at) => format!("{name}.{}", ["x", "y", "z", "w"][at as usize & 3]),
        };
        let shift = part.shift;
        let down = |word: &str| if shift == 0 { word.to_owned() } else { format!("({word} >> {shift}u)") };
        let value = match mem {
            Mem::I32 | Mem::F32 => from_bits(mem.loaded(), &word),
            Mem::U8 | Mem::U16 => format!("{} & {:#x}u", down(&word), element_mask(mem)),
            Mem::I8 => format!("u32(i32({word} << {}u) >> 24u)", 24 - shift),
            Mem::I16 => format!("u32(i32({word} << {}u) >> 16u)", 16 - shift),
            Mem::F16 => {
                self.halves.insert(result, Half { word: word.clone(), upper: shift == 16 });
                self.half_to_float(&down(&word))
            }
            Mem::Bf16 if shift == 0 => format!("bitcast<f32>({word} << 16u)"),
            Mem::Bf16 => format!("bitcast<f32>({word} & 0xffff0000u)"),
        };
        self.define(result, &value);
    }

    /// Loads a vector; gives its name.
    fn load_vector(&mut self, vector: Vector, mem: Mem, offset: Option<&str>, mask: Option<&str>) -> String {
        let buffer = vector.buffer;
        let unit = ["bytes", "halves", "", "words"][mem.bytes() as usize - 1];
        let root = vector.root.map(|root| format!("{}.x", self.name(root)));
        let terms: Vec<String> = root
            .into_iter()
            .chain(offset.map(str::to_owned))
            .chain((vector.first != 0).then(|| format!("{}u", vector.first as u32)))
            .chain([format!("{buffer}_{unit}")])
            .collect();
        // In words, then in what the array holds.
        let per_word = (4 / mem.bytes()).trailing_zeros();
        let element = self.let_u32(&terms.join(" + "));
        let word = if per_word == 0 { element } else { self.let_u32(&format!("{element} >> {per_word}u")) };
        let held = self.vectors.words[buffer.index()];
        let value = if vector.words == held && held > 1 {
            format!("{buffer}[{word} >> {}u]", held.trailing_zeros())
        } else if vector.words == 1 {
            self.word(Place::Buffer(buffer), &word)
        } else {
            let next = self.let_u32(&format!("{word} + 1u"));
            let place = Place::Buffer(buffer);
            format!("vec2<u32>({}, {})", self.word(place, &word), self.word(place, &next))
        };
        let name = self.fresh("q");
        match mask {
            None => self.line(&format!("let {name} = {value};")),
            Some(mask) => {
                self.line(&format!("var {name}: {};", vector_type(vector.words)));
                self.line(&format!("if ({mask}) {{ {name} = {value}; }}"));
            }
        }
        name
    }

    /// The value of the element with this index, as a register.
    fn loaded(&mut self, mem: Mem, place: Place, index: &str) -> String {
        match mem {
            Mem::I32 | Mem::F32 => {
                let at = self.word_index(place, index);
                from_bits(mem.loaded(), &self.word(place, &at))
            }
            Mem::U8 | Mem::U16 => {
                let (word, shift) = self.cut(mem, place, index);
                format!("({word} >> {shift}) & {:#x}u", element_mask(mem))
            }
            // up to the sign bit, then down
            Mem::I8 => {
                let (word, shift) = self.cut(mem, place, index);
                format!("u32(i32({word} << (24u - {shift})) >> 24u)")
            }
            Mem::I16 => {
                let (word, shift) = self.cut(mem, place, index);
                format!("u32(i32({word} << (16u - {shift})) >> 16u)")
            }
            Mem::F16 => {
                let (word, shift) = self.cut(mem, place, index);
                self.half_to_float(&format!("{word} >> {shift}"))
            }
            Mem::Bf16 => {
                let (word, shift) = self.cut(mem, place, index);
                format!("bitcast<f32>(({word} >> {shift}) << 16u)")
            }
        }
    }

    /// The word that holds an element below 32 bits, and the name of its bit offset there.
    fn cut(&mut self, mem: Mem, place: Place, index: &str) -> (String, String) {
        let (at, shift) = self.element(mem, place, index);
        (self.word(place, &at), shift)
    }

    fn store(&mut self, mem: Mem, place: Place, index: &str, value: &str, condition: Option<&str>) {
        if let Some(condition) = condition {
            self.open(&format!("if ({condition})"));
        }
        let bits = match mem {
            Mem::F16 => self.call(Helper::F32ToF16, "f32_to_f16", &[value]),
            Mem::Bf16 => self.call(Helper::F32ToBf16, "f32_to_bf16", &[value]),
            Mem::F32 | Mem::I32 => to_bits(mem.loaded(), value),
            // integer stores keep the low bits
            Mem::U8 | Mem::I8 | Mem::U16 | Mem::I16 => value.to_owned(),
        };
        let array = array(place);
        if mem.bytes() < 4 {
            let (at, shift) = self.element(mem, place, index);
            let mask = element_mask(mem);
            self.line(&format!(
                "atomicXor(&{array}[{at}], (atomicLoad(&{array}[{at}]) ^ ({bits} << {shift})) & ({mask:#x}u << {shift}));"
            ));
        } else {
            let at = self.word_index(place, index);
            if self.usage.place(place).atomic {
                self.line(&format!("atomicStore(&{array}[{at}], {bits});"));
            } else if self.usage.place(place).floats {
                self.line(&format!("{array}[{at}] = bitcast<f32>({bits});"));
            } else {
                self.line(&format!("{array}[{at}] = {bits};"));
            }
        }
        if condition.is_some() {
            self.close();
        }
    }

    /// Bits of bytes: as a store of bytes, whose mask is the operand.
    pub(crate) fn store_bits(&mut self, buffer: Buffer, args: &[&str]) {
        let [base, offset, value, bits, mask] = args else { return };
        self.open(&format!("if ({mask})"));
        let (at, shift) = self.element(Mem::U8, Place::Buffer(buffer), &format!("{base}.x + {offset}"));
        self.line(&format!(
            "atomicXor(&{buffer}[{at}], (atomicLoad(&{buffer}[{at}]) ^ ({value} << {shift})) & (({bits} & 0xffu) << {shift}));"
        ));
        self.close();
    }

    /// Names of the word index and of the bit offset in the word of a smaller element.
    fn element(&mut self, mem: Mem, place: Place, index: &str) -> (String, String) {
        let element = self.fresh("e");
        let (unit, per_word, in_word) = if mem.bytes() == 1 {
            ("bytes", 2, format!("({element} & 3u) << 3u"))
        } else {
            ("halves", 1, format!("({element} & 1u) << 4u"))
        };
        match place {
            Place::Buffer(b) => self.line(&format!("let {element} = {index} + {b}_{unit};")),
            Place::Arena(_) => self.line(&format!("let {element} = {index};")),
        }
        let word = self.let_u32(&format!("{element} >> {per_word}u"));
        let shift = self.let_u32(&in_word);
        (word, shift)
    }

    /// The word index of a 32-bit element; a name where it is used twice.
    fn word_index(&mut self, place: Place, index: &str) -> String {
        match place {
            Place::Buffer(b) if self.vectors.words[b.index()] > 1 => {
                self.let_u32(&format!("{index} + {b}_words"))
            }
            Place::Buffer(b) => format!("{index} + {b}_words"),
            Place::Arena(_) => index.to_owned(),
        }
    }

    /// The word at an index.
    fn word(&self, place: Place, at: &str) -> String {
        if self.usage.place(place).atomic {
            format!("atomicLoad(&{}[{at}])", array(place))
        } else if self.usage.place(place).floats {
            format!("bitcast<u32>({}[{at}])", array(place))
        } else {
            match place {
                Place::Buffer(b) if self.vectors.words[b.index()] > 1 => {
                    let held = self.vectors.words[b.index()];
                    format!("{b}[{at} >> {}u][{at} & {}u]", held.trailing_zeros(), held - 1)
                }
                Place::Buffer(_) | Place::Arena(_) => format!("{}[{at}]", array(place)),
            }
        }
    }

    /// Four codes per lane from one stream. A lane's codes lie in one word or straddle two; the second word is
    /// read only then, so that nothing past the stream's last byte's word is touched.
    pub(crate) fn load_unpack(&mut self, place: Place, bits: u32, sign: Sign, base: &str) -> String {
        let start = match place {
            Place::Buffer(b) => self.let_u32(&format!("{base}.x + {b}_bytes")),
            Place::Arena(_) => self.let_u32(&format!("{base}.x")),
        };
        let bit = self.let_u32(&format!("((({start}) & 3u) << 3u) + lane * {}u", 4 * bits));
        let at = self.let_u32(&format!("({start} >> 2u) + ({bit} >> 5u)"));
        let shift = self.let_u32(&format!("{bit} & 31u"));
        let low = self.let_u32(&self.word(place, &at));
        let second = self.let_u32(&format!("{at} + select(0u, 1u, {shift} > {}u)", 32 - 4 * bits));
        let high = self.let_u32(&self.word(place, &second));
        // two shifts, since a shift by 32 would be one by 0
        let word = self.let_u32(&format!("({low} >> {shift}) | (({high} << 1u) << (31u - {shift}))"));
        self.spread(&word, bits, sign)
    }

    /// A table entry; the padding of the constants makes the modulus a mask.
    pub(crate) fn table(&mut self, table: Table, index: &str) -> String {
        let decl = &self.function.tables[table.index()];
        let mask = decl.entries.len().next_power_of_two() - 1;
        let first = self.tables[table.index()];
        let word = if first == 0 {
            format!("constants[{index} & {mask}u]")
        } else {
            format!("constants[{first}u + ({index} & {mask}u)]")
        };
        from_bits(decl.scalar, &word)
    }

    /// A byte of the table for each byte of the index.
    pub(crate) fn table_bytes(&mut self, table: Table, index: &str) -> String {
        let bytes: Vec<String> = (0..4)
            .map(|byte| match byte {
                0 => self.table(table, index),
                _ => format!(
                    "({} << {}u)",
                    self.table(table, &format!("({index} >> {}u)", 8 * byte)),
                    8 * byte
                ),
            })
            .collect();
        bytes.join(" | ")
    }

    /// An entry for each half of the index.
    pub(crate) fn table_halves(&mut self, table: Table, index: &str) -> String {
        let low = self.table(table, &format!("({index} & 0xffffu)"));
        let high = self.table(table, &format!("({index} >> 16u)"));
        format!("{low} | ({high} << 16u)")
    }
}

/// The type of so many words.
pub(crate) fn vector_type(words: u32) -> &'static str {
    match words {
        1 => "u32",
        2 => "vec2<u32>",
        _ => "vec4<u32>",
    }
}

/// The name of a place's array.
fn array(place: Place) -> String {
    match place {
        Place::Buffer(b) => b.to_string(),
        Place::Arena(a) => a.to_string(),
    }
}

/// The bits of an element below 32 bits.
fn element_mask(mem: Mem) -> u32 {
    (1u32 << (8 * mem.bytes().min(2))) - 1
}
