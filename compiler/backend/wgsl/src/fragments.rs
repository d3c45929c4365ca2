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
use tvmc_ir::lane::{Fragment, FragmentOp, Inst, Op, Order, Place, Pure, Role, Value};

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
                let first = self.let_u32(&format!("(({}.x + {}) >> 3u) << 1u", arg(0), arg(1)));
                if masked {
                    self.open(&format!("if ({})", arg(2 + ALIGNMENT as usize)));
                }
                for half in [0, 1] {
                    let pairs = [0, 2].map(|at| {
                        let at = 2 + 4 * half + at;
                        self.pair([arg(at), arg(at + 1)], [values[at], values[at + 1]])
                    });
                    let place = if half == 0 { first.clone() } else { format!("{first} + 1u") };
                    self.line(&format!("{arena}[{place}] = vec4<f16>({});", pairs.join(", ")));
                }
                if masked {
                    self.close();
                }
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
