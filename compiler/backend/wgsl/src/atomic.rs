//! Atomic updates of a buffer's words.
//!
//! ```text
//! atomic.iadd b0[v1 + v2], v3 mask v4     var v5: u32;
//!                                         if (v4) {
//!                                           let w1 = v1.x + v2 + b0_words;
//!                                           v5 = atomicAdd(&b0[w1], v3);
//!                                         }
//! ```
//!
//! WGSL's words are unsigned and it adds no floats: signed minima and maxima and everything of floats try `atomicCompareExchangeWeak` until nobody came
//! between. That exchange may also fail for no reason; `compare_exchange` then tries again.

use tvmc_ir::lane::{Buffer, Update, Value};

use crate::emit::{Emitter, from_bits, type_name};

impl Emitter<'_> {
    /// Operands: base, offset, those of the update, mask.
    pub(crate) fn atomic(&mut self, update: Update, buffer: Buffer, args: &[&str], result: Value) {
        let arg = |at: usize| args.get(at).copied().unwrap_or("");
        let (a, b, mask) = (arg(2), arg(3), arg(2 + update.operands()));
        let name = self.name(result).to_owned();
        // declared without a value, a variable is zero
        self.line(&format!("var {name}: {};", type_name(update.scalar())));
        self.open(&format!("if ({mask})"));
        let at = self.let_u32(&format!("{}.x + {} + {buffer}_words", arg(0), arg(1)));
        let word = format!("&{buffer}[{at}]");
        let whole = |function: &str| format!("{name} = {function}({word}, {a});");
        match update {
            Update::IAdd => self.line(&whole("atomicAdd")),
            Update::IMinU => self.line(&whole("atomicMin")),
            Update::IMaxU => self.line(&whole("atomicMax")),
            Update::IAnd => self.line(&whole("atomicAnd")),
            Update::IOr => self.line(&whole("atomicOr")),
            Update::IXor => self.line(&whole("atomicXor")),
            Update::Exchange => self.line(&whole("atomicExchange")),
            Update::CompareExchange => {
                self.open("loop");
                let tried = self.fresh("tried");
                self.line(&format!("let {tried} = atomicCompareExchangeWeak({word}, {a}, {b});"));
                self.line(&format!("{name} = {tried}.old_value;"));
                self.line(&format!("if ({tried}.exchanged || {name} != {a}) {{ break; }}"));
                self.close();
            }
            Update::IMinS => {
                self.retry(&word, &name, update, |old| format!("u32(min(i32({old}), i32({a})))"))
            }
            Update::IMaxS => {
                self.retry(&word, &name, update, |old| format!("u32(max(i32({old}), i32({a})))"))
            }
            Update::FMin => self.retry(&word, &name, update, |old| {
                format!("bitcast<u32>(select({a}, bitcast<f32>({old}), bitcast<f32>({old}) < {a}))")
            }),
            Update::FMax => self.retry(&word, &name, update, |old| {
                format!("bitcast<u32>(select({a}, bitcast<f32>({old}), bitcast<f32>({old}) > {a}))")
            }),
            Update::FAdd => {
                self.retry(&word, &name, update, |old| format!("bitcast<u32>(bitcast<f32>({old}) + {a})"));
            }
        }
        self.close();
    }

    /// Replaces a word by what `new` says of it, when nobody came between.
    fn retry(&mut self, word: &str, name: &str, update: Update, new: impl FnOnce(&str) -> String) {
        let old = self.fresh("old");
        self.line(&format!("var {old} = atomicLoad({word});"));
        self.open("loop");
        let tried = self.fresh("tried");
        self.line(&format!("let {tried} = atomicCompareExchangeWeak({word}, {old}, {});", new(&old)));
        self.line(&format!("if ({tried}.exchanged) {{ break; }}"));
        self.line(&format!("{old} = {tried}.old_value;"));
        self.close();
        self.line(&format!("{name} = {};", from_bits(update.scalar(), &old)));
    }
}
