//! Affine decode bodies: formats whose elements are `scale * code + offset` with small integer codes, so that a product of two such rows
//! is a sum of exact integer products, scaled once per run.
//!
//! A *run* is a stretch of a group's elements that share scale and offset. Of the values that an element's decode body reads, those that
//! all elements of the run read are *steady*; they make up scale and offset. What else it reads makes up the code.
//!
//! ```text
//! q4_1   value[i] = d * q[i] + m                      one run of 32: scale d, offset m, code q[i] in 0..=15
//! q4_0   value[i] = d * (q[i] - 8)                    one run of 32: scale d, bias -8, code q[i]
//! q8_0   value[i] = d * q[i]                          one run of 32: scale d, bias -128, code q[i] + 128
//! own    value[i] = d * (q[i] - z), z: u8            one run: scale d, offset -z d, code q[i]
//! mxfp4  value[i] = d * q[i], q[i]: e2m1              one run of 32: scale d / 2, bias -12, code level[bits of q[i]] + 12
//! ```
//!
//! The integer part of an offset that does not depend on stored bits is the *bias*; it is applied to the integer sum, exactly. Codes
//! are 0 to 255: the bias makes up for negative ones. Levels may take two or three bytes, *planes*: e4m3 is 2^-9 times integers of 19 bits.
//!
//! Matches on operations end in `_`: what this analysis does not name it does not understand, and the general way is always right.
//!
//! Small floats and entries of float tables are *levels*: a power of two times integers, if those span no more than a code may. Where they span more,
//! or are no numbers at all, but are floats of 16 bits (bf16), codes are those *numbers*: e4m3 with its NaN, e5m2, and everything of more exponent bits.
//!
//! Refused (`None`): bodies that are not of this form (a product of two codes, levels that are no small integers), codes that
//! span more than 256 values, groups that are no multiple of the shortest run.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use tvmc_ir::tile::{Binary, CastRule, Format, Op, Unary, Value};
use tvmc_types::dtype::{DType, Kind};

/// Lengths of runs that are tried, the longest first. Activations are scaled per 32 elements at most, so longer ones would not help.
const RUNS: [u32; 3] = [32, 16, 8];
/// Largest power of two that floats are multiplied by to become integers.
const MAX_POWER: i32 = 64;
/// Largest magnitude of a level: times 32 signed bytes it is below 2^31.
const MAX_LEVEL: i32 = 1 << 18;
/// Codes in a quad: the bytes of a lane.
pub(crate) const QUAD: u32 = 4;

/// A node of [`Body`].
/// Operands have smaller numbers.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Node(u32);

/// What a node computes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Term {
    /// A constant's bits.
    Const(u32),
    /// What a storage slot of a field holds; of a float that is taken by its levels, its bits.
    Slot { field: u32, slot: u32 },
    /// An entry of a table, i32, modulo the next power of two of its length; zero past the end.
    Levels(Rc<[i32]>, Node),
    /// The same of f32 bits, of which the lower half is zero.
    Numbers(Rc<[u32]>, Node),
    /// An operation of the tile table.
    Op(Op, Vec<Node>),
}

/// A run of elements.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Run {
    /// First element in the group.
    pub first: u32,
    /// f32, or 1.
    pub scale: Option<Node>,
    /// f32, or 0.
    pub offset: Option<Node>,
    /// What is added to every code.
    pub bias: i32,
    /// i32, one per element; plus `lift` it is 0 to 255, or as much as `planes` bytes hold.
    pub codes: Vec<Node>,
    /// Makes the codes unsigned; `bias` has it subtracted.
    pub lift: i32,
    /// Bytes of a code, 1 to 3: only levels have more than one. 0 where all codes are numbers, which have neither bias nor lift.
    pub planes: u32,
}

