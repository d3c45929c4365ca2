//! Four codes of a run as the unsigned bytes of a lane: a *quad*. One step works on four codes at once wherever it can.
//!
//! In order of preference, a quad is
//!
//! 1. **byte arithmetic**: four slots of a field that are 8 bits apart, or neighbours in one bit string, and shifts, masks, sums
//!    and differences of such quads in which no byte carries into the next;
//! 2. **pieces of a word**: `word >> c & mask` of one computed word, the counts in equal steps, as rows of grids and words of signs are; rows of a grid may be
//!    looked up two at a time (`table.halves`);
//! 3. **a table of bytes**: an integer function of up to 8 bits of quads of the first two kinds, the same function in each byte. It is evaluated here
//!    for all their values, so levels of a code book, digits in base 3, signs and floats of few bits all cost one `table.bytes`;
//! 4. computed one by one and packed.
//!
//! ```text
//! q4_1      q[i]                                    1: word >> 4 & 0x0f0f0f0f
//! iq4_nl    level[q[i]]                             3: a table of 16 entries, of 1
//! iq2_s     where(g[i] == 1, -v, v)                 3: a table of 8 entries, of two bits by 2 and one by 1
//!           with v = level[grid[..] >> 2 (i % 8) & 3]
//! tq1_0     (q[..] * 9 & 255) * 3 >> 8              3: a table of 256 entries, of a byte by 1
//! ```
//!
//! Matches on operations end in `_`: what this file does not name goes the next way, and the last is always right.

use crate::affine::{Affine, Node, QUAD, Run, Term, fold_i32};
use crate::integer_dot::{Opened, Side};
use crate::lower::{LowerError, Lowering};
use crate::stored::Bits;
use std::collections::HashMap;
use std::rc::Rc;
use tvmc_ir::lane::{self, Op as LaneOp, Pure, Scalar, Sign};
use tvmc_ir::tile::{Binary, FormatId, Op, Scope, Unary};
use tvmc_types::dtype::{DType, Kind};

/// A one in every byte.
const ONES: u32 = 0x0101_0101;
/// Steps from a code down to what it is computed from.
pub(crate) const MAX_DEPTH: u32 = 24;

/// Where codes are read: a group of opened rows.
#[derive(Copy, Clone)]
pub(crate) struct Reading<'a, 'k> {
    /// The stored matrix.
    pub side: &'a Side<'k>,
    /// Its rows.
    pub opened: &'a Opened,
    /// Bits at which the group begins.
    pub start: Bits,
}

/// A quad that a table is indexed by: its nodes, the bits it takes, its bytes.
struct Atom {
    nodes: [Node; 4],
    bits: u32,
    bytes: lane::Value,
}

/// A step of a code's computation from its atoms; operands are numbers of earlier steps.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Step {
    Atom(usize),
    Const(u32),
    Levels(Rc<[i32]>, usize),
    Op(Op, Vec<usize>),
}

/// Tables that were worked out before, by what computes them. `None`: some value is negative.
pub(crate) type Tables = HashMap<Function, Option<Vec<u32>>>;

/// A code as a function of its atoms.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Function {
    /// Whose tables it reads.
    format: FormatId,
    steps: Vec<Step>,
    /// Bits of each atom, the first lowest in the index.
    widths: Vec<u32>,
    lift: i32,
    /// The byte of the result that is wanted.
    plane: u32,
}

