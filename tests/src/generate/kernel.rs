//! The grid, statements and control flow.
//!
//! Every block writes its own part of every output (`memory`), so no two blocks conflict. Loops run at most [`MAX_TRIPS`] times each, and
//! tiles shrink with the number of iterations around them, so that every kernel is quick in an interpreter.

use super::memory::computing;
use super::outputs::Output;
use super::{Argument, Case, Floats, Tape};
use crate::random::Random;
use tvmc_ir::host::{Binary as HostBinary, Expr};
use tvmc_ir::tile::inference::infer;
use tvmc_ir::tile::{Binary, Builder, DimDecl, Element, Op, Shared, TensorDecl, TileType, Value};
use tvmc_types::dtype::DType;

/// Extents of tiles and tensors.
pub(super) const SIZES: [u32; 10] = [1, 3, 16, 17, 33, 2, 8, 5, 24, 32];
/// Most iterations of a loop.
const MAX_TRIPS: u32 = 4;
/// Most elements of a tile times the iterations around it.
const MAX_WORK: u32 = 1200;

/// A grid axis.
#[derive(Clone, Debug)]
pub(super) struct GridAxis {
    /// Blocks.
    pub count: u32,
    /// Where it is `ceil_div(extent, slice)`: the extent's value, its expression, and the slice.
    pub blocks_of: Option<(u32, Expr, u32)>,
}

/// A kernel under construction.
pub(super) struct Maker<'t> {
    pub tape: Tape<'t>,
    pub b: Builder,
    pub floats: Floats,
    /// Values in scope, of computing dtypes, oldest first.
    pub pool: Vec<Value>,
    pub arguments: Vec<Argument>,
    pub grid: Vec<GridAxis>,
    /// Values of runtime dimensions.
    pub dims: Vec<u32>,
    pub outputs: Vec<Output>,
    /// Block-shared tensors that were written as a whole.
    pub shared: Vec<Shared>,
    /// Those of them that a copy is under way to.
    pub busy: Vec<Shared>,
    pub noise: Random,
    /// Iterations of the loops around.
    pub trips: u32,
    pub portable: bool,
    /// Regions around.
    depth: usize,
}

/// The kernel of a tape.
pub fn generate(decisions: &[u32], floats: Floats) -> Case {
    let mut tape = Tape::new(decisions);
    let noise = Random::new(tape.bits().into());
    let mut maker = Maker {
        tape,
        b: Builder::new("random"),
        floats,
        pool: Vec::new(),
        arguments: Vec::new(),
        grid: Vec::new(),
        dims: Vec::new(),
        outputs: Vec::new(),
        shared: Vec::new(),
        busy: Vec::new(),
        noise,
        trips: 1,
        portable: floats == Floats::Exact,
        depth: 0,
    };
    maker.header();
    let budget = 4 + maker.tape.below(12);
    maker.statements(budget);
    maker.finish()
}