/// A format's decode body, run by run.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Affine {
    /// Elements in each run.
    pub length: u32,
    /// In order; they cover the group.
    pub runs: Vec<Run>,
    terms: Vec<(Term, DType)>,
    /// Bounds of integers, where they are known.
    ranges: Vec<Option<(i64, i64)>>,
    /// Which of the format's tables are too long for a register.
    wide_tables: Vec<bool>,
}

impl Affine {
    /// What a node computes, and its type.
    pub fn term(&self, node: Node) -> &(Term, DType) {
        &self.terms[node.0 as usize]
    }

    /// Whether a node is an integer from 0 to 255.
    pub fn is_byte(&self, node: Node) -> bool {
        self.fits(node, 0xff)
    }

    /// The largest byte that a run's codes become.
    pub fn top(&self, run: &Run) -> i32 {
        let high = run.codes.iter().filter_map(|code| self.ranges[code.0 as usize]).map(|(_, high)| high);
        high.max().map_or(0xff, |high| (high + i64::from(run.lift)) as i32)
    }

    /// Bits of a byte's largest value.
    pub fn width(&self, node: Node) -> u32 {
        self.ranges[node.0 as usize].map_or(0, |(_, high)| 64 - high.leading_zeros())
    }

    /// Whether a node is an integer from 0 to `most`.
    pub fn fits(&self, node: Node, most: i64) -> bool {
        self.ranges[node.0 as usize].is_some_and(|(low, high)| low >= 0 && high <= most)
    }

    /// Of an entry of a table: the table, its index, the index of the entry that the code takes from it next or, for every other one, last, and whether it is the second of such two.
    pub fn neighbour_in_table(&self, node: Node) -> Option<(u32, Node, Node, bool)> {
        let entry = |node: Node| match &self.terms[node.0 as usize].0 {
            Term::Op(Op::Table(table), args) => Some((*table, *args.first()?)),
            Term::Const(_) | Term::Slot { .. } | Term::Levels(..) | Term::Numbers(..) | Term::Op(..) => None,
        };
        let (table, index) = entry(node)?;
        let all = (0..self.terms.len() as u32).map(Node);
        let mut of_table = all.filter(|other| entry(*other).is_some_and(|(other, _)| other == table));
        let at = of_table.clone().position(|other| other == node)?;
        let partner = entry(of_table.nth(at ^ 1)?)?.1;
        Some((table, index, partner, at % 2 == 1))
    }

    /// Whether a node is a conversion of integers that changes no value.
    pub fn is_exact_cast(&self, node: Node) -> bool {
        match &self.terms[node.0 as usize].0 {
            Term::Op(Op::Cast(_), args) => {
                let known = self.ranges[node.0 as usize];
                known.is_some() && known == self.ranges[args[0].0 as usize]
            }
            Term::Const(_) | Term::Slot { .. } | Term::Levels(..) | Term::Numbers(..) | Term::Op(..) => false,
        }
    }

    /// Whether codes are numbers, not integers.
    pub fn has_numbers(&self) -> bool {
        self.runs.iter().any(|run| run.planes == 0)
    }

    /// Whether some code takes an entry of a long table, such as a grid's row.
    pub fn has_grids(&self) -> bool {
        let codes = self.runs.iter().flat_map(|run| &run.codes);
        let mut needed = codes.flat_map(|code| self.needed(*code));
        needed.any(|node| matches!(self.terms[node.0 as usize].0, Term::Op(Op::Table(table), _) if self.wide_tables[table as usize]))
    }

    /// What a node is computed from, and itself, operands first.
    pub fn needed(&self, node: Node) -> Vec<Node> {
        let (mut found, mut open) = (BTreeSet::new(), vec![node]);
        while let Some(node) = open.pop() {
            if !found.insert(node) {
                continue;
            }
            match &self.terms[node.0 as usize].0 {
                Term::Const(_) | Term::Slot { .. } => {}
                Term::Levels(_, index) | Term::Numbers(_, index) => open.push(*index),
                Term::Op(_, args) => open.extend(args),
            }
        }
        found.into_iter().collect()
    }

