//! Carried values: what a loop hands to its next turn and a branch to what follows it.
//!
//! A carried value keeps the representation of its kind: uniform and register tiles travel as lane values, in the order of the
//! carried list and, within a tile, of its registers; an arena tile stays in one arena that the body updates. Nothing lazy is carried.
//!
//! **Two variables may swap.** Yields are all read before any arena is written: new contents are made aside and then copied.

use crate::lower::{LowerError, Lowering, Repr};
use tvmc_ir::lane::{self, Arena};
use tvmc_ir::tile::{Carried, Value};

impl Lowering<'_> {
    pub(crate) fn open_carried(
        &mut self,
        carried: &[Carried],
    ) -> Result<(Vec<Repr>, Vec<lane::Value>), LowerError> {
        let (mut kinds, mut values) = (Vec::new(), Vec::new());
        for c in carried {
            let kind = self.kind_of(c.param)?;
            self.give(c.initial, &kind, &mut values)?;
            kinds.push(kind);
        }
        Ok((kinds, values))
    }

    /// Brings a value into the form `kind`: lane values are appended, arenas are filled.
    pub(crate) fn give(
        &mut self,
        value: Value,
        kind: &Repr,
        out: &mut Vec<lane::Value>,
    ) -> Result<(), LowerError> {
        match kind {
            Repr::Uniform(_) => out.push(self.uniform(value)?),
            Repr::Registers(_) => out.extend(self.registers(value)?),
            Repr::Arena(tile) => {
                let same = matches!(&self.repr[value.index()], Some(Repr::Arena(t)) if t.arena == tile.arena);
                if !same {
                    self.fill_arena(value, tile)?;
                }
            }
            Repr::Lazy => unreachable!("a variable is never lazy"),
        }
        Ok(())
    }

    pub(crate) fn bind_carried(
        &mut self,
        values: impl Iterator<Item = Value>,
        kinds: &[Repr],
        lanes: &[lane::Value],
    ) {
        let mut at = 0;
        for (value, kind) in values.zip(kinds) {
            let repr = match kind {
                Repr::Uniform(_) => {
                    at += 1;
                    Repr::Uniform(lanes[at - 1])
                }
                Repr::Registers(list) => {
                    at += list.len();
                    Repr::Registers(lanes[at - list.len()..at].to_vec())
                }
                Repr::Arena(tile) => Repr::Arena(tile.clone()),
                Repr::Lazy => Repr::Lazy,
            };
            self.repr[value.index()] = Some(repr);
        }
    }

    /// The body's last values. An arena variable is written only after every other yield has been evaluated, because those may read
    /// its old value: new contents are made in a second arena, then copied; an accumulator is already in place.
    pub(crate) fn yield_carried(
        &mut self,
        carried: &[Carried],
        yields: &[Value],
        kinds: &[Repr],
    ) -> Result<Vec<lane::Value>, LowerError> {
        let mut values = Vec::new();
        let mut copies = Vec::new();
        for ((c, y), kind) in carried.iter().zip(yields).zip(kinds) {
            match kind {
                Repr::Arena(tile) if *y != c.param => {
                    let ready = matches!(&self.repr[y.index()], Some(Repr::Arena(_)));
                    let in_place =
                        matches!(&self.repr[y.index()], Some(Repr::Arena(t)) if t.arena == tile.arena);
                    if in_place {
                        continue;
                    }
                    if !ready {
                        let fresh = self.arena_tile(&tile.shape, tile.scalar)?;
                        self.fill_arena(*y, &fresh)?;
                        self.relocate(*y, Repr::Arena(fresh));
                    }
                    copies.push((*y, tile.clone()));
                }
                Repr::Arena(_) => {}
                Repr::Uniform(_) | Repr::Registers(_) => self.give(*y, kind, &mut values)?,
                Repr::Lazy => unreachable!("a variable is never lazy"),
            }
        }
        // Two variables may swap: every copy reads the old contents of an arena only if it is itself a variable's.
        let targets: Vec<Arena> = copies.iter().map(|(_, tile)| tile.arena).collect();
        for (y, _) in &copies {
            let swaps = matches!(&self.repr[y.index()], Some(Repr::Arena(t)) if targets.contains(&t.arena));
            if swaps {
                let Some(Repr::Arena(old)) = self.repr[y.index()].clone() else { continue };
                let fresh = self.arena_tile(&old.shape, old.scalar)?;
                self.fill_arena(*y, &fresh)?;
                self.relocate(*y, Repr::Arena(fresh));
            }
        }
        for (y, tile) in copies {
            self.fill_arena(y, &tile)?;
        }
        Ok(values)
    }

    pub(crate) fn branch_yields(
        &mut self,
        yields: &[Value],
        kinds: &[Repr],
    ) -> Result<Vec<lane::Value>, LowerError> {
        let mut values = Vec::new();
        for (y, kind) in yields.iter().zip(kinds) {
            self.give(*y, kind, &mut values)?;
        }
        Ok(values)
    }
}
