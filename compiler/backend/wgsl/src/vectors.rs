//! Loads that are parts of one vector. Lane IR loads single elements; where several of one region lie in the same aligned 16 (or 8) bytes of a buffer
//! that is only read, the device loads those once, as a `vec4<u32>` (or `vec2<u32>`), and the elements are cut out at constant places.
//!
//! ```text
//! v7: v.i64 = ladd v5, 4                             let q1 = b1[(v5.x + v6 + 4u + b1_words) >> 2u];
//! v8: v.i32 = gather.i32 b1[v7 + v6]                 let v8 = q1.x;
//! v9: v.i64 = ladd v5, 5
//! v10: v.i32 = gather.i32 b1[v9 + v6]                let v10 = q1.y;
//! ```
//!
//! Two loads are in one vector if form, element size, mask, offset and the base but for a constant are the same, and base and offset are known to be a
//! multiple of the vector ([`Vectors::of`] counts the zero bits below each integer, also of what a power of two divides: the group that an element
//! is in, as of activations in groups of 32 where a turn has 128). Elements below 32 bits whose word is known so need no computed
//! shift, even where they have the vector for themselves. A buffer with vectors must begin at a multiple of them (`Shader::vectors`).

use std::collections::HashMap;

use tvmc_ir::lane::{Buffer, Function, Inst, MemoryOp, Op, Place, Pure, Region, Stmt, Value};

use crate::usage::Usage;

/// Where in a vector an element lies.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    /// Number of the vector.
    pub vector: usize,
    /// The word, and the first bit in it.
    pub word: u32,
    pub shift: u32,
}

/// A vector that is loaded once.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Vector {
    pub buffer: Buffer,
    /// 1, 2 or 4.
    pub words: u32,
    /// What is added to the constant first element: the computed part of the base, if it has one.
    pub root: Option<Value>,
    /// The first element, without `root` and offset.
    pub first: i64,
}

/// See the module head.
#[derive(Default, Debug)]
pub(crate) struct Vectors {
    /// By result of the load.
    pub parts: HashMap<Value, Part>,
    pub vectors: Vec<Vector>,
    /// Words of the widest vector of each buffer.
    pub words: Vec<u32>,
    zeros: HashMap<Value, u32>,
    constants: HashMap<Value, i32>,
    sums: HashMap<Value, (Option<Value>, i64)>,
}

/// Loads that may share vectors.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Family {
    form: MemoryOp,
    bytes: u32,
    buffer: Buffer,
    root: Option<Value>,
    offset: Option<Value>,
    mask: Option<Value>,
}

impl Vectors {
    /// Finds the vectors of a function.
    pub fn of(function: &Function, usage: &Usage) -> Self {
        let mut vectors = Vectors { words: vec![1; function.buffers.len()], ..Vectors::default() };
        vectors.region(&function.body, usage);
        for vector in &vectors.vectors {
            let words = &mut vectors.words[vector.buffer.index()];
            *words = (*words).max(vector.words);
        }
        vectors
    }

    /// None at all.
    pub fn none(function: &Function) -> Self {
        Vectors { words: vec![1; function.buffers.len()], ..Vectors::default() }
    }