impl<'k> Lowering<'k> {
    /// Codes `at` to `at + 3` of a run as unsigned bytes, or the bytes of one of its planes.
    pub(crate) fn quad(
        &mut self,
        from: Reading<'_, 'k>,
        run: &Run,
        at: u32,
        plane: u32,
    ) -> Result<lane::Value, LowerError> {
        let nodes = &run.codes[at as usize..(at + QUAD) as usize];
        let nodes: [Node; 4] = [nodes[0], nodes[1], nodes[2], nodes[3]];
        if run.planes == 1
            && let Some(bytes) = self.bytes(from, nodes, run.lift, MAX_DEPTH)
        {
            return Ok(bytes);
        }
        if let Some(bytes) = self.tabulated(from, nodes, run.lift, plane) {
            return Ok(bytes);
        }
        let mut packed = self.emit.i32(0);
        for (byte, node) in nodes.into_iter().enumerate() {
            let code = self.evaluate(from, node)?;
            let lift = self.emit.i32(run.lift);
            let mut code = self.emit.pure(Pure::IAdd, &[code, lift]);
            if run.planes > 1 {
                let by = self.emit.i32(8 * plane as i32);
                let mask = self.emit.i32(0xff);
                code = self.emit.pure(Pure::ShrU, &[code, by]);
                code = self.emit.pure(Pure::IAnd, &[code, mask]);
            }
            let by = self.emit.i32(8 * byte as i32);
            let code = self.emit.pure(Pure::Shl, &[code, by]);
            packed = self.emit.pure(Pure::IOr, &[packed, code]);
        }
        Ok(self.emit.splat(packed))
    }

    /// The first two ways.
    pub(crate) fn bytes(
        &mut self,
        from: Reading<'_, 'k>,
        nodes: [Node; 4],
        lift: i32,
        depth: u32,
    ) -> Option<lane::Value> {
        let found = self.byte_arithmetic(from, nodes, lift, depth);
        if found.is_some() || lift != 0 { found } else { self.pieces(from, nodes) }
    }

    /// Four codes computed at once, a byte each: where every step keeps to its byte.
    fn byte_arithmetic(
        &mut self,
        from: Reading<'_, 'k>,
        nodes: [Node; 4],
        lift: i32,
        depth: u32,
    ) -> Option<lane::Value> {
        let depth = depth.checked_sub(1)?;
        let affine = from.side.affine.clone();
        let terms = nodes.map(|node| &affine.term(node).0);
        match terms[0] {
            Term::Const(_) => {
                let mut word = 0u32;
                for (byte, term) in terms.into_iter().enumerate() {
                    let Term::Const(bits) = term else { return None };
                    let value = u8::try_from((*bits as i32).checked_add(lift)?).ok()?;
                    word |= u32::from(value) << (8 * byte);
                }
                let word = self.emit.i32(word as i32);
                Some(self.emit.splat(word))
            }
            Term::Levels(..) | Term::Numbers(..) => None,
            Term::Slot { field, slot } => {
                let declared = &from.side.format.fields[*field as usize];
                let width = declared.dtype.bits();
                let mut places = [0u32; 4];
                for (place, term) in places.iter_mut().zip(terms) {
                    let Term::Slot { field: f, slot: s } = term else { return None };
                    if f != field {
                        return None;
                    }
                    *place = s * width;
                }
                let signed = match affine.term(nodes[0]).1.kind() {
                    Kind::Unsigned => false,
                    Kind::Signed => true,
                    Kind::Bool | Kind::Float => return None,
                };
                // A code of the row is no neighbour of the group's.
                if declared.scope != Scope::Group
                    || width > 8
                    || lift != if signed { 1i32 << (width - 1) } else { 0 }
                {
                    return None;
                }
                let bit = i64::from(declared.bit_offset) + i64::from(slot * width);
                let apart = |by: u32| (1..4).all(|i| places[i] == places[0] + by * i as u32);
                let codes = if apart(8) {
                    let shift = bit.rem_euclid(8);
                    if shift + i64::from(width) > 8 {
                        return None;
                    }
                    let word = self.window(from.opened, from.start, bit - shift, 32);
                    let by = self.emit.i32(shift as i32);
                    let word = self.emit.pure(Pure::ShrU, &[word, by]);
                    self.and_bytes(word, (1u32 << width) - 1)
                } else if apart(width) {
                    self.neighbours(from.opened, from.start, bit, width)
                } else {
                    return None;
                };
                if !signed {
                    return Some(codes);
                }
                let top = self.emit.i32((lift as u32 * ONES) as i32);
                Some(self.emit.pure(Pure::IXor, &[codes, top]))
            }
            Term::Op(op, _) => {
                if lift != 0 || nodes.iter().any(|node| !affine.is_byte(*node)) {
                    return None;
                }
                let operands = operands_of(&affine, nodes)?;
                match op {
                    Op::Cast(_) => self.bytes(from, operands[0], 0, depth),
                    Op::Binary(op) => {
                        let count = constant_of(&affine, operands[1]);
                        if operands[0].iter().any(|node| !affine.is_byte(*node)) {
                            return None;
                        }
                        match op {
                            Binary::Shl | Binary::Shr => {
                                let count = count.filter(|count| *count < 8)?;
                                let word = self.bytes(from, operands[0], 0, depth)?;
                                let by = self.emit.i32(count as i32);
                                if *op == Binary::Shl {
                                    return Some(self.emit.pure(Pure::Shl, &[word, by]));
                                }
                                let word = self.emit.pure(Pure::ShrU, &[word, by]);
                                Some(self.and_bytes(word, 0xff >> count))
                            }
                            Binary::And | Binary::Or | Binary::Xor | Binary::Add | Binary::Sub => {
                                if operands[1].iter().any(|node| !affine.is_byte(*node)) {
                                    return None;
                                }
                                let a = self.bytes(from, operands[0], 0, depth)?;
                                let b = self.bytes(from, operands[1], 0, depth)?;
                                let pure = match op {
                                    Binary::And => Pure::IAnd,
                                    Binary::Or => Pure::IOr,
                                    Binary::Xor => Pure::IXor,
                                    Binary::Add => Pure::IAdd,
                                    _ => Pure::ISub,
                                };
                                Some(self.emit.pure(pure, &[a, b]))
                            }
                            Binary::Mul
                            | Binary::Div
                            | Binary::Rem
                            | Binary::Min
                            | Binary::Max
                            | Binary::Eq
                            | Binary::Ne
                            | Binary::Lt
                            | Binary::Le => None,
                        }
                    }
                    _ => None,
                }
            }
        }
    }

