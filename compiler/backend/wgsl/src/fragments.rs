//! Fragments as cooperative matrices. A group is a subgroup, so its lanes must be as many as a subgroup of the device has.
//!
//! ```text
//! fragment.load.rows g0, a0[v1 + v2] stride v3      g0 = coopLoadT<coop_mat16x16<f16, A>>(&a0[((v1.x + v2) >> 3u) << 1u], v3 >> 2u);
//! fragment.multiply_add g2, g0, g1                  g2 = coopMultiplyAdd(g0, g1, g2);
//! fragment.store b0[v4 + v2] stride v5, g2          let w1 = v4.x + v2 + b0_words; let sum2 = g2;
//!                                                   coopStoreT(sum2, &b0[w1], v5);
//! ```
//!
//! Eight floats that are stored as halves are converted two at a time; two that were the halves of one word are that word again.
//!
//! Scratch of halves is an array of `vec4<f16>`: a store writes four at once, and places, multiples of eight, are counted in vectors, in a
//! way that shows a driver that they are even: it then moves 16 bytes at once. What sums are
//! stored to is an array of `f32`; whatever else accesses it reinterprets bits.

use tvmc_ir::lane::fragment::ALIGNMENT;
use tvmc_ir::lane::{Arena, Fragment, FragmentOp, Inst, Op, Order, Place, Pure, Role, Value};

use crate::emit::Emitter;

/// The type of a fragment.
pub(crate) fn fragment_type(role: Role) -> &'static str {
    match role {
        Role::Left => "coop_mat16x16<f16, A>",
        Role::Right => "coop_mat16x16<f16, B>",
        Role::Sum => "coop_mat16x16<f32, C>",
    }
}

/// A half of a word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Half {
    /// The word's name.
    pub word: String,
    /// Whether it is the upper half.
    pub upper: bool,
}

