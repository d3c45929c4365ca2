//! Copies to block-shared tensors that are under way while the block goes on: `copy_async(s[..], t[..]); commit(); wait(n); sync();`.
//!
//! ```text
//! copy_async(s[0, ..], t[k +: 16]);   load t, copy_async s        what a load gives, padding included
//! commit();                           commit                      the copies so far are one group
//! wait(1);  wait();                   wait 1, wait 0              all groups but the latest one, all groups, have arrived
//! sync();                             nothing                     barriers are the compiler's
//! ```
//!
//! Until a copy has been waited for, its places are neither read nor written: the tile interpreter traps. So a target may copy at once (all of
//! ours do), or when it is waited for. For the same reason the source is an argument that the kernel only reads.

use super::{Elab, Operand};
use tvmc_ir::tile::{Memory, Op, TileType, Value};
use tvmc_lang::ast::{Arg, ExprId, ExprKind, Mode};
use tvmc_lang::diag::{Code, Diagnostic};
use tvmc_lang::span::Span;

/// Most groups that a `wait` leaves under way.
const MOST_GROUPS: i64 = 64;

impl Elab<'_, '_> {
    /// One of the four statements; false where the name is another.
    pub(super) fn copy_statement(&mut self, name: &str, args: &[Arg], span: Span) -> bool {
        if !matches!(name, "copy_async" | "commit" | "wait" | "sync") {
            return false;
        }
        if !self.in_kernel(name, span) {
            return true;
        }
        match (name, args) {
            ("copy_async", [to, from]) => drop(self.copy_async(to, from, span)),
            ("copy_async", _) => {
                self.count_error(name, "two places: `copy_async(s[0, ..], t[k +: 16])`", span);
            }
            ("wait", []) => self.effect(Op::Wait(0), &[], span),
            ("wait", [arg]) => {
                let groups = arg.expr().and_then(|id| {
                    self.known_int(id, Code::NotConstant, "the number of groups under way", 0, MOST_GROUPS)
                });
                if let Some(groups) = groups {
                    self.effect(Op::Wait(groups as u32), &[], span);
                }
            }
            ("wait", _) => self.count_error(name, "how many groups may stay under way: `wait(1)`", span),
            ("commit", []) => self.effect(Op::Commit, &[], span),
            ("sync", []) => {}
            (_, _) => self.count_error(name, "no arguments", span),
        }
        true
    }

    fn copy_async(&mut self, to: &Arg, from: &Arg, span: Span) -> Option<()> {
        let (to, from) = (to.expr()?, from.expr()?);
        let source = self.source(from);
        let file = self.file();
        let at = self.span(to);
        let (shared, access) = match &file[to].kind {
            ExprKind::Index { base, indices, fill: None } => match self.expr(*base)? {
                Operand::Memory(Memory::Shared(shared)) => {
                    (shared, self.access(Memory::Shared(shared), indices, at)?)
                }
                _ => return self.no_target(at),
            },
            _ => return self.no_target(at),
        };
        let source = source?;
        let dtype = self.b.kernel.shared[shared.index()].ty.dtype;
        let got = self.ty(source);
        if got != (TileType { dtype, shape: access.shape.clone() }) {
            let wanted = TileType { dtype, shape: access.shape };
            self.report(
                Diagnostic::error(Code::WrongType, format!("{got} is copied to places of {wanted}"))
                    .at(span, "a copy changes neither type nor shape")
                    .help("store instead, which converts: `s[..] = t[..] as ..;`"),
            );
            return None;
        }
        let mut args = access.offsets;
        args.push(source);
        self.effect(Op::CopyAsync { shared, indices: access.indices }, &args, span);
        Some(())
    }

    fn no_target(&mut self, at: Span) -> Option<()> {
        self.report(
            Diagnostic::error(Code::WrongArgument, "`copy_async` copies to places of a block-shared tensor")
                .at(at, "no such places")
                .help("`let s = shared f32[2, 16];` and `copy_async(s[0, ..], t[k +: 16]);`"),
        );
        None
    }

    /// What is copied: a slice of an argument that the kernel only reads.
    fn source(&mut self, from: ExprId) -> Option<Value> {
        let file = self.file();
        let at = self.span(from);
        if let ExprKind::Index { base, .. } = &file[from].kind
            && let Some(Operand::Memory(Memory::Param(param))) = self.expr(*base)
        {
            let (mode, name) = {
                let param = &self.header.params[param.index()];
                (param.mode, param.name.name.clone())
            };
            if mode == Mode::In {
                let operand = self.expr(from)?;
                return self.value(operand, at);
            }
            self.report(
                Diagnostic::error(Code::WrongArgument, format!("`{name}` may change while it is copied"))
                    .at(at, "the kernel writes this argument")
                    .help("copy from arguments that are only read; load and store what is written"),
            );
            return None;
        }
        self.report(
            Diagnostic::error(Code::WrongArgument, "`copy_async` copies a slice of an argument")
                .at(at, "not one")
                .help("store what is computed: `s[..] = ..;`"),
        );
        None
    }
}