    /// Four neighbouring codes of a bit string, spread to bytes.
    fn neighbours(&mut self, opened: &Opened, start: Bits, bit: i64, width: u32) -> lane::Value {
        let unit_bits = i64::from(opened.row.unit) * 8;
        let at = (start.constant + bit).rem_euclid(unit_bits);
        let (low, high, offset) = if let Some(planar) = &opened.row.planar {
            let bits = Bits { constant: start.constant + bit, ..start };
            self.planar_words(&opened.row, planar, bits, 4 * width)
        } else if unit_bits == 32 {
            let low = self.window(opened, start, bit - at, 32);
            let straddles = at + 4 * i64::from(width) > 32;
            let high = if straddles { self.window(opened, start, bit - at + 32, 32) } else { low };
            (low, high, at as u8)
        } else {
            let low = self.window(opened, start, bit, 4 * width);
            (low, low, 0)
        };
        let op = LaneOp::Unpack { bits: width as u8, offset, sign: Sign::Unsigned };
        self.emit.lane_op(op, &[low, high])
    }

    fn and_bytes(&mut self, word: lane::Value, mask: u32) -> lane::Value {
        if mask == 0xff {
            return word;
        }
        let mask = self.emit.i32((mask * ONES) as i32);
        self.emit.pure(Pure::IAnd, &[word, mask])
    }