    /// Analyses a format.
    pub fn of(format: &Format) -> Option<Affine> {
        let mut body = Body { format, terms: Vec::new(), known: HashMap::new() };
        let elements: Vec<Node> = (0..format.group).map(|i| body.element(i)).collect::<Option<_>>()?;
        let leaves: Vec<HashSet<(u32, u32)>> = elements.iter().map(|node| body.leaves(*node)).collect();
        for length in RUNS {
            if !format.group.is_multiple_of(length) {
                continue;
            }
            let runs: Option<Vec<Run>> = (0..format.group / length)
                .map(|run| {
                    let range = (run * length) as usize..((run + 1) * length) as usize;
                    body.run(run * length, &elements[range.clone()], &leaves[range])
                })
                .collect();
            if let Some(runs) = runs {
                let ranges = (0..body.terms.len()).map(|at| body.range(Node(at as u32))).collect();
                let wide_tables = format.tables.iter().map(|(_, entries)| entries.len() > 64).collect();
                return Some(Affine { length, runs, terms: body.terms, ranges, wide_tables });
            }
        }
        None
    }
}

/// `scale * (mult * code + bias) + offset`, before runs are compared; absent parts are 1 and 0.
struct Form {
    scale: Option<Node>,
    offset: Option<Node>,
    bias: i32,
    code: Node,
}

/// Expressions of one format, hash-consed: equal expressions are one node.
struct Body<'f> {
    format: &'f Format,
    terms: Vec<(Term, DType)>,
    known: HashMap<(Term, DType), Node>,
}

