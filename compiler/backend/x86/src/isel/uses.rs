//! Where each value is defined and used: what instruction selection must know to fold a definition into
//! its only use.
//!
//! An *epoch* ends at each store, barrier and control statement. A load may move to a use of the same
//! region and epoch: nothing in between can change what it reads.

use std::collections::HashMap;
use tvmc_ir::lane::{Arena, Function, Inst, Op, Place, Region, Stmt, Value};

use crate::Error;

/// Operations between a definition and its last use from which it is better read from memory again than kept in a register.
const FAR: u32 = 64;

/// Deepest nest of regions that is accepted: lowering and this walk recurse over it.
pub(super) const MAX_DEPTH: usize = 256;

/// A place in the program, as far as moving code goes.
#[derive(Copy, Clone, PartialEq, Eq, Default)]
struct Position {
    region: u32,
    epoch: u32,
}

/// Who uses a value that is used once.
#[derive(Copy, Clone)]
pub(super) enum User<'f> {
    /// An operation.
    Inst(&'f Inst),
    /// A bound, condition, initial value or yield.
    Control,
}

#[derive(Copy, Clone)]
struct Info<'f> {
    count: u32,
    def: Position,
    last: Position,
    user: User<'f>,
    /// Numbers of the operations that define it and use it last.
    span: (u32, u32),
    /// Whether an operation of the region of the definition is every use.
    local: bool,
    /// Whether an operation is every use.
    in_code: bool,
}

/// The analysis' result.
pub(super) struct Uses<'f> {
    infos: Vec<Info<'f>>,
    regions: u32,
    epoch: u32,
    operations: u32,
    /// Numbers of the operations that store to an arena, ascending.
    stores: HashMap<Arena, Vec<u32>>,
}

impl<'f> Uses<'f> {
    /// Walks the function once.
    pub fn of(function: &'f Function) -> Result<Self, Error> {
        let start = Position::default();
        let none = Info {
            count: 0,
            def: start,
            last: start,
            user: User::Control,
            span: (0, 0),
            local: true,
            in_code: true,
        };
        let infos = vec![none; function.values.len()];
        let mut uses = Self { infos, regions: 0, epoch: 0, operations: 0, stores: HashMap::new() };
        uses.region(&function.body, 0)?;
        Ok(uses)
    }

    fn used(&mut self, value: Value, region: u32, user: User<'f>) {
        let last = Position { region, epoch: self.epoch };
        let info = &mut self.infos[value.index()];
        info.count += 1;
        info.span.1 = self.operations;
        info.in_code &= matches!(user, User::Inst(_));
        info.local &= region == info.def.region && info.in_code;
        info.last = last;
        info.user = user;
    }

    fn defined(&mut self, value: Value, region: u32) {
        let info = &mut self.infos[value.index()];
        info.def = Position { region, epoch: self.epoch };
        info.span = (self.operations, self.operations);
    }

    fn region(&mut self, region: &'f Region, depth: usize) -> Result<u32, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        let id = self.regions;
        self.regions += 1;
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => {
                    self.operations += 1;
                    inst.args.iter().for_each(|&arg| self.used(arg, id, User::Inst(inst)));
                    if let Some(result) = inst.result {
                        self.defined(result, id);
                    }
                    self.epoch += u32::from(inst.op.has_effect());
                    if let Op::Memory { form, place: Place::Arena(arena), .. } = inst.op
                        && form.is_store()
                    {
                        self.stores.entry(arena).or_default().push(self.operations);
                    }
                }
                Stmt::For { counter, from, to, carried, body, yields, results, .. } => {
                    self.used(*from, id, User::Control);
                    self.used(*to, id, User::Control);
                    carried.iter().for_each(|c| self.used(c.initial, id, User::Control));
                    self.epoch += 1;
                    let inner = self.regions;
                    self.defined(*counter, inner);
                    carried.iter().for_each(|c| self.defined(c.param, inner));
                    self.region(body, depth + 1)?;
                    yields.iter().for_each(|&y| self.used(y, inner, User::Control));
                    self.epoch += 1;
                    results.iter().for_each(|&r| self.defined(r, id));
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    carried.iter().for_each(|c| self.used(c.initial, id, User::Control));
                    self.epoch += 1;
                    let inner = self.regions;
                    carried.iter().for_each(|c| self.defined(c.param, inner));
                    self.region(body, depth + 1)?;
                    yields.iter().for_each(|&y| self.used(y, inner, User::Control));
                    self.used(*again, inner, User::Control);
                    self.epoch += 1;
                    results.iter().for_each(|&r| self.defined(r, id));
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    self.used(*condition, id, User::Control);
                    for (branch, yields) in [(then, then_yields), (otherwise, otherwise_yields)] {
                        self.epoch += 1;
                        let inner = self.region(branch, depth + 1)?;
                        yields.iter().for_each(|&y| self.used(y, inner, User::Control));
                    }
                    self.epoch += 1;
                    results.iter().for_each(|&r| self.defined(r, id));
                }
            }
        }
        Ok(id)
    }

    /// How often a value is used.
    pub fn count(&self, value: Value) -> u32 {
        self.infos[value.index()].count
    }

    /// The only user of a value, if that is in the region of the definition: the value dies there.
    pub fn only_user(&self, value: Value) -> Option<User<'f>> {
        let info = &self.infos[value.index()];
        (info.count == 1 && info.last.region == info.def.region).then_some(info.user)
    }

    /// Whether all users are operations, and some are far from the definition.
    pub fn is_far(&self, value: Value) -> bool {
        let info = &self.infos[value.index()];
        info.in_code && info.span.1 - info.span.0 > FAR
    }

    /// Whether all users are operations of the region of the definition.
    pub fn is_local(&self, value: Value) -> bool {
        self.infos[value.index()].local
    }

    /// Whether something is stored to an arena from the definition of one value to the last use of another.
    pub fn is_stored_to(&self, arena: Arena, from: Value, to: Value) -> bool {
        let (first, last) = (self.infos[from.index()].span.0, self.infos[to.index()].span.1);
        let stores = self.stores.get(&arena).map_or(&[][..], Vec::as_slice);
        let next = stores.partition_point(|store| *store < first);
        stores.get(next).is_some_and(|store| *store <= last)
    }

    /// The only user, if memory cannot change between the definition and it.
    pub fn only_user_of_load(&self, value: Value) -> Option<User<'f>> {
        let info = &self.infos[value.index()];
        self.only_user(value).filter(|_| info.last.epoch == info.def.epoch)
    }
}