    fn region(&mut self, region: &Region, usage: &Usage) {
        let mut order = Vec::new();
        let mut families: HashMap<Family, Vec<(i64, Value)>> = HashMap::new();
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => {
                    self.learn(inst);
                    if let Some((family, first, result)) = self.member(inst, usage) {
                        let list = families.entry(family.clone()).or_default();
                        if list.is_empty() {
                            order.push(family);
                        }
                        list.push((first, result));
                    }
                }
                Stmt::For { counter, from, step, body, .. } => {
                    let zeros = self.zeros_of(*from).min(step.trailing_zeros());
                    self.zeros.insert(*counter, zeros);
                    self.region(body, usage);
                }
                Stmt::Loop { body, .. } => self.region(body, usage),
                Stmt::If { then, otherwise, .. } => {
                    self.region(then, usage);
                    self.region(otherwise, usage);
                }
            }
        }
        for family in order {
            let list = families.remove(&family).unwrap_or_default();
            self.cut(&family, &list);
        }
    }

    /// Shares out the loads of a family among vectors.
    fn cut(&mut self, family: &Family, list: &[(i64, Value)]) {
        let zeros = [family.root, family.offset].into_iter().flatten().map(|v| self.zeros_of(v)).min();
        let known = 1u64 << zeros.unwrap_or(31).min(31);
        // Bytes of which the computed part of the address is a multiple.
        let known = known * u64::from(family.bytes);
        let word_of = |first: i64| first * i64::from(family.bytes) / 4;
        if known < 4 || (family.bytes < 4 && list.iter().any(|(first, _)| *first < 0)) {
            return;
        }
        let widest = if known >= 16 { 4 } else { (known / 4) as i64 };
        let mut made: HashMap<(i64, i64), usize> = HashMap::new();
        for (first, result) in list {
            let word = word_of(*first);
            // The widest vector that another word of the family shares.
            let width = [4, 2].into_iter().find(|width| {
                *width <= widest
                    && list.iter().any(|(other, _)| {
                        word_of(*other) != word
                            && word_of(*other).div_euclid(*width) == word.div_euclid(*width)
                    })
            });
            let width = match width {
                Some(width) => width,
                None if family.bytes < 4 => 1,
                None => continue,
            };
            let number = word.div_euclid(width);
            let next = self.vectors.len();
            let vector = *made.entry((width, number)).or_insert(next);
            if vector == next {
                self.vectors.push(Vector {
                    buffer: family.buffer,
                    words: width as u32,
                    root: family.root,
                    first: number * width * 4 / i64::from(family.bytes),
                });
            }
            let bit = (first * i64::from(family.bytes) * 8).rem_euclid(32) as u32;
            let part = Part { vector, word: word.rem_euclid(width) as u32, shift: bit };
            self.parts.insert(*result, part);
        }
    }

    /// The family of a load, its constant first element, its result.
    fn member(&self, inst: &Inst, usage: &Usage) -> Option<(Family, i64, Value)> {
        let Op::Memory { form, mem, place: Place::Buffer(buffer), masked } = inst.op else { return None };
        let offset = match form {
            MemoryOp::LoadUniform => None,
            MemoryOp::Gather => Some(inst.args[1]),
            MemoryOp::LoadContig | MemoryOp::StoreUniform | MemoryOp::StoreContig | MemoryOp::Scatter => {
                return None;
            }
        };
        if usage.buffers[buffer.index()].stored {
            return None;
        }
        let mask = if masked { inst.args.last().copied() } else { None };
        let (root, first) = self.sum_of(inst.args[0]);
        // The number of its bits must be one; no memory reaches beyond.
        first.checked_mul(i64::from(mem.bytes()) * 8)?;
        Some((Family { form, bytes: mem.bytes(), buffer, root, offset, mask }, first, inst.result?))
    }

    /// Zero bits below an integer's lowest one that may be set.
    fn zeros_of(&self, value: Value) -> u32 {
        self.zeros.get(&value).copied().unwrap_or(0)
    }

    /// By how many bits dividing by a value moves those of a multiple: all, where it is no constant power of two.
    fn log_of(&self, value: Value) -> u32 {
        match self.constants.get(&value).map(|value| *value as u32) {
            Some(value) if value.is_power_of_two() => value.trailing_zeros(),
            Some(_) | None => 32,
        }
    }

    fn sum_of(&self, value: Value) -> (Option<Value>, i64) {
        self.sums.get(&value).copied().unwrap_or((Some(value), 0))
    }

    fn learn(&mut self, inst: &Inst) {
        let Some(result) = inst.result else { return };
        let zeros = |at: usize| self.zeros_of(inst.args[at]);
        let known = match inst.op {
            Op::ConstI32(value) => value.trailing_zeros(),
            Op::ConstI64(value) => value.trailing_zeros().min(32),
            Op::Splat | Op::Pure(Pure::I32ToI64 | Pure::U32ToI64 | Pure::I64ToI32) => zeros(0),
            Op::Pure(
                Pure::IAdd
                | Pure::ISub
                | Pure::LAdd
                | Pure::LSub
                | Pure::IOr
                | Pure::IXor
                | Pure::IMinS
                | Pure::IMaxS
                | Pure::IMinU
                | Pure::IMaxU
                | Pure::IRemU,
            ) => zeros(0).min(zeros(1)),
            Op::Pure(Pure::IMul | Pure::LMul) => (zeros(0) + zeros(1)).min(32),
            Op::Pure(Pure::IAnd) => zeros(0).max(zeros(1)),
            Op::Pure(Pure::IDivU) => zeros(0).saturating_sub(self.log_of(inst.args[1])),
            Op::Pure(Pure::Select) => zeros(1).min(zeros(2)),
            _ => 0,
        };
        self.zeros.insert(result, known);
        match inst.op {
            Op::ConstI32(value) => {
                self.constants.insert(result, value);
            }
            Op::Splat => {
                if let Some(value) = self.constants.get(&inst.args[0]).copied() {
                    self.constants.insert(result, value);
                }
            }
            Op::ConstI64(value) => {
                self.sums.insert(result, (None, value));
            }
            Op::Pure(Pure::LAdd) => {
                let sum = match (self.sum_of(inst.args[0]), self.sum_of(inst.args[1])) {
                    ((root, a), (None, b)) | ((None, a), (root, b)) => {
                        a.checked_add(b).map(|sum| (root, sum))
                    }
                    ((Some(_), _), (Some(_), _)) => None,
                };
                if let Some(sum) = sum {
                    self.sums.insert(result, sum);
                }
            }
            _ => {}
        }
    }
}
