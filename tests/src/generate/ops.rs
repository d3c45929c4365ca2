//! Operations on the values in scope.

use super::kernel::{Maker, SIZES};
use super::memory::computing;
use super::{Floats, data};
use tvmc_ir::tile::{Binary, CastRule, Op, Reduce, TileType, Unary, Value};
use tvmc_types::dtype::DType;
use tvmc_types::layout::Layout;

/// Lanes of pinned layouts, where the kernel does not say.
const LANES: u32 = 4;

impl Maker<'_> {
    pub fn dtype(&mut self) -> DType {
        self.tape.pick(&[DType::F32, DType::I32, DType::F32, DType::U32, DType::BOOL])
    }

    /// A value in scope, newer ones more often.
    pub fn recent(&mut self) -> Value {
        let last = self.pool.len() - 1;
        let back = if self.tape.one_in(3) { self.tape.below(last + 1) } else { self.tape.below(6).min(last) };
        self.pool[last - back]
    }

    fn of_dtype(&mut self, dtype: DType) -> Option<Value> {
        let fitting: Vec<Value> =
            self.pool.iter().copied().filter(|v| self.b.ty(*v).dtype == dtype).collect();
        let skip = fitting.len().saturating_sub(6);
        (!fitting.is_empty()).then(|| self.tape.pick(&fitting[skip..]))
    }

    /// A constant tile.
    pub fn constant(&mut self, dtype: DType, shape: &[u32]) -> Value {
        let bits = data::scalar(&mut self.noise, dtype, self.floats);
        let value = self.b.define(Op::Const(bits), &[], TileType::scalar(dtype));
        self.spread(value, shape)
    }

    fn float(&mut self, value: f32, shape: &[u32]) -> Value {
        let value = self.b.f32(value);
        self.spread(value, shape)
    }

    pub fn spread(&mut self, value: Value, shape: &[u32]) -> Value {
        if self.b.ty(value).shape == shape {
            return value;
        }
        let ty = TileType::new(self.b.ty(value).dtype, shape);
        self.b.define(Op::Broadcast, &[value], ty)
    }

    /// A value of this type: one in scope, or made from what is in scope.
    pub fn want(&mut self, dtype: DType, shape: &[u32]) -> Value {
        let ty = TileType::new(dtype, shape);
        let fitting: Vec<Value> = self.pool.iter().copied().filter(|v| *self.b.ty(*v) == ty).collect();
        if !fitting.is_empty() && !self.tape.one_in(5) {
            let skip = fitting.len().saturating_sub(5);
            return self.tape.pick(&fitting[skip..]);
        }
        let value = match self.tape.below(6) {
            0 if !shape.is_empty() => {
                // From a scalar or a tile of trailing axes, some of extent 1.
                let keep = self.tape.below(shape.len() + 1);
                let inner: Vec<u32> = shape[shape.len() - keep..]
                    .iter()
                    .map(|e| if self.tape.one_in(3) { 1 } else { *e })
                    .collect();
                if inner == shape {
                    return self.constant(dtype, shape);
                }
                let inner = self.want(dtype, &inner);
                self.spread(inner, shape)
            }
            1 | 2 => self.load_of(dtype, shape),
            3 => {
                let elements = ty.elements();
                let same: Vec<Value> = self
                    .pool
                    .iter()
                    .copied()
                    .filter(|v| self.b.ty(*v).dtype == dtype && self.b.ty(*v).elements() == elements)
                    .collect();
                if same.is_empty() {
                    self.constant(dtype, shape)
                } else {
                    let from = self.tape.pick(&same);
                    if self.b.ty(from).shape == shape {
                        from
                    } else {
                        self.b.define(Op::Reshape, &[from], ty)
                    }
                }
            }
            4 if dtype == DType::I32 && shape.len() == 1 => self.b.define(Op::Iota, &[], ty),
            4 if dtype == DType::BOOL => {
                let a = self.want(DType::I32, shape);
                let b = self.constant(DType::I32, shape);
                self.b.define(Op::Binary(Binary::Lt), &[a, b], ty)
            }
            _ => self.constant(dtype, shape),
        };
        self.pool.push(value);
        value
    }

    /// Brings a float back to what exact mode allows.
    pub fn exact(&mut self, value: Value) -> Value {
        let ty = self.b.ty(value).clone();
        if self.floats == Floats::Wild || ty.dtype != DType::F32 {
            return value;
        }
        let mut value = value;
        for (op, with) in [(Binary::Max, -16.0), (Binary::Min, 16.0), (Binary::Mul, 4.0)] {
            let with = self.float(with, &ty.shape);
            value = self.b.define(Op::Binary(op), &[value, with], ty.clone());
        }
        value = self.b.define(Op::Unary(Unary::Floor), &[value], ty.clone());
        for (op, with) in [(Binary::Mul, 0.25), (Binary::Add, 0.0)] {
            let with = self.float(with, &ty.shape);
            value = self.b.define(Op::Binary(op), &[value, with], ty.clone());
        }
        value
    }

    fn push(&mut self, op: Op, args: &[Value], ty: TileType) -> Value {
        let value = self.b.define(op, args, ty);
        let value = self.exact(value);
        self.pool.push(value);
        value
    }

    pub fn elementwise(&mut self) {
        let dtype = self.dtype();
        let a = match self.of_dtype(dtype) {
            Some(a) => a,
            None => {
                let shape = self.shape(3);
                self.want(dtype, &shape)
            }
        };
        let ty = self.b.ty(a).clone();
        match self.tape.below(8) {
            0..=3 => self.binary(a, &ty),
            4 => self.unary(a, &ty),
            5 => {
                let condition = self.want(DType::BOOL, &ty.shape);
                let b = self.want(dtype, &ty.shape);
                self.push(Op::Select, &[condition, a, b], ty);
            }
            6 if dtype == DType::F32 => {
                let (b, c) = (self.want(dtype, &ty.shape), self.want(dtype, &ty.shape));
                self.push(Op::Fma, &[a, b, c], ty);
            }
            _ => self.convert(a, &ty),
        }
    }

    fn unary(&mut self, a: Value, ty: &TileType) {
        let ops: &[Unary] = match ty.dtype {
            DType::F32 => {
                &[Unary::Neg, Unary::Abs, Unary::Floor, Unary::Ceil, Unary::Trunc, Unary::Round, Unary::Sqrt]
            }
            DType::BOOL => &[Unary::Not],
            _ => &[Unary::Neg, Unary::Not, Unary::Abs, Unary::PopCount],
        };
        let op = self.tape.pick(ops);
        self.portable &= op != Unary::Sqrt;
        self.push(Op::Unary(op), &[a], ty.clone());
    }

    fn binary(&mut self, a: Value, ty: &TileType) {
        let b = self.want(ty.dtype, &ty.shape);
        let op = match ty.dtype {
            DType::F32 => self.tape.pick(&[
                Binary::Add,
                Binary::Sub,
                Binary::Mul,
                Binary::Min,
                Binary::Max,
                Binary::Lt,
                Binary::Eq,
                Binary::Le,
                Binary::Ne,
                Binary::Div,
            ]),
            DType::BOOL => self.tape.pick(&[Binary::And, Binary::Or, Binary::Xor, Binary::Eq, Binary::Ne]),
            _ => Binary::ALL[self.tape.below(Binary::ALL.len())],
        };
        self.portable &= op != Binary::Div || ty.dtype != DType::F32;
        let dtype = if op.is_comparison() { DType::BOOL } else { ty.dtype };
        let args = if self.tape.one_in(2) { [b, a] } else { [a, b] };
        self.push(Op::Binary(op), &args, ty.with_dtype(dtype));
    }

    fn cast(&mut self, a: Value, rule: CastRule, to: DType) -> Value {
        let ty = self.b.ty(a).with_dtype(to);
        self.b.define(Op::Cast(rule), &[a], ty)
    }

    /// Any conversion between types that lanes compute in, to the same one too.
    fn any_cast(&mut self, a: Value, ty: &TileType) {
        let to = self.tape.pick(&[DType::F32, DType::I32, DType::U32, DType::BOOL]);
        let same = to == ty.dtype;
        let value = if same && to != DType::BOOL && self.tape.one_in(3) {
            self.b.define(Op::Bitcast, &[a], ty.clone())
        } else {
            let fits = |rule: &CastRule| match rule {
                CastRule::Exact => same || ty.dtype == DType::BOOL,
                CastRule::Round => to == DType::F32,
                CastRule::Saturate => to != DType::F32,
                CastRule::Wrap => to != DType::F32 && to != DType::BOOL,
            };
            let rules: Vec<CastRule> = CastRule::ALL.into_iter().filter(fits).collect();
            let rule = self.tape.pick(&rules);
            self.cast(a, rule, to)
        };
        let value = self.exact(value);
        self.pool.push(value);
    }

    fn convert(&mut self, a: Value, ty: &TileType) {
        if self.tape.one_in(4) {
            return self.any_cast(a, ty);
        }
        let integer = self.tape.pick(&[CastRule::Saturate, CastRule::Wrap]);
        let value = match ty.dtype {
            DType::F32 => match self.tape.below(5) {
                0 => {
                    let to = self.tape.pick(&[DType::I32, DType::U32]);
                    self.cast(a, integer, to)
                }
                1 => {
                    let to = self.tape.pick(&data::rounded());
                    let narrow = self.cast(a, CastRule::Round, to);
                    self.cast(narrow, CastRule::Exact, DType::F32)
                }
                2 => {
                    let to = self.tape.pick(&data::narrow_integers());
                    let narrow = self.cast(a, integer, to);
                    self.cast(narrow, CastRule::Exact, DType::I32)
                }
                3 => self.cast(a, CastRule::Saturate, DType::BOOL),
                _ => self.float_bits(a, ty),
            },
            DType::BOOL => {
                let to = self.tape.pick(&[DType::I32, DType::F32, DType::U32]);
                self.cast(a, CastRule::Exact, to)
            }
            own => match self.tape.below(5) {
                0 => self.cast(a, CastRule::Round, DType::F32),
                1 => {
                    let to = self.tape.pick(&data::narrow_integers());
                    let narrow = self.cast(a, integer, to);
                    // A signed type has no exact way to u32.
                    self.cast(narrow, CastRule::Exact, DType::I32)
                }
                2 => {
                    let other = if own == DType::I32 { DType::U32 } else { DType::I32 };
                    if self.tape.one_in(2) {
                        self.cast(a, integer, other)
                    } else {
                        self.b.define(Op::Bitcast, &[a], ty.with_dtype(other))
                    }
                }
                3 => self.cast(a, CastRule::Saturate, DType::BOOL),
                _ => {
                    // Any pattern may be a NaN, which a portable kernel must not meet.
                    self.portable = false;
                    self.b.define(Op::Bitcast, &[a], ty.with_dtype(DType::F32))
                }
            },
        };
        let value = self.exact(value);
        self.pool.push(value);
    }

    /// The bits of a float; of a NaN, whose bits are nobody's promise, those of 0.
    fn float_bits(&mut self, a: Value, ty: &TileType) -> Value {
        // WGSL may ignore the sign of zero.
        self.portable = false;
        let to = self.tape.pick(&[DType::I32, DType::U32]);
        let bits = self.b.define(Op::Bitcast, &[a], ty.with_dtype(to));
        let number = self.b.define(Op::Binary(Binary::Eq), &[a, a], ty.with_dtype(DType::BOOL));
        let zero = self.b.define(Op::Const(0), &[], TileType::scalar(to));
        let zero = self.spread(zero, &ty.shape);
        self.b.define(Op::Select, &[number, bits, zero], ty.with_dtype(to))
    }

    /// The bits of a tile of integers, read as others: in random layouts, copies where elements are fewer.
    fn view(&mut self, a: Value, ty: &TileType) {
        let lanes = self.lanes();
        let small = ty.elements() <= 512 && matches!(ty.dtype, DType::I32 | DType::U32);
        let from = self.layout(&ty.shape).filter(|_| small);
        let Some(from) = from else { return };
        let (narrow, to) =
            (self.tape.pick(&data::narrow_integers()), self.tape.pick(&data::narrow_integers()));
        let bits = from.local_size() * narrow.bits();
        let slots = bits / to.bits();
        // Copies of the operand become copies of the result, or different elements with equal values.
        let spread = self.tape.one_in(2) || from.replication() < lanes;
        let shape = match (spread, self.tape.one_in(2)) {
            (false, _) => vec![slots],
            (true, false) => vec![lanes * slots],
            (true, true) => vec![lanes, slots],
        };
        let layout = match spread {
            true => self.layout(&shape),
            false => Layout::replicated(lanes).and_then(|l| l.then_local(&shape)).ok(),
        };
        let (Some(layout), true) = (layout, bits.is_multiple_of(to.bits())) else { return };
        let held = self.cast(a, CastRule::Wrap, narrow);
        let held = self.b.define(Op::Relayout, &[held], ty.with_dtype(narrow));
        self.b.pin(held, from, "");
        // Sometimes the layout is written one or two tiles before, and inference has to find the way.
        let held = match self.tape.below(3) {
            0 => held,
            steps => {
                let mut number = self.cast(held, CastRule::Exact, DType::I32);
                if steps == 2 {
                    number = self.b.define(Op::Unary(Unary::Not), &[number], ty.with_dtype(DType::I32));
                }
                self.cast(number, CastRule::Wrap, narrow)
            }
        };
        let value = self.b.define(Op::View, &[held], TileType::new(to, &shape));
        self.b.pin(value, layout, "");
        let value = self.cast(value, CastRule::Exact, DType::I32);
        self.pool.push(value);
    }

    fn lanes(&self) -> u32 {
        self.b.kernel.lanes.unwrap_or(LANES)
    }

    /// A layout, from the last axis or from the first.
    fn layout(&mut self, shape: &[u32]) -> Option<Layout> {
        if self.tape.one_in(2) {
            return Layout::auto_local_spatial(self.lanes(), shape).ok();
        }
        let reversed: Vec<u32> = shape.iter().rev().copied().collect();
        let order: Vec<usize> = (0..shape.len()).rev().collect();
        Layout::auto_local_spatial(self.lanes(), &reversed).and_then(|layout| layout.permute(&order)).ok()
    }

    /// Changes of shape.
    pub fn reshape(&mut self) {
        if self.pool.is_empty() {
            return;
        }
        let a = self.recent();
        let ty = self.b.ty(a).clone();
        match self.tape.below(10) {
            4 => self.view(a, &ty),
            5 => self.scan(a, &ty),
            6 | 7 => self.moved(a, &ty),
            8 => self.narrow(a, &ty),
            _ => self.moved(a, &ty),
        }
    }

    /// Narrows a tile, moves its elements, and widens what comes of it: storage types may be moved, too.
    fn narrow(&mut self, a: Value, ty: &TileType) {
        let held: Vec<DType> = data::held().into_iter().filter(|to| computing(*to) == ty.dtype).collect();
        let to = self.tape.pick(&held);
        let narrow = self.narrowed(a, to);
        let before = self.pool.len();
        self.moved(narrow, &ty.with_dtype(to));
        if self.pool.len() > before
            && let Some(moved) = self.pool.pop()
        {
            let wide = self.widen(moved, ty.dtype);
            self.pool.push(wide);
        }
    }

    /// Elements in other places or numbers, of any type.
    fn moved(&mut self, a: Value, ty: &TileType) {
        match self.tape.below(8) {
            4 => self.gather(a, ty),
            5 => self.concat(a, ty),
            6 => self.chosen(a, ty),
            7 => {
                // A layout of its own, which a tile of any type may have.
                let layout = self.layout(&ty.shape).filter(|_| ty.elements() <= 512);
                let Some(layout) = layout else { return };
                let value = self.b.define(Op::Relayout, &[a], ty.clone());
                self.b.pin(value, layout, "");
                self.pool.push(value);
            }
            0 if ty.shape.len() > 1 => {
                let mut order: Vec<u8> = (0..ty.shape.len() as u8).collect();
                for at in (1..order.len()).rev() {
                    let other = self.tape.below(at + 1);
                    order.swap(at, other);
                }
                if order.iter().enumerate().all(|(at, axis)| at == usize::from(*axis)) {
                    order.reverse();
                }
                let shape: Vec<u32> = order.iter().map(|axis| ty.shape[usize::from(*axis)]).collect();
                let value = self.b.define(Op::Permute(order), &[a], TileType::new(ty.dtype, &shape));
                self.pool.push(value);
            }
            1 => {
                // Spread along new axes or along axes of extent 1.
                let mut shape = ty.shape.clone();
                let room = (1200 / self.trips / ty.elements().max(1) as u32).max(1);
                if let Some(one) = shape.iter().position(|e| *e == 1)
                    && self.tape.one_in(2)
                {
                    shape[one] = self.tape.pick(&SIZES).min(room);
                } else if shape.len() < 4 {
                    shape.insert(0, self.tape.pick(&SIZES).min(room));
                }
                let value = self.spread(a, &shape);
                self.pool.push(value);
            }
            _ => {
                // The same elements: axes of extent 1 come and go, others split or merge.
                let mut shape = ty.shape.clone();
                match self.tape.below(4) {
                    0 if shape.len() < 4 => {
                        let at = self.tape.below(shape.len() + 1);
                        shape.insert(at, 1);
                    }
                    1 => shape = vec![ty.elements() as u32],
                    2 if shape.contains(&1) => shape.retain(|e| *e != 1),
                    _ => {
                        for at in 0..shape.len() {
                            if let Some(factor) = [2, 4, 3].into_iter().find(|f| shape[at].is_multiple_of(*f))
                                && shape.len() < 4
                            {
                                shape[at] /= factor;
                                shape.insert(at, factor);
                                break;
                            }
                        }
                    }
                }
                if shape != ty.shape {
                    let value = self.b.define(Op::Reshape, &[a], TileType::new(ty.dtype, &shape));
                    self.pool.push(value);
                }
            }
        }
    }

    fn scan(&mut self, a: Value, ty: &TileType) {
        let Some(axis) = self.axis(ty) else { return };
        let reduce = match ty.dtype {
            DType::BOOL => self.tape.pick(&[Reduce::Any, Reduce::All]),
            // Products of floats leave what exact mode allows.
            DType::F32 if self.floats == Floats::Exact => {
                self.tape.pick(&[Reduce::Sum, Reduce::Max, Reduce::Min])
            }
            _ => self.tape.pick(&[Reduce::Sum, Reduce::Max, Reduce::Min, Reduce::Prod]),
        };
        self.portable &= ty.dtype != DType::F32 || self.floats == Floats::Exact;
        self.push(Op::Scan(reduce, axis as u8), &[a], ty.clone());
    }

    fn axis(&mut self, ty: &TileType) -> Option<usize> {
        (!ty.is_scalar()).then(|| self.tape.below(ty.shape.len()))
    }

    /// The shape with another extent along an axis, of a size that loops can bear.
    fn resized(&mut self, ty: &TileType, axis: usize) -> Vec<u32> {
        let mut shape = ty.shape.clone();
        let others = (ty.elements() / u64::from(shape[axis])).max(1) as u32;
        shape[axis] = self.tape.pick(&SIZES).min((1200 / self.trips / others).max(1));
        shape
    }

    fn gather(&mut self, a: Value, ty: &TileType) {
        let Some(axis) = self.axis(ty) else { return };
        let shape = self.resized(ty, axis);
        let mut index = self.want(DType::I32, &shape);
        if !self.tape.one_in(4) {
            // Mostly inside: remainders have the sign of what they are of.
            let extent = self.b.i32(ty.shape[axis] as i32);
            let extent = self.spread(extent, &shape);
            let index_type = TileType::new(DType::I32, &shape);
            index = self.b.define(Op::Binary(Binary::Rem), &[index, extent], index_type);
        }
        self.push(Op::Gather(axis as u8), &[a, index], TileType::new(ty.dtype, &shape));
    }

    fn chosen(&mut self, a: Value, ty: &TileType) {
        if computing(ty.dtype) != ty.dtype {
            return;
        }
        let condition = self.want(DType::BOOL, &ty.shape);
        let b = self.want(ty.dtype, &ty.shape);
        self.push(Op::Select, &[condition, a, b], ty.clone());
    }

    fn concat(&mut self, a: Value, ty: &TileType) {
        let Some(axis) = self.axis(ty) else { return };
        let mut parts = vec![a];
        let mut shape = ty.shape.clone();
        for _ in 0..1 + self.tape.below(2) {
            let part = self.resized(ty, axis);
            let wide = self.want(computing(ty.dtype), &part);
            let value = self.narrowed(wide, ty.dtype);
            parts.insert(self.tape.below(parts.len() + 1), value);
            shape[axis] += part[axis];
        }
        self.push(Op::Concat(axis as u8), &parts, TileType::new(ty.dtype, &shape));
    }

    pub fn reduce(&mut self) {
        let tiles: Vec<Value> = self.pool.iter().copied().filter(|v| !self.b.ty(*v).is_scalar()).collect();
        let a = if tiles.is_empty() {
            let (dtype, shape) = (self.dtype(), self.shape(3));
            self.want(dtype, &shape)
        } else {
            let skip = tiles.len().saturating_sub(8);
            self.tape.pick(&tiles[skip..])
        };
        let ty = self.b.ty(a).clone();
        if ty.is_scalar() {
            return;
        }
        let axis = self.tape.below(ty.shape.len());
        let reduce = if ty.dtype == DType::BOOL {
            self.tape.pick(&[Reduce::Any, Reduce::All])
        } else {
            let integers = [Reduce::Sum, Reduce::Max, Reduce::Min, Reduce::Prod];
            match (ty.dtype, self.floats) {
                (DType::F32, Floats::Exact) => self.tape.pick(&integers[..3]),
                // The one whose order is no target's choice.
                (DType::F32, Floats::Wild) => Reduce::Prod,
                _ => self.tape.pick(&integers),
            }
        };
        let mut shape = ty.shape.clone();
        shape.remove(axis);
        self.push(Op::Reduce(reduce, axis as u8), &[a], TileType::new(ty.dtype, &shape));
    }

    /// Extents of a product that is small enough here.
    fn product(&mut self) -> [u32; 3] {
        let limit = 12_000 / self.trips;
        let mut sizes = [1; 3];
        let mut work = 1;
        for size in &mut sizes {
            let next = self.tape.pick(&SIZES);
            if work * next <= limit {
                *size = next;
                work *= next;
            }
        }
        sizes
    }

    fn product_dtype(&mut self) -> DType {
        match self.floats {
            Floats::Exact => self.tape.pick(&[DType::F32, DType::F32, DType::I32]),
            Floats::Wild => DType::I32,
        }
    }

    /// An operand of a product, sometimes transposed.
    fn operand(&mut self, dtype: DType, rows: u32, columns: u32) -> Value {
        if self.tape.one_in(2) {
            let turned = self.want(dtype, &[columns, rows]);
            let ty = TileType::new(dtype, &[rows, columns]);
            return self.b.define(Op::Permute(vec![1, 0]), &[turned], ty);
        }
        self.want(dtype, &[rows, columns])
    }

    pub fn dot(&mut self) {
        let dtype = self.product_dtype();
        let [m, n, k] = self.product();
        let (a, b) = (self.operand(dtype, m, k), self.operand(dtype, k, n));
        let c = self.want(dtype, &[m, n]);
        self.push(Op::Dot, &[a, b, c], TileType::new(dtype, &[m, n]));
    }

    /// A loop that adds products to a variable nobody else sees: sums stay exact, and may be made in place.
    pub fn accumulate(&mut self) {
        let dtype = self.product_dtype();
        let (from, to, step, trips) = self.bounds();
        if self.trips * trips > 16 {
            return;
        }
        self.trips *= trips;
        let [m, n, k] = self.product();
        let ty = TileType::new(dtype, &[m, n]);
        let start = self.want(dtype, &[m, n]);
        let (counter, params) = self.b.begin_for(from, to, step, &[start]);
        self.b.pipeline(self.tape.pick(&[1, 1, 2, 3, 4, 16]));
        let outer = self.pool.len();
        self.pool.push(counter);
        let (a, b) = (self.operand(dtype, m, k), self.operand(dtype, k, n));
        let mut sum = params[0];
        if self.tape.one_in(3) {
            // Element-wise operations between the variable and the product.
            let condition = self.want(DType::BOOL, &[m, n]);
            let other = self.want(dtype, &[m, n]);
            sum = self.b.define(Op::Select, &[condition, sum, other], ty.clone());
        }
        let next = self.b.define(Op::Dot, &[a, b, sum], ty);
        self.pool.truncate(outer);
        let results = self.b.end_for(&[next]);
        self.trips /= trips;
        let result = self.exact(results[0]);
        self.pool.push(result);
    }
}