    /// Four pieces of one word, each as many bits after the one before; or one piece four times.
    fn pieces(&mut self, from: Reading<'_, 'k>, nodes: [Node; 4]) -> Option<lane::Value> {
        let affine = from.side.affine.clone();
        let mut found = Vec::new();
        for node in nodes {
            found.push(piece_of(&affine, node)?);
        }
        let (word, first, _) = found[0];
        let width = found.iter().map(|piece| piece.2).max()?;
        let step = found[1].1.checked_sub(first)?;
        let even = found.iter().zip(0..).all(|(piece, i)| piece.0 == word && piece.1 == first + step * i);
        if !even || width > 8 {
            return None;
        }
        if step == 0 {
            let (word, first) = self.word_of_pieces(from, word, first).ok()?;
            let by = self.emit.i32(first as i32);
            let piece = self.emit.pure(Pure::ShrU, &[word, by]);
            let mask = self.emit.i32((1 << width) - 1);
            let piece = self.emit.pure(Pure::IAnd, &[piece, mask]);
            if width == 1 {
                let zero = self.emit.i32(0);
                let all = self.emit.pure(Pure::ISub, &[zero, piece]);
                return Some(self.and_bytes(all, 1));
            }
            let ones = self.emit.i32(ONES as i32);
            return Some(self.emit.pure(Pure::IMul, &[piece, ones]));
        }
        if step < width || step > 8 || first + 3 * step + width > 32 {
            return None;
        }
        let (word, first) = self.word_of_pieces(from, word, first).ok()?;
        let zero = self.emit.i32(0);
        let op = LaneOp::Unpack { bits: step as u8, offset: first as u8, sign: Sign::Unsigned };
        let bytes = self.emit.lane_op(op, &[word, zero]);
        Some(if step > width { self.and_bytes(bytes, (1 << width) - 1) } else { bytes })
    }

    /// A word that is cut into pieces from bit `first` on, and where that is in it. Entries of one table that follow each other in the code, as rows of a grid do, are looked
    /// up two at a time where the target does that quicker: the word is two entries then, and this one may be the upper half.
    fn word_of_pieces(
        &mut self,
        from: Reading<'_, 'k>,
        word: Node,
        first: u32,
    ) -> Result<(lane::Value, u32), LowerError> {
        let affine = from.side.affine.clone();
        let Some((table, index, partner, upper)) = affine.neighbour_in_table(word) else {
            return Ok((self.evaluate(from, word)?, first));
        };
        let entries = &from.side.format.tables[table as usize].1;
        let halves = entries.iter().all(|entry| *entry <= 0xffff);
        if entries.len().next_power_of_two() > self.target.halves as usize || !halves {
            return Ok((self.evaluate(from, word)?, first));
        }
        let table = self.emit.table(Scalar::I32, entries.clone());
        let (low, high) = if upper { (partner, index) } else { (index, partner) };
        let mut number = self.evaluate(from, low)?;
        if !affine.fits(low, 0xffff) {
            let mask = self.emit.i32(0xffff);
            number = self.emit.pure(Pure::IAnd, &[number, mask]);
        }
        let (high, by) = (self.evaluate(from, high)?, self.emit.i32(16));
        let high = self.emit.pure(Pure::Shl, &[high, by]);
        let both = self.emit.pure(Pure::IOr, &[number, high]);
        let found = self.emit.lane_op(LaneOp::TableHalves(table), &[both]);
        Ok((found, if upper { first + 16 } else { first }))
    }

    /// The third way.
    fn tabulated(
        &mut self,
        from: Reading<'_, 'k>,
        nodes: [Node; 4],
        lift: i32,
        plane: u32,
    ) -> Option<lane::Value> {
        let affine = from.side.affine.clone();
        let mut atoms = Vec::new();
        self.cut(from, nodes, &mut atoms, MAX_DEPTH)?;
        let widths: Vec<u32> = atoms.iter().map(|atom| atom.bits).collect();
        if !(1..=8).contains(&widths.iter().sum::<u32>()) {
            return None;
        }
        let mut functions = Vec::new();
        for (byte, node) in nodes.into_iter().enumerate() {
            let inputs: Vec<Node> = atoms.iter().map(|atom| atom.nodes[byte]).collect();
            let steps = steps_of(&affine, node, &inputs)?;
            let widths = widths.clone();
            functions.push(Function { format: from.side.id, steps, widths, lift, plane });
        }
        let function = functions.pop()?;
        if functions.iter().any(|other| *other != function) {
            return None;
        }
        let tables = &from.side.format.tables;
        let entries = self
            .byte_tables
            .entry(function)
            .or_insert_with_key(|function| function.entries(tables))
            .clone()?;
        let mut index = None;
        let mut below = 0;
        for atom in &atoms {
            let by = self.emit.i32(below as i32);
            let bits = self.emit.pure(Pure::Shl, &[atom.bytes, by]);
            index = Some(match index {
                Some(index) => self.emit.pure(Pure::IOr, &[index, bits]),
                None => bits,
            });
            below += atom.bits;
        }
        let table = self.emit.table(Scalar::I32, entries);
        Some(self.emit.lane_op(LaneOp::TableBytes(table), &[index?]))
    }