impl Body<'_> {
    fn node(&mut self, term: Term, dtype: DType) -> Node {
        let next = Node(self.terms.len() as u32);
        let terms = &mut self.terms;
        *self.known.entry((term, dtype)).or_insert_with_key(|key| {
            terms.push(key.clone());
            next
        })
    }

    fn constant(&self, node: Node) -> Option<u32> {
        match self.terms[node.0 as usize].0 {
            Term::Const(bits) => Some(bits),
            Term::Slot { .. } | Term::Levels(..) | Term::Numbers(..) | Term::Op(..) => None,
        }
    }

    fn dtype(&self, node: Node) -> DType {
        self.terms[node.0 as usize].1
    }

    /// The decode body for element `i`.
    fn element(&mut self, i: u32) -> Option<Node> {
        let format = self.format;
        let mut values: HashMap<Value, Node> = HashMap::new();
        for inst in &format.decode.insts {
            let result = inst.result?;
            let dtype = format.decode.values[result.index()].dtype;
            let args: Vec<Node> =
                inst.args.iter().map(|arg| values.get(arg).copied()).collect::<Option<_>>()?;
            let node = match &inst.op {
                Op::GroupIndex => self.node(Term::Const(i), dtype),
                Op::Const(bits) => self.node(Term::Const(*bits), dtype),
                Op::Field(field) => {
                    let index = self.constant(args[0])?;
                    let declared = format.fields.get(*field as usize)?;
                    if index >= declared.count {
                        return None;
                    }
                    self.node(Term::Slot { field: *field, slot: declared.slot(index) }, dtype)
                }
                op => self.folded(op, &args, dtype),
            };
            values.insert(result, node);
        }
        values.get(&format.decode.result).copied()
    }

    fn folded(&mut self, op: &Op, args: &[Node], dtype: DType) -> Node {
        let constants: Vec<Option<u32>> = args.iter().map(|arg| self.constant(*arg)).collect();
        if let (Op::Select, Some(condition)) = (op, constants.first().copied().flatten()) {
            return if condition != 0 { args[1] } else { args[2] };
        }
        if let (Op::Binary(op), [a, _]) = (op, args)
            && self.dtype(*a) == DType::I32
        {
            match (op, constants[0], constants[1]) {
                (op, Some(a), Some(b)) => {
                    return self.node(Term::Const(fold_i32(*op, a as i32, b as i32) as u32), dtype);
                }
                (Binary::Shl | Binary::Shr | Binary::Add | Binary::Sub | Binary::Or, None, Some(0)) => {
                    return *a;
                }
                _ => {}
            }
        }
        self.node(Term::Op(op.clone(), args.to_vec()), dtype)
    }

    fn leaves(&self, node: Node) -> HashSet<(u32, u32)> {
        let (mut found, mut seen, mut open) = (HashSet::new(), HashSet::new(), vec![node]);
        while let Some(node) = open.pop() {
            if !seen.insert(node) {
                continue;
            }
            match &self.terms[node.0 as usize].0 {
                Term::Const(_) => {}
                Term::Slot { field, slot } => {
                    found.insert((*field, *slot));
                }
                Term::Levels(_, index) | Term::Numbers(_, index) => open.push(*index),
                Term::Op(_, args) => open.extend(args),
            }
        }
        found
    }

    fn run(&mut self, first: u32, elements: &[Node], leaves: &[HashSet<(u32, u32)>]) -> Option<Run> {
        let steady: HashSet<(u32, u32)> = leaves
            .iter()
            .skip(1)
            .fold(leaves[0].clone(), |common, set| common.intersection(set).copied().collect());
        let forms: Vec<Form> =
            elements.iter().map(|node| self.float_form(*node, &steady)).collect::<Option<_>>()?;
        let head = &forms[0];
        if forms.iter().any(|f| (f.scale, f.offset, f.bias) != (head.scale, head.offset, head.bias)) {
            return None;
        }
        let codes: Vec<Node> = forms.iter().map(|f| f.code).collect();
        let (scale, offset) = (head.scale, head.offset);
        let is_number = |code: &Node| matches!(self.terms[code.0 as usize].0, Term::Numbers(..));
        if head.bias == 0 && codes.iter().all(is_number) {
            return Some(Run { first, scale, offset, bias: 0, codes, lift: 0, planes: 0 });
        }
        let ranges: Vec<(i64, i64)> = codes.iter().map(|code| self.range(*code)).collect::<Option<_>>()?;
        let low = ranges.iter().map(|r| r.0).min()?.min(0);
        let high = ranges.iter().map(|r| r.1).max()?;
        let levels = codes.iter().all(|code| matches!(self.terms[code.0 as usize].0, Term::Levels(..)));
        let planes = match high - low {
            0..=0xff => 1,
            0x100..=0xffff if levels => 2,
            _ if levels => 3,
            _ => return None,
        };
        let lift = i32::try_from(-low).ok()?;
        let bias = head.bias.checked_sub(lift).filter(|bias| bias.abs() <= MAX_LEVEL)?;
        Some(Run { first, scale, offset, bias, codes, lift, planes })
    }

    fn is_steady(&self, node: Node, steady: &HashSet<(u32, u32)>) -> bool {
        self.leaves(node).is_subset(steady)
    }

    /// Whether a node is what a field holds.
    fn is_entry(&self, node: Node) -> bool {
        match &self.terms[node.0 as usize].0 {
            Term::Slot { .. } => true,
            Term::Op(Op::Cast(CastRule::Exact), args) => {
                matches!(self.terms[args[0].0 as usize].0, Term::Slot { .. })
            }
            Term::Const(_) | Term::Levels(..) | Term::Numbers(..) | Term::Op(..) => false,
        }
    }

    fn times(&mut self, a: Option<Node>, b: Node) -> Node {
        match a {
            None => b,
            Some(a) => self.node(Term::Op(Op::Binary(Binary::Mul), vec![a, b]), DType::F32),
        }
    }

    fn plus(&mut self, op: Binary, a: Option<Node>, b: Node) -> Node {
        let a = match a {
            Some(a) => a,
            None if op == Binary::Add => return b,
            None => self.node(Term::Const(0), DType::F32),
        };
        self.node(Term::Op(Op::Binary(op), vec![a, b]), DType::F32)
    }

    fn float_form(&mut self, node: Node, steady: &HashSet<(u32, u32)>) -> Option<Form> {
        let (term, dtype) = self.terms[node.0 as usize].clone();
        let (op, args) = match term {
            Term::Slot { field, slot } if dtype.is_float() && dtype.bits() <= 8 => {
                let values: Vec<f64> = (0..1u64 << dtype.bits()).map(|code| dtype.decode(code)).collect();
                let code =
                    self.node(Term::Slot { field, slot }, DType::from_name(&format!("u{}", dtype.bits()))?);
                return self.levels(&values, code);
            }
            Term::Op(op, args) if dtype == DType::F32 => (op, args),
            Term::Const(_) | Term::Slot { .. } | Term::Levels(..) | Term::Numbers(..) | Term::Op(..) => {
                return None;
            }
        };
        match op {
            Op::Cast(CastRule::Exact | CastRule::Round) if self.dtype(args[0]).is_float() => {
                self.float_form(args[0], steady)
            }
            Op::Table(table) => {
                let (dtype, entries) = &self.format.tables[table as usize];
                let values: Vec<f64> = entries.iter().map(|bits| dtype.decode(u64::from(*bits))).collect();
                if *dtype == DType::F32 { self.levels(&values, args[0]) } else { None }
            }
            Op::Cast(CastRule::Exact | CastRule::Round)
                if matches!(self.dtype(args[0]).kind(), Kind::Signed | Kind::Unsigned) =>
            {
                self.integer_form(args[0], steady)
            }
            Op::Binary(Binary::Mul) => {
                let Some((code, factor)) = self.one_steady(&args, steady) else {
                    return self.signed_form(&args, steady);
                };
                let form = self.float_form(code, steady)?;
                let scale = Some(self.times(form.scale, factor));
                let offset = form.offset.map(|offset| self.times(Some(offset), factor));
                Some(Form { scale, offset, ..form })
            }
            Op::Binary(Binary::Add) => {
                let (code, term) = self.one_steady(&args, steady)?;
                let form = self.float_form(code, steady)?;
                let offset = Some(self.plus(Binary::Add, form.offset, term));
                Some(Form { offset, ..form })
            }
            Op::Binary(Binary::Sub) if self.is_steady(args[1], steady) => {
                let form = self.float_form(args[0], steady)?;
                let offset = Some(self.plus(Binary::Sub, form.offset, args[1]));
                Some(Form { offset, ..form })
            }
            Op::Fma if self.is_steady(args[2], steady) => {
                let (code, factor) = self.one_steady(&args[..2], steady)?;
                let form = self.float_form(code, steady)?;
                let scale = Some(self.times(form.scale, factor));
                let scaled = form.offset.map(|offset| self.times(Some(offset), factor));
                let offset = Some(self.plus(Binary::Add, scaled, args[2]));
                Some(Form { scale, offset, ..form })
            }
            Op::Unary(Unary::Neg) => {
                let minus = self.node(Term::Const((-1f32).to_bits()), DType::F32);
                let form = self.float_form(args[0], steady)?;
                let scale = Some(self.times(form.scale, minus));
                let offset = form.offset.map(|offset| self.times(Some(offset), minus));
                Some(Form { scale, offset, ..form })
            }
            _ => None,
        }
    }

    /// `select(c, -d, d) * m`, where d is steady and m an integer: d times the code `select(c, -m, m)`.
    fn signed_form(&mut self, args: &[Node], steady: &HashSet<(u32, u32)>) -> Option<Form> {
        let op = |node: Node, wanted: &Op| match &self.terms[node.0 as usize].0 {
            Term::Op(op, args) if op == wanted => Some(args.clone()),
            _ => None,
        };
        let negated = |node: Node| op(node, &Op::Unary(Unary::Neg)).map(|args| args[0]);
        let [(select, other), swapped] = [(args[0], args[1]), (args[1], args[0])];
        let choice = |node: Node| op(node, &Op::Select);
        let (chosen, other) = match choice(select) {
            Some(chosen) => (chosen, other),
            None => (choice(swapped.0)?, swapped.1),
        };
        let (condition, then, otherwise) = (chosen[0], chosen[1], chosen[2]);
        let (factor, negative) = match (negated(then), negated(otherwise)) {
            (Some(of), _) if of == otherwise => (otherwise, true),
            (_, Some(of)) if of == then => (then, false),
            (_, _) => return None,
        };
        let number = op(other, &Op::Cast(CastRule::Exact))?[0];
        if !self.is_steady(factor, steady) || !self.dtype(number).is_integer() {
            return None;
        }
        let number = self.node(Term::Op(Op::Cast(CastRule::Exact), vec![number]), DType::I32);
        let minus = self.node(Term::Op(Op::Unary(Unary::Neg), vec![number]), DType::I32);
        let (then, otherwise) = if negative { (minus, number) } else { (number, minus) };
        let code = self.node(Term::Op(Op::Select, vec![condition, then, otherwise]), DType::I32);
        let form = self.integer_form(code, steady)?;
        let scale = Some(self.times(form.scale, factor));
        Some(Form { scale, ..form })
    }

    /// Numbers by their place: small integers times a power of two, or such as are bf16.
    fn levels(&mut self, values: &[f64], index: Node) -> Option<Form> {
        let Some((power, levels)) = integers(values) else { return self.numbers(values, index) };
        let code = self.node(Term::Levels(levels, index), DType::I32);
        let scale = match power {
            0 => None,
            _ => Some(self.node(Term::Const(2f32.powi(-power).to_bits()), DType::F32)),
        };
        Some(Form { scale, offset: None, bias: 0, code })
    }

    fn numbers(&mut self, values: &[f64], index: Node) -> Option<Form> {
        let bits = |(at, value): (usize, &f64)| {
            if value.is_nan() {
                // The upper half of a type's codes are the lower with a sign. A NaN's means nothing, so that it may keep to this.
                let sign = if 2 * at >= values.len() { 1 << 31 } else { 0 };
                return Some(f32::INFINITY.to_bits() | 1 << 22 | sign);
            }
            let number = *value as f32;
            let exact = f64::from(number) == *value && number.to_bits() & 0xffff == 0;
            exact.then_some(number.to_bits())
        };
        let entries: Option<Rc<[u32]>> = values.iter().enumerate().map(bits).collect();
        let code = self.node(Term::Numbers(entries?, index), DType::F32);
        Some(Form { scale: None, offset: None, bias: 0, code })
    }

    /// The operand that varies, then the steady one.
    fn one_steady(&self, args: &[Node], steady: &HashSet<(u32, u32)>) -> Option<(Node, Node)> {
        match (self.is_steady(args[0], steady), self.is_steady(args[1], steady)) {
            (false, true) => Some((args[0], args[1])),
            (true, false) => Some((args[1], args[0])),
            (true, true) | (false, false) => None,
        }
    }

    /// An i32 that is `factor * (code + bias)`: products of integers below 2^24 are exact in f32, which the ranges prove.
    fn integer_form(&mut self, node: Node, steady: &HashSet<(u32, u32)>) -> Option<Form> {
        if let Term::Op(Op::Binary(op), args) = self.terms[node.0 as usize].0.clone() {
            let exact = self.range(node).is_some_and(|(low, high)| low.abs().max(high.abs()) < 1 << 24);
            let parts = self.one_steady(&args, steady);
            match op {
                Binary::Mul if exact => {
                    if let Some((code, factor)) = parts {
                        let form = self.integer_form(code, steady)?;
                        let factor = self.node(Term::Op(Op::Cast(CastRule::Round), vec![factor]), DType::F32);
                        let offset = form.offset.map(|offset| self.times(Some(offset), factor));
                        return Some(Form { scale: Some(self.times(form.scale, factor)), offset, ..form });
                    }
                }
                Binary::Add | Binary::Sub => {
                    // A stored zero point is an offset. Other steady numbers may be parts of the code: only constants are not.
                    let zero = parts.filter(|(code, zero)| {
                        self.is_entry(*zero) && (op == Binary::Add || *code == args[0]) && exact
                    });
                    if let Some((code, zero)) = zero {
                        let form = self.integer_form(code, steady)?;
                        if form.scale.is_none() {
                            let zero = self.node(Term::Op(Op::Cast(CastRule::Round), vec![zero]), DType::F32);
                            let offset = Some(self.plus(op, form.offset, zero));
                            return Some(Form { offset, ..form });
                        }
                    }
                    let constant = self.constant(args[1]).map(|bits| bits as i32);
                    if let (Some(constant), Some(false)) = (constant, Some(self.is_steady(args[0], steady))) {
                        let form = self.integer_form(args[0], steady)?;
                        if form.scale.is_none() {
                            let change = if op == Binary::Add { constant } else { constant.checked_neg()? };
                            return Some(Form { bias: form.bias.checked_add(change)?, ..form });
                        }
                    }
                }
                _ => {}
            }
        }
        self.range(node)?;
        Some(Form { scale: None, offset: None, bias: 0, code: node })
    }

    /// Bounds of an integer.
    fn range(&self, node: Node) -> Option<(i64, i64)> {
        self.range_within(node, 24)
    }

    fn range_within(&self, node: Node, depth: u32) -> Option<(i64, i64)> {
        let (term, dtype) = &self.terms[node.0 as usize];
        let (term, depth) = (term, depth.checked_sub(1)?);
        match term {
            Term::Const(bits) => match dtype.kind() {
                Kind::Signed => Some((i64::from(*bits as i32), i64::from(*bits as i32))),
                Kind::Unsigned | Kind::Bool => Some((i64::from(*bits), i64::from(*bits))),
                Kind::Float => None,
            },
            Term::Slot { .. } => {
                let bits = dtype.bits();
                match dtype.kind() {
                    Kind::Unsigned if bits < 32 => Some((0, (1 << bits) - 1)),
                    Kind::Signed if bits <= 32 => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
                    Kind::Unsigned | Kind::Signed | Kind::Bool | Kind::Float => None,
                }
            }
            Term::Levels(levels, _) => {
                // An index past the end reads as zero.
                let values = || levels.iter().map(|level| i64::from(*level)).chain([0]);
                Some((values().min()?, values().max()?))
            }
            Term::Numbers(..) => None,
            Term::Op(op, args) => {
                let at = |i: usize| self.range_within(args[i], depth);
                let found = match op {
                    // Whatever is masked.
                    Op::Binary(Binary::And) => match (at(0), at(1)) {
                        (Some(a), Some(b)) => range_of(Binary::And, a, b)?,
                        (None, Some((low, high))) if low == high && low >= 0 => (0, high),
                        (Some(_) | None, Some(_) | None) => return None,
                    },
                    Op::Binary(op) => range_of(*op, at(0)?, at(1)?)?,
                    Op::Unary(Unary::PopCount) => (0, 32),
                    Op::Unary(Unary::Neg) => at(0).map(|(low, high)| (-high, -low))?,
                    Op::Cast(CastRule::Exact | CastRule::Wrap | CastRule::Saturate) => at(0)?,
                    Op::Select => {
                        let (a, b) = (at(1)?, at(2)?);
                        (a.0.min(b.0), a.1.max(b.1))
                    }
                    Op::Table(table) => {
                        let (dtype, entries) = &self.format.tables[*table as usize];
                        if dtype.kind() == Kind::Float {
                            return None;
                        }
                        // An index past the end reads as zero.
                        let values = || entries.iter().map(|bits| i64::from(*bits as i32)).chain([0]);
                        (values().min()?, values().max()?)
                    }
                    _ => return None,
                };
                let fits = match dtype.kind() {
                    Kind::Signed => found.0 >= i64::from(i32::MIN) && found.1 <= i64::from(i32::MAX),
                    Kind::Unsigned => found.0 >= 0 && found.1 <= i64::from(u32::MAX),
                    Kind::Bool | Kind::Float => false,
                };
                // Narrow types wrap or clamp: only what needs neither is followed.
                let narrow = dtype.bits() < 32
                    && match dtype.kind() {
                        Kind::Signed => {
                            let half = 1i64 << (dtype.bits() - 1);
                            found.0 < -half || found.1 >= half
                        }
                        Kind::Unsigned | Kind::Bool | Kind::Float => found.1 >= 1 << dtype.bits(),
                    };
                (fits && !narrow).then_some(found)
            }
        }
    }
}