impl Emitter<'_> {
    /// Remembers values that are halves of a word; `operand` names the first operand.
    pub(crate) fn note_half(&mut self, inst: &Inst, operand: &str) {
        let Some(result) = inst.result else { return };
        let constant = |at: usize| inst.args.get(at).and_then(|arg| self.usage.constant(*arg));
        let (words, floats) = match inst.op {
            Op::Pure(Pure::IAnd) if constant(1) == Some(0xffff) => (Some(false), None),
            Op::Pure(Pure::ShrU) if constant(1) == Some(16) => (Some(true), None),
            Op::Pure(Pure::F16ToF32) => match self.half_words.get(&inst.args[0]) {
                Some(half) => (None, Some(half.clone())),
                None => (None, Some(Half { word: operand.to_owned(), upper: false })),
            },
            Op::Splat => (None, self.halves.get(&inst.args[0]).cloned()),
            _ => (None, None),
        };
        if let Some(upper) = words {
            self.half_words.insert(result, Half { word: operand.to_owned(), upper });
        }
        if let Some(half) = floats {
            self.halves.insert(result, half);
        }
    }

    /// Sixteen bytes as two vectors.
    fn put_halves(&mut self, arena: Arena, address: [&str; 2], halves: [String; 2], mask: Option<&str>) {
        let first = self.let_u32(&format!("(({}.x + {}) >> 3u) << 1u", address[0], address[1]));
        if let Some(mask) = mask {
            self.open(&format!("if ({mask})"));
        }
        let [low, high] = halves;
        self.line(&format!("{arena}[{first}] = {low};"));
        self.line(&format!("{arena}[{first} + 1u] = {high};"));
        if mask.is_some() {
            self.close();
        }
    }

    /// Eight codes with their scale, as two vectors. A code in the mantissa of 1024 is a half without a conversion, and less 1024 it is itself.
    fn codes_as_halves(&mut self, [low, high, scale]: [&str; 3], bits: u32, bias: i32) -> [String; 2] {
        let scale = self.bound("h", &format!("vec2<f16>(f16({scale}))"));
        let less = self.bound("h", &format!("vec2<f16>({}.0h)", 1024 - bias));
        let pair = |this: &mut Self, word: &str| {
            let word = this.let_u32(&format!("{word} | 0x64006400u"));
            this.bound("h", &format!("(vec2<f16>(unpack2x16float({word})) - {less}) * {scale}"))
        };
        if bits == 4 {
            // Codes i and i + 4 lie 16 bits apart.
            let pairs = [0, 1, 2, 3].map(|i| {
                let word = if i == 0 { low.to_owned() } else { format!("({low} >> {}u)", 4 * i) };
                pair(self, &format!("({word} & 0x000f000fu)"))
            });
            return ["x", "y"].map(|half| {
                let list = pairs.each_ref().map(|pair| format!("{pair}.{half}"));
                format!("vec4<f16>({})", list.join(", "))
            });
        }
        let mask = (1u32 << bits) - 1;
        let code = |i: u32| match i * bits {
            at if at >= 32 => format!("(({high} >> {}u) & {mask}u)", at - 32),
            at if at + bits <= 32 => format!("(({low} >> {at}u) & {mask}u)"),
            at => format!("((({low} >> {at}u) | ({high} << {}u)) & {mask}u)", 32 - at),
        };
        let pairs = [0, 2, 4, 6].map(|i| {
            let word = format!("({} | ({} << 16u))", code(i), code(i + 1));
            pair(self, &word)
        });
        [0, 2].map(|at| format!("vec4<f16>({}, {})", pairs[at], pairs[at + 1]))
    }

    /// Gives an expression a name.
    fn bound(&mut self, stem: &str, expression: &str) -> String {
        let name = self.fresh(stem);
        self.line(&format!("let {name} = {expression};"));
        name
    }

    /// Two floats as halves. Where they are the halves of one word, no number is converted: drivers see that.
    fn pair(&self, names: [&str; 2], values: [Value; 2]) -> String {
        if let [Some(low), Some(high)] = values.map(|value| self.halves.get(&value))
            && self.limits.f16_in_f32
            && (low.upper, high.upper) == (false, true)
            && low.word == high.word
        {
            return format!("vec2<f16>(unpack2x16float({}))", low.word);
        }
        format!("vec2<f16>(vec2<f32>({}))", names.join(", "))
    }

    fn role(&self, fragment: Fragment) -> Role {
        self.function.fragments[fragment.index()].role
    }

    /// One operation. Operands: base, offset, then values and mask (`stage`) or stride.
    pub(crate) fn fragment(&mut self, op: FragmentOp, args: &[&str], values: &[Value]) {
        let arg = |at: usize| args.get(at).copied().unwrap_or("");
        match op {
            FragmentOp::Stage { arena, masked } => {
                let pairs: Vec<String> = (0..4)
                    .map(|pair| {
                        let at = 2 + 2 * pair;
                        self.pair([arg(at), arg(at + 1)], [values[at], values[at + 1]])
                    })
                    .collect();
                let halves = [0, 2].map(|at| format!("vec4<f16>({}, {})", pairs[at], pairs[at + 1]));
                let mask = masked.then(|| arg(2 + ALIGNMENT as usize));
                self.put_halves(arena, [arg(0), arg(1)], halves, mask);
            }
            FragmentOp::StageCodes { arena, bits, bias, masked } => {
                let halves = self.codes_as_halves([arg(2), arg(3), arg(4)], u32::from(bits), i32::from(bias));
                self.put_halves(arena, [arg(0), arg(1)], halves, masked.then(|| arg(5)));
            }
            FragmentOp::Zero(fragment) => {
                self.line(&format!("{fragment} = {}();", fragment_type(self.role(fragment))));
            }
            FragmentOp::Load { fragment, arena, order } => {
                // naga's T is for rows
                let load = match order {
                    Order::Rows => "coopLoadT",
                    Order::Columns => "coopLoad",
                };
                let ty = fragment_type(self.role(fragment));
                self.line(&format!(
                    "{fragment} = {load}<{ty}>(&{arena}[(({}.x + {}) >> 3u) << 1u], {} >> 2u);",
                    arg(0),
                    arg(1),
                    arg(2)
                ));
            }
            FragmentOp::MultiplyAdd { sum, left, right } => {
                self.line(&format!("{sum} = coopMultiplyAdd({left}, {right}, {sum});"));
            }
            FragmentOp::Store { fragment, place } => {
                let at = match place {
                    Place::Buffer(buffer) => format!("{}.x + {} + {buffer}_words", arg(0), arg(1)),
                    Place::Arena(_) => format!("{}.x + {}", arg(0), arg(1)),
                };
                let array = match place {
                    Place::Buffer(buffer) => buffer.to_string(),
                    Place::Arena(arena) => arena.to_string(),
                };
                // What naga's statement takes must have names: it is written before expressions of its own line.
                let at = self.let_u32(&at);
                let sum = self.fresh("sum");
                self.line(&format!("let {sum} = {fragment};"));
                self.line(&format!("coopStoreT({sum}, &{array}[{at}], {});", arg(2)));
            }
        }
    }
}