    /// The quads nearest to a code that the first two ways can make.
    fn cut(
        &mut self,
        from: Reading<'_, 'k>,
        nodes: [Node; 4],
        atoms: &mut Vec<Atom>,
        depth: u32,
    ) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let affine = from.side.affine.clone();
        if nodes.iter().all(|node| matches!(affine.term(*node).0, Term::Const(_)))
            || atoms.iter().any(|atom| atom.nodes == nodes)
        {
            return Some(());
        }
        if nodes.iter().all(|node| affine.is_byte(*node))
            && let Some(bytes) = self.bytes(from, nodes, 0, depth)
        {
            let bits = nodes.iter().map(|node| affine.width(*node)).max()?.max(1);
            atoms.push(Atom { nodes, bits, bytes });
            return Some(());
        }
        for operand in operands_of(&affine, nodes)? {
            self.cut(from, operand, atoms, depth)?;
        }
        Some(())
    }
}

/// The operands of four nodes of one operation.
fn operands_of(affine: &Affine, nodes: [Node; 4]) -> Option<Vec<[Node; 4]>> {
    let mut operands: Option<Vec<[Node; 4]>> = None;
    for (at, node) in nodes.into_iter().enumerate() {
        let args = match (&affine.term(nodes[0]).0, &affine.term(node).0) {
            (Term::Op(op, _), Term::Op(other, args)) if op == other => args.as_slice(),
            (Term::Levels(levels, _), Term::Levels(other, index)) if levels == other => {
                std::slice::from_ref(index)
            }
            _ => return None,
        };
        let operands = operands.get_or_insert_with(|| args.iter().map(|arg| [*arg; 4]).collect());
        if operands.len() != args.len() {
            return None;
        }
        for (operand, arg) in operands.iter_mut().zip(args) {
            operand[at] = *arg;
        }
    }
    operands
}

fn constant_of(affine: &Affine, nodes: [Node; 4]) -> Option<u32> {
    match affine.term(nodes[0]).0 {
        Term::Const(bits) if nodes.iter().all(|node| *node == nodes[0]) => Some(bits),
        Term::Const(_) | Term::Slot { .. } | Term::Levels(..) | Term::Numbers(..) | Term::Op(..) => None,
    }
}

/// A node that is `width` bits of a word from bit `first`: the word, then those.
fn piece_of(affine: &Affine, node: Node) -> Option<(Node, u32, u32)> {
    let Term::Op(Op::Binary(op), args) = &affine.term(node).0 else { return None };
    let known = match affine.term(args[1]).0 {
        Term::Const(bits) => bits,
        Term::Slot { .. } | Term::Levels(..) | Term::Numbers(..) | Term::Op(..) => return None,
    };
    match op {
        Binary::And if (1..=0xff).contains(&known) && (known + 1).is_power_of_two() => {
            let width = known.count_ones();
            match piece_of(affine, args[0]) {
                Some((word, first, inner)) => Some((word, first, inner.min(width))),
                None => Some(shifted_word(affine, args[0], width)),
            }
        }
        // All that is left of the word, if it is short.
        Binary::Shr if known < 32 && affine.is_byte(node) => Some((args[0], known, affine.width(node))),
        _ => None,
    }
}

/// `width` bits of `word >> first`, or of any other word from its first bit.
fn shifted_word(affine: &Affine, node: Node, width: u32) -> (Node, u32, u32) {
    if let Term::Op(Op::Binary(Binary::Shr), args) = &affine.term(node).0
        && let Term::Const(first) = affine.term(args[1]).0
        && first + width <= 32
    {
        return (args[0], first, width);
    }
    (node, 0, width)
}

