//! Padding and computed places: what a scatter or an atomic update may take.
//!
//! A place that padding names would be a real one, usually the first. So an index tile that may hold padding along a dimension is an error,
//! unless some index is known to be negative there: that element is skipped. What an update takes may be padding if that changes nothing.
//!
//! ```text
//! let bin = x[n +: 64];             padded with 0
//! atomic_add(bins[bin], 1);         error: bin 0 would be counted too often
//! let bin = x[n +: 64 else -1];     fine: -1 is no place
//! ```

use super::{Analysis, Dimension, Pad, State, identity};
use tvmc_ir::tile::{Inst, Op, Reduce, Update};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;
use tvmc_types::dtype::DType;

impl Analysis<'_> {
    /// What an atomic update gives: 0 where an index keeps padding out.
    pub(super) fn updated(&self, update: Update, inst: &Inst, states: &[&State]) -> Vec<Dimension> {
        let axes = inst.args.len() - update.operands();
        let dims = (0..states[axes].dims.len()).map(|axis| {
            let dims = || states.iter().map(|state| &state.dims[axis]);
            let pad = match dims().all(|dim| dim.pad == Pad::No) {
                true => Pad::No,
                false if states[..axes].iter().any(|state| keeps_out(&state.dims[axis])) => Pad::Known(0),
                false => Pad::Unknown,
            };
            Dimension { pad, iota: false, masked: false, origin: dims().find_map(|dim| dim.origin) }
        });
        dims.collect()
    }

    /// Padding has no place: an index tile that may hold some keeps it out by an index below 0, or it is an error. The operand of an update is
    /// padding only where its indices are, or with a number that changes nothing.
    pub(super) fn judge_places(&self, inst: &Inst, spans: &[Span], out: &mut Vec<Diagnostic>) {
        let update = if let Op::Atomic { update, .. } = &inst.op {
            Some(*update)
        } else if matches!(inst.op, Op::Scatter { .. }) {
            None
        } else {
            return;
        };
        let axes = inst.args.len() - update.map_or(1, Update::operands);
        let Some(states) = inst.args.iter().map(|a| self.state(*a)).collect::<Option<Vec<_>>>() else {
            return;
        };
        let (indices, operands) = states.split_at(axes);
        let dtype = self.kernel.ty(inst.args[axes]).dtype;
        for axis in 0..operands[0].dims.len() {
            if indices.iter().any(|state| keeps_out(&state.dims[axis])) {
                continue;
            }
            let neutral = |pad: Pad| match (pad, update) {
                (Pad::No, _) | (_, None) => true,
                (Pad::Known(v), Some(update)) => is_neutral(update, dtype, v),
                (Pad::Unknown, Some(_)) => false,
            };
            let wrong_index = indices.iter().position(|state| state.dims[axis].pad != Pad::No);
            let wrong = match wrong_index {
                Some(at) => at,
                None => match operands.iter().position(|state| !neutral(state.dims[axis].pad)) {
                    Some(at) => axes + at,
                    None => continue,
                },
            };
            let (what, label, help) = match wrong_index {
                Some(_) => (
                    "indices may be padding, which would name real elements",
                    "padding would name elements",
                    "load the indices with `else -1`, or mask them: `where(iota(8) < n, i, -1)`; an index below 0 is skipped",
                ),
                None => (
                    "what elements are updated with may be padding",
                    "padding would take part",
                    "give the padding an index below 0, or a number that changes nothing",
                ),
            };
            let Some(span) = spans.get(inst.args[wrong].index()) else { continue };
            let d = Diagnostic::error(Code::ReductionOverPadding, what).at(*span, label);
            let origin = states[wrong].dims[axis].origin.and_then(|origin| spans.get(origin.index()));
            out.push(match origin {
                Some(load) => d.also(*load, "this load may reach past the end of the tensor").help(help),
                None => d.help(help),
            });
        }
    }
}

/// Whether an index skips what is padding along a dimension: it lies before the first element there, or a `where` with `iota` chose it.
fn keeps_out(dim: &Dimension) -> bool {
    dim.masked || matches!(dim.pad, Pad::Known(index) if (index as i32) < 0)
}

/// Whether an update with this leaves every element as it is.
fn is_neutral(update: Update, dtype: DType, bits: u32) -> bool {
    match update {
        Update::Add => identity(Reduce::Sum, dtype) == bits,
        Update::Or | Update::Xor => bits == 0,
        Update::And => bits == u32::MAX,
        Update::Min => identity(Reduce::Min, dtype) == bits,
        Update::Max => identity(Reduce::Max, dtype) == bits,
        Update::Exchange | Update::CompareExchange => false,
    }
}