/// The least power of two that makes integers of all these, and those, if they are small.
fn integers(values: &[f64]) -> Option<(i32, Rc<[i32]>)> {
    let whole = |power: i32| values.iter().all(|value| (value * 2f64.powi(power)).fract() == 0.0);
    let power = (0..=MAX_POWER).find(|power| whole(*power))?;
    let level = |value: &f64| {
        let level = value * 2f64.powi(power);
        (level.abs() <= f64::from(MAX_LEVEL)).then_some(level as i32)
    };
    Some((power, values.iter().map(level).collect::<Option<_>>()?))
}

/// Bounds of `a op b`.
fn range_of(op: Binary, a: (i64, i64), b: (i64, i64)) -> Option<(i64, i64)> {
    let fixed = (b.0 == b.1).then_some(b.0);
    let bits = |v: i64| (1i64 << (64 - v.leading_zeros())) - 1;
    match op {
        Binary::Add => Some((a.0 + b.0, a.1 + b.1)),
        Binary::Sub => Some((a.0 - b.1, a.1 - b.0)),
        Binary::Mul => {
            let ends = [a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1];
            Some((ends.into_iter().min()?, ends.into_iter().max()?))
        }
        Binary::And if a.0 >= 0 && b.0 >= 0 => Some((0, a.1.min(b.1))),
        Binary::And if fixed.is_some_and(|mask| mask >= 0) => Some((0, b.1)),
        Binary::Or | Binary::Xor if a.0 >= 0 && b.0 >= 0 => Some((0, bits(a.1.max(b.1)))),
        Binary::Shl => {
            let by = fixed.filter(|by| (0..31).contains(by))?;
            Some((a.0 << by, a.1 << by))
        }
        Binary::Shr => {
            let by = fixed.filter(|by| (0..32).contains(by))?;
            Some((a.0 >> by, a.1 >> by))
        }
        Binary::Min => Some((a.0.min(b.0), a.1.min(b.1))),
        Binary::Max => Some((a.0.max(b.0), a.1.max(b.1))),
        Binary::Div if fixed.is_some_and(|by| by > 0) && a.0 >= 0 => Some((a.0 / b.0, a.1 / b.0)),
        Binary::Rem if fixed.is_some_and(|by| by > 0) && a.0 >= 0 => Some((0, a.1.min(b.0 - 1))),
        Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le => None,
        Binary::And | Binary::Or | Binary::Xor | Binary::Div | Binary::Rem => None,
    }
}

/// The op table's meaning for i32.
pub(crate) fn fold_i32(op: Binary, a: i32, b: i32) -> i32 {
    match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::Mul => a.wrapping_mul(b),
        Binary::Div => {
            if b == 0 {
                0
            } else {
                a.wrapping_div(b)
            }
        }
        Binary::Rem => {
            if b == 0 {
                a
            } else {
                a.wrapping_rem(b)
            }
        }
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        Binary::Shl => a.wrapping_shl(b as u32),
        Binary::Shr => a.wrapping_shr(b as u32),
        Binary::Eq => i32::from(a == b),
        Binary::Ne => i32::from(a != b),
        Binary::Lt => i32::from(a < b),
        Binary::Le => i32::from(a <= b),
    }
}