/// How a node is computed from the nodes `inputs`; `None` where that takes more than integers.
fn steps_of(affine: &Affine, node: Node, inputs: &[Node]) -> Option<Vec<Step>> {
    let mut steps: Vec<Step> = (0..inputs.len()).map(Step::Atom).collect();
    let mut known: HashMap<Node, usize> = inputs.iter().enumerate().map(|(at, node)| (*node, at)).collect();
    let last = add_steps(affine, node, &mut steps, &mut known, MAX_DEPTH)?;
    // The result is the last step.
    if last + 1 != steps.len() {
        return None;
    }
    Some(steps)
}

fn add_steps(
    affine: &Affine,
    node: Node,
    steps: &mut Vec<Step>,
    known: &mut HashMap<Node, usize>,
    depth: u32,
) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    if let Some(at) = known.get(&node) {
        return Some(*at);
    }
    let step = match &affine.term(node).0 {
        Term::Const(bits) => Step::Const(*bits),
        Term::Slot { .. } | Term::Numbers(..) => return None,
        Term::Levels(levels, index) => {
            Step::Levels(levels.clone(), add_steps(affine, *index, steps, known, depth)?)
        }
        Term::Op(Op::Cast(_), args) if affine.is_exact_cast(node) => {
            return add_steps(affine, args[0], steps, known, depth);
        }
        Term::Op(op, args) => {
            let plain = |arg: &Node| matches!(affine.term(*arg).1, DType::I32 | DType::BOOL);
            let integers = match op {
                Op::Binary(_) | Op::Unary(Unary::Neg | Unary::PopCount) => args.iter().all(plain),
                Op::Select | Op::Table(_) => true,
                _ => false,
            };
            if !integers {
                return None;
            }
            let mut operands = Vec::new();
            for arg in args {
                operands.push(add_steps(affine, *arg, steps, known, depth)?);
            }
            Step::Op(op.clone(), operands)
        }
    };
    steps.push(step);
    known.insert(node, steps.len() - 1);
    Some(steps.len() - 1)
}

impl Function {
    /// A byte of the value of every index, if none is negative.
    fn entries(&self, tables: &[(DType, Vec<u32>)]) -> Option<Vec<u32>> {
        let bits: u32 = self.widths.iter().sum();
        (0..1u32 << bits)
            .map(|index| {
                let value = self.value(tables, index)?.checked_add(self.lift)?;
                u32::try_from(value).ok().map(|value| value >> (8 * self.plane) & 0xff)
            })
            .collect()
    }

    fn value(&self, tables: &[(DType, Vec<u32>)], index: u32) -> Option<i32> {
        let mut values: Vec<i32> = Vec::with_capacity(self.steps.len());
        let at_index = |entries: &mut dyn ExactSizeIterator<Item = i32>, index: i32| {
            let mask = entries.len().next_power_of_two() - 1;
            entries.nth(index as usize & mask).unwrap_or(0)
        };
        let mut below = 0;
        for step in &self.steps {
            let value = match step {
                Step::Atom(number) => {
                    let width = self.widths[*number];
                    let value = index >> below & ((1 << width) - 1);
                    below += width;
                    value as i32
                }
                Step::Const(bits) => *bits as i32,
                Step::Levels(levels, index) => at_index(&mut levels.iter().copied(), values[*index]),
                Step::Op(op, args) => match (op, args.as_slice()) {
                    (Op::Binary(op), [a, b]) => fold_i32(*op, values[*a], values[*b]),
                    (Op::Unary(Unary::Neg), [a]) => values[*a].wrapping_neg(),
                    (Op::Unary(Unary::PopCount), [a]) => values[*a].count_ones() as i32,
                    (Op::Select, [c, a, b]) => values[if values[*c] != 0 { *a } else { *b }],
                    (Op::Table(table), [index]) => {
                        let (dtype, entries) = tables.get(*table as usize)?;
                        if dtype.is_float() {
                            return None;
                        }
                        at_index(&mut entries.iter().map(|bits| *bits as i32), values[*index])
                    }
                    _ => return None,
                },
            };
            values.push(value);
        }
        values.pop()
    }
}