impl Maker<'_> {
    fn header(&mut self) {
        for number in 0..self.tape.below(3) {
            let size = self.tape.pick(&SIZES);
            let name = format!("D{number}");
            self.b.kernel.dims.push(DimDecl { name: name.clone() });
            self.dims.push(size);
            // An argument binds it.
            self.input_of(Element::DType(DType::F32), &[(size, Expr::Name(name))]);
        }
        self.b.kernel.lanes = self.tape.pick(&[None, None, None, None, Some(8), Some(32), Some(64), Some(4)]);
        for _ in 0..1 + self.tape.below(2) {
            let axis = self.grid_axis();
            self.b.kernel.grid.push(match &axis.blocks_of {
                Some((_, extent, slice)) => {
                    let slice = Expr::int(i64::from(*slice));
                    Expr::binary(HostBinary::CeilDiv, extent.clone(), slice)
                }
                None => Expr::int(i64::from(axis.count)),
            });
            self.grid.push(axis);
        }
        if self.tape.one_in(4) {
            let limit = Expr::binary(HostBinary::Le, Expr::int(1), self.b.kernel.grid[0].clone());
            self.b.kernel.assumptions.push((limit, "at least one block".into()));
        }
        for axis in 0..self.grid.len() {
            let index = self.b.define(Op::BlockIndex(axis as u8), &[], TileType::scalar(DType::I32));
            self.pool.push(index);
        }
        for _ in 0..self.tape.below(3) {
            let dtype = self.tape.pick(&[DType::I32, DType::F32, DType::U32, DType::BOOL]);
            self.scalar_argument(dtype);
        }
    }

    fn grid_axis(&mut self) -> GridAxis {
        if !self.tape.one_in(3) {
            let slice = self.tape.pick(&SIZES);
            let (extent, expr) = self.extent(None);
            let count = extent.div_ceil(slice);
            if count <= 3 {
                return GridAxis { count, blocks_of: Some((extent, expr, slice)) };
            }
        }
        GridAxis { count: 1 + self.tape.below(3) as u32, blocks_of: None }
    }

    /// A size and how it is said: a constant (this one, if given) or a runtime dimension.
    pub fn extent(&mut self, constant: Option<u32>) -> (u32, Expr) {
        if constant.is_none() && !self.dims.is_empty() && self.tape.one_in(2) {
            let at = self.tape.below(self.dims.len());
            return (self.dims[at], Expr::Name(format!("D{at}")));
        }
        let size = constant.unwrap_or_else(|| self.tape.pick(&SIZES));
        (size, Expr::int(i64::from(size)))
    }

    /// A shape of at most this many axes that is small enough here.
    pub fn shape(&mut self, max_rank: usize) -> Vec<u32> {
        let rank = self.tape.pick(&[2, 1, 2, 3, 1, 2, 4]).min(max_rank);
        let mut shape: Vec<u32> = Vec::new();
        let mut left = (MAX_WORK / self.trips).max(1);
        for _ in 0..rank {
            // Often the slice of a grid axis, so that outputs can be cut along it.
            let slices: Vec<u32> =
                self.grid.iter().filter_map(|g| g.blocks_of.as_ref()).map(|(_, _, slice)| *slice).collect();
            let size = if !slices.is_empty() && self.tape.one_in(2) {
                self.tape.pick(&slices)
            } else {
                self.tape.pick(&SIZES)
            };
            let size = if size > left { 1 } else { size };
            left /= size;
            shape.push(size);
        }
        shape
    }

    pub fn statements(&mut self, budget: usize) {
        for _ in 0..budget {
            if self.tape.is_empty() {
                break;
            }
            match self.tape.below(if self.depth < 3 { 24 } else { 18 }) {
                0..=7 => self.elementwise(),
                8 | 9 => self.reshape(),
                10 | 11 => self.reduce(),
                12 => self.dot(),
                13 | 14 => match self.tape.below(5) {
                    0..=3 => self.load(),
                    _ => self.load_field(),
                },
                15 => match self.tape.below(8) {
                    0..=2 => self.shared(),
                    3 | 4 => self.scatter(),
                    5 | 6 => self.copies(),
                    _ => self.update_shared(),
                },
                16 => match self.tape.below(8) {
                    0..=2 => self.store_something(),
                    3 => self.store_matrix(),
                    4 | 5 => self.atomic(),
                    6 => self.scatter_out(),
                    _ => self.store_groups(),
                },
                17 if self.tape.one_in(2) => self.print(),
                17 => self.check(),
                18 | 19 => self.for_loop(),
                20 => self.while_loop(),
                21 => self.accumulate(),
                22 => self.update(),
                _ => self.branch(),
            }
        }
    }

    /// An assertion that holds.
    fn check(&mut self) {
        let a = self.want(DType::I32, &[]);
        let same = self.b.define(Op::Binary(Binary::Le), &[a, a], TileType::scalar(DType::BOOL));
        let number = self.b.kernel.messages.len() as u32;
        let message = tvmc_ir::tile::Message { text: "a <= a".into(), location: "random:1:1".into() };
        self.b.kernel.messages.push(message);
        self.b.effect(Op::Assert(number), &[same]);
    }

    /// Prints small values in scope, and sometimes one of a storage type.
    fn print(&mut self) {
        // What a kernel prints in all must fit the log of a device.
        if self.trips > 4 {
            return;
        }
        let mut args = Vec::new();
        for _ in 0..1 + self.tape.below(2) {
            let small: Vec<Value> =
                self.pool.iter().copied().filter(|value| self.b.ty(*value).elements() <= 12).collect();
            if small.is_empty() {
                break;
            }
            let value = self.tape.pick(&small);
            let ty = self.b.ty(value).clone();
            args.push(if self.tape.one_in(3) {
                let held = super::data::held().into_iter();
                let held: Vec<DType> = held.filter(|to| computing(*to) == ty.dtype).collect();
                let to = self.tape.pick(&held);
                self.narrowed(value, to)
            } else {
                value
            });
        }
        // Text beside the marks, with braces that are none.
        let text = args.iter().fold(String::from("p {:u}"), |text, _| text + " {}");
        let number = self.b.kernel.messages.len() as u32;
        self.b.kernel.messages.push(tvmc_ir::tile::Message { text, location: "random:2:1".into() });
        self.b.effect(Op::Print(number), &args);
    }

    /// Types of loop variables or results, each the type of some value in scope or new.
    fn types(&mut self) -> Vec<TileType> {
        let count = self.tape.pick(&[1, 2, 0, 3, 2]);
        (0..count)
            .map(|_| {
                if !self.pool.is_empty() && self.tape.one_in(2) {
                    let value = self.recent();
                    let ty = self.b.ty(value).clone();
                    if ty.elements() as u32 <= MAX_WORK / self.trips.max(1) {
                        return ty;
                    }
                }
                let dtype = self.dtype();
                TileType { dtype, shape: self.shape(3) }
            })
            .collect()
    }

    fn initials(&mut self, types: &[TileType]) -> Vec<Value> {
        types.iter().map(|ty| self.want(ty.dtype, &ty.shape)).collect()
    }

    /// Next values: others' old ones (so that variables swap), unchanged ones, or anything.
    fn yields(&mut self, types: &[TileType], params: &[Value]) -> Vec<Value> {
        types
            .iter()
            .map(|ty| {
                let same: Vec<Value> = params.iter().copied().filter(|p| self.b.ty(*p) == ty).collect();
                if !same.is_empty() && self.tape.one_in(3) {
                    self.tape.pick(&same)
                } else {
                    self.want(ty.dtype, &ty.shape)
                }
            })
            .collect()
    }

    /// Runs `body` in a region: what it puts in scope goes out of it.
    fn nested<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        let (outer, shared) = (self.pool.len(), self.shared.len());
        self.depth += 1;
        let result = body(self);
        self.depth -= 1;
        self.pool.truncate(outer);
        self.shared.truncate(shared);
        result
    }

    /// Bounds of a loop of at most [`MAX_TRIPS`] iterations, and its step.
    pub fn bounds(&mut self) -> (Value, Value, u32, u32) {
        let trips = 1 + self.tape.below(MAX_TRIPS as usize) as u32;
        if !self.dims.is_empty() && self.tape.one_in(3) {
            let at = self.tape.below(self.dims.len());
            let step = self.dims[at].div_ceil(trips).max(1);
            let from = self.b.i32(0);
            let dim = tvmc_ir::tile::Dim(at as u32);
            let to = self.b.define(Op::Dim(dim), &[], TileType::scalar(DType::I32));
            return (from, to, step, self.dims[at].div_ceil(step));
        }
        let step = self.tape.pick(&[1, 16, 3, 8]);
        let first = self.tape.pick(&[0, 0, -3, 16]);
        let count = if self.tape.one_in(6) { 0 } else { trips };
        let from = self.b.i32(first);
        let to = self.b.i32(first + (count * step) as i32 - self.tape.below(step as usize) as i32);
        (from, to, step, trips)
    }

    fn for_loop(&mut self) {
        let (from, to, step, trips) = self.bounds();
        let types = self.types();
        let initials = self.initials(&types);
        let (counter, params) = self.b.begin_for(from, to, step, &initials);
        self.b.pipeline(self.tape.pick(&[1, 1, 2, 3, 4, 16]));
        let yields = self.nested(|this| {
            this.trips *= trips;
            this.pool.push(counter);
            this.pool.extend(&params);
            let budget = 1 + this.tape.below(4);
            this.statements(budget);
            let yields = this.yields(&types, &params);
            this.trips /= trips;
            yields
        });
        let results = self.b.end_for(&yields);
        self.pool.extend(results);
    }

    /// A do-while loop that a counter bounds; it may end earlier.
    fn while_loop(&mut self) {
        let trips = 1 + self.tape.below(MAX_TRIPS as usize) as u32;
        let types = self.types();
        let mut initials = self.initials(&types);
        let zero = self.b.i32(0);
        initials.push(zero);
        let mut params = self.b.begin_loop(&initials);
        let (again, yields) = self.nested(|this| {
            this.trips *= trips;
            this.pool.extend(&params);
            let counter = params.pop().unwrap_or(zero);
            let budget = 1 + this.tape.below(3);
            this.statements(budget);
            let i32s = TileType::scalar(DType::I32);
            let one = this.b.i32(1);
            let next = this.b.define(Op::Binary(Binary::Add), &[counter, one], i32s);
            let limit = this.b.i32(trips as i32);
            let bools = TileType::scalar(DType::BOOL);
            let mut again = this.b.define(Op::Binary(Binary::Lt), &[next, limit], bools.clone());
            if this.tape.one_in(2) {
                let other = this.want(DType::BOOL, &[]);
                again = this.b.define(Op::Binary(Binary::And), &[again, other], bools);
            }
            let mut yields = this.yields(&types, &params);
            yields.push(next);
            this.trips /= trips;
            (again, yields)
        });
        let results = self.b.end_loop(again, &yields);
        self.pool.extend(results);
    }

    fn branch(&mut self) {
        let condition = self.want(DType::BOOL, &[]);
        let types = self.types();
        self.b.begin_if(condition);
        let arm = |this: &mut Self| {
            let budget = this.tape.below(4);
            this.statements(budget);
            this.initials(&types)
        };
        let yields = self.nested(arm);
        self.b.begin_else(&yields);
        let yields = self.nested(arm);
        let results = self.b.end_if(&yields);
        self.pool.extend(results);
    }

    /// Stores some of what there is, so that it is judged, and closes the kernel.
    fn finish(mut self) -> Case {
        for _ in 0..1 + self.tape.below(4) {
            self.store_something();
        }
        let mut kernel = self.b.finish();
        let inserted = infer(&mut kernel);
        debug_assert!(inserted.is_ok(), "each view has a tile of its own: {inserted:?}");
        debug_assert!(
            kernel
                .params
                .iter()
                .zip(&self.arguments)
                .all(|(p, a)| { matches!(p, TensorDecl::Tensor { .. }) == matches!(a, Argument::Tensor(_)) })
        );
        Case { kernel, arguments: self.arguments, portable: self.portable }
    }
}
