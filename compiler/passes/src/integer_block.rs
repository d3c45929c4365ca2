//! Products in integers of many rows (`integer_dot`): codes are decoded once for all rows of a tile, and both factors are brought to scratch
//! in the order in which they are multiplied.
//!
//! K is cut into *spans* with one scale of x, a span into runs with one scale of w. In scratch stand
//!
//! ```text
//! x: row, span      scale | totals | corrections | words of bytes x + 128
//! w: span           of each run: quads of signed codes | -128 sum of them | scale | offset        each of some chunks of columns side by side
//! ```
//!
//! (what a format does not need is not there), so that a run is
//!
//! ```text
//! sum of y c  =  sum of (y + 128) c  -  128 sum of c                          y signed bytes, c signed codes: dot4.us, which begins with the second term
//! ```
//!
//! whatever the codes' bias: what makes codes signed bytes takes it in. Where it does not fit, codes are shifted by 128 and the *correction* is what is left of the bias
//! times the sum of y. Then for each chunk or two, each span and some rows at a time: quads in registers, a broadcast of x for each row, sums of f32 from scratch and back.
//!
//! **Order.** Integer sums are exact, and each is scaled and added as in `integer_dot`, run by run: the bits are the same.
//!
//! **Taken** where `integer_dot` is, for at least [`Blocking::least`] rows, on targets that have such a row. Refused (`false`): formats whose runs differ in
//! what they have, and sums that start from what only registers hold.

use crate::affine::{Affine, QUAD, Run};
use crate::codes::Reading;
use crate::eval::{Coord, Position};
use crate::integer_dot::{ONES, Opened, Side, run_at, shifted, slot_of};
use crate::lower::{ArenaTile, LowerError, Lowering, Repr};
use crate::target::Blocking;
use tvmc_ir::lane::{self, Arena, Mem, MemoryOp, Op as LaneOp, Place, Pure, Scalar};
use tvmc_ir::tile::Value;
use tvmc_ir::tile::facts::Facts;

/// 128 in every byte.
const TOP_BITS: u32 = 0x80 * ONES;
/// Most quads of a row of w.
const MAX_QUADS: u32 = 1024;

/// What stands in scratch for a span.
#[derive(Copy, Clone)]
struct Layout {
    /// Elements.
    span: u32,
    /// Spans of K.
    spans: u32,
    /// Elements of a run.
    length: u32,
    /// Runs of a span.
    runs: u32,
    planes: u32,
    scaled: bool,
    offset: bool,
    /// What is left of the bias of all runs.
    rest: Option<i32>,
    /// Chunks of columns side by side.
    chunks: u32,
}

impl Layout {
    fn of(x: &Affine, w: &Affine, k: u32, chunks: u32) -> Option<Layout> {
        let first = w.runs.first()?;
        let of = |run: &Run| (run.scale.is_some(), run.offset.is_some(), run.planes, Signed::of(w, run).rest);
        let rest = Signed::of(w, first).rest;
        let (span, length) = (x.length, x.length.min(w.length));
        w.runs.iter().all(|run| of(run) == of(first)).then(|| Layout {
            span,
            spans: k / span,
            length,
            runs: span / length,
            planes: first.planes,
            scaled: first.scale.is_some(),
            offset: first.offset.is_some(),
            rest: (rest != 0).then_some(rest),
            chunks,
        })
    }

    fn quads(&self) -> u32 {
        self.length / QUAD
    }

    /// Word of a row's span at which totals begin: that of a run for each of its words; corrections follow likewise.
    fn totals(&self) -> u32 {
        1
    }

    fn corrections(&self) -> u32 {
        self.totals() + if self.offset { self.span / QUAD } else { 0 }
    }

    fn words(&self) -> u32 {
        self.corrections() + if self.rest.is_some() { self.span / QUAD } else { 0 }
    }

    /// Words of a row's span.
    fn x_words(&self) -> u32 {
        self.words() + self.span / QUAD
    }

    fn pitch(&self) -> u32 {
        self.spans * self.x_words()
    }

    /// Vector of a span at which starts begin, one for each run and plane; scales and offsets of runs follow.
    fn starts(&self) -> u32 {
        self.span / QUAD * self.planes
    }

    fn scales(&self) -> u32 {
        self.starts() + self.runs * self.planes
    }

    fn offsets(&self) -> u32 {
        self.scales() + if self.scaled { self.runs } else { 0 }
    }

    /// Vectors of a span, of one chunk.
    fn w_vectors(&self) -> u32 {
        self.offsets() + if self.offset { self.runs } else { 0 }
    }
}

/// How unsigned codes become signed bytes: `shift` is added, and `rest` is what is left of the run's bias.
#[derive(Copy, Clone)]
struct Signed {
    shift: i32,
    rest: i32,
}

impl Signed {
    fn of(affine: &Affine, run: &Run) -> Signed {
        if run.planes == 1 && run.bias >= -128 && affine.top(run) + run.bias <= 127 {
            return Signed { shift: run.bias, rest: 0 };
        }
        let all: i32 = (0..run.planes).map(|plane| 128 << (8 * plane)).sum();
        Signed { shift: -128, rest: run.bias + all }
    }
}

/// Words of a span of x, one for each lane.
#[derive(Copy, Clone)]
struct Words {
    /// Of the first lane.
    start: u32,
    words: lane::Value,
    /// Present where not all lanes have one.
    mask: Option<lane::Value>,
}

/// A place in scratch: an index into words, of which constants are far from it.
#[derive(Copy, Clone)]
struct Spot {
    arena: Arena,
    base: lane::Value,
}

impl<'k> Lowering<'k> {
    /// Lowers a product of many rows, if this file takes it.
    pub(crate) fn integer_block(
        &mut self,
        (x, w): (&Side<'k>, &Side<'k>),
        (c, result): (Value, Value),
        (m, k, chunks): (u32, u32, u32),
    ) -> Result<bool, LowerError> {
        let Some(blocking) = self.target.blocking.filter(|blocking| m >= blocking.least) else {
            return Ok(false);
        };
        if self.needs_constants(c) || k / QUAD > MAX_QUADS {
            return Ok(false);
        }
        let together = if chunks.is_multiple_of(blocking.chunks) { blocking.chunks } else { 1 };
        let Some(layout) = Layout::of(&x.affine, &w.affine, k, together) else { return Ok(false) };
        let lanes = self.target.lanes;
        if !lanes.is_power_of_two() {
            return Ok(false);
        }
        let tile = self.sums_in_scratch(c, result, (m, chunks))?;
        let xs = self.scratch(m * layout.pitch() * 4)?;
        let ws = self.scratch(layout.spans * layout.w_vectors() * layout.chunks * lanes * 4)?;
        self.barrier();
        let (row, _) = self.open_loop(m, 1, true, &[]);
        self.stage_row(x, layout, xs, row)?;
        self.close_loop(&[]);
        let (column, _) = self.open_loop(chunks * lanes, layout.chunks * lanes, true, &[]);
        self.stage_columns(w, layout, ws, column)?;
        self.multiply(layout, blocking, (xs, ws), &tile, (m, column));
        self.close_loop(&[]);
        self.before_write(tile.arena);
        self.repr[result.index()] = Some(Repr::Arena(tile));
        Ok(true)
    }

    /// Scratch that holds what the sums begin with.
    fn sums_in_scratch(
        &mut self,
        c: Value,
        result: Value,
        (m, chunks): (u32, u32),
    ) -> Result<ArenaTile, LowerError> {
        let tile = self.sums_tile(result, Scalar::F32)?;
        if matches!(&self.repr[c.index()], Some(Repr::Arena(from)) if from.arena == tile.arena) {
            return Ok(tile);
        }
        let lanes = self.target.lanes;
        let (row, _) = self.open_loop(m, 1, true, &[]);
        for chunk in 0..chunks {
            let at = [Coord::At(row), Coord::lanes(chunk * lanes)];
            let start = self.eval(c, &at)?;
            let start = self.emit.splat(start);
            self.put(&tile, &at, start);
        }
        self.close_loop(&[]);
        Ok(tile)
    }

    /// Brings a row of x to scratch.
    fn stage_row(
        &mut self,
        x: &Side<'k>,
        layout: Layout,
        xs: Arena,
        row: Position,
    ) -> Result<(), LowerError> {
        let opened = self.open(x, Coord::At(row), Coord::zero())?;
        let at = self.place_of(xs, &[Some((row, layout.pitch()))]);
        let lanes = self.target.lanes;
        let flip = self.emit.i32(TOP_BITS as i32);
        let flip = self.emit.splat(flip);
        for span in 0..layout.spans {
            let first = span * layout.x_words();
            let (run, skip, group) = run_at(x, span * layout.span);
            let from = Reading { side: x, opened: &opened, start: shifted(opened.start, x, group) };
            let mut scale = match run.scale {
                Some(node) => self.evaluate(from, node)?,
                None => self.emit.f32(1.0),
            };
            if let Some(inside) = opened.inside {
                // By bits, which general registers hold.
                let (bits, zero) = (self.emit.pure(Pure::F32Bits, &[scale]), self.emit.i32(0));
                let bits = self.emit.pure(Pure::Select, &[inside, bits, zero]);
                scale = self.emit.pure(Pure::F32FromBits, &[bits]);
            }
            let bits = self.emit.pure(Pure::F32Bits, &[scale]);
            self.put_word(at, first, Mem::I32, bits);
            let quads = layout.span / QUAD;
            let mut vectors = Vec::new();
            for start in (0..quads).step_by(lanes as usize) {
                let count = lanes.min(quads - start);
                let mask = self.lanes_below(count);
                let words = self.words(from, run, skip + start * QUAD, mask)?;
                let flipped = self.emit.pure(Pure::IXor, &[words, flip]);
                self.put_words(at, first + layout.words() + start, Mem::I32, flipped, mask);
                vectors.push(Words { start, words, mask });
            }
            if layout.offset || layout.rest.is_some() {
                self.stage_totals(layout, scale, &vectors, first, at);
            }
        }
        Ok(())
    }

    /// The sums of a span's bytes, run by run, in the two forms that products with them take: lanes that hold words of one run swap sums until each has all.
    fn stage_totals(&mut self, layout: Layout, scale: lane::Value, vectors: &[Words], first: u32, at: Spot) {
        let ones = self.emit.i32(ONES as i32);
        let ones = self.emit.splat(ones);
        let zero = self.emit.i32(0);
        let zeros = self.emit.splat(zero);
        let lane = self.emit.lane_index();
        let lanes = self.target.lanes;
        for vectors in vectors.chunks(layout.quads().div_ceil(lanes) as usize) {
            let Words { start, mask, .. } = vectors[0];
            let mut totals = zeros;
            for vector in vectors {
                totals = self.emit.pure(Pure::Dot4US, &[ones, vector.words, totals]);
            }
            let mut apart = 1;
            while apart < layout.quads().min(lanes) {
                let by = self.emit.i32(apart as i32);
                let partner = self.emit.pure(Pure::IXor, &[lane, by]);
                let others = self.emit.lane_op(LaneOp::Shuffle, &[totals, partner]);
                totals = self.emit.pure(Pure::IAdd, &[totals, others]);
                apart *= 2;
            }
            if let Some(rest) = layout.rest {
                let rest = self.emit.i32(rest);
                let correction = self.emit.pure(Pure::IMul, &[totals, rest]);
                self.put_words(at, first + layout.corrections() + start, Mem::I32, correction, mask);
            }
            if layout.offset {
                let mut totals = self.emit.pure(Pure::I32ToF32, &[totals]);
                if layout.runs == 1 {
                    totals = self.emit.pure(Pure::FMul, &[totals, scale]);
                }
                self.put_words(at, first + layout.totals() + start, Mem::F32, totals, mask);
            }
        }
    }

    /// Brings some chunks of columns to scratch.
    fn stage_columns(
        &mut self,
        w: &Side<'k>,
        layout: Layout,
        ws: Arena,
        column: Position,
    ) -> Result<(), LowerError> {
        let lanes = self.target.lanes;
        if layout.chunks == 1 {
            let at = self.place_of(ws, &[]);
            return self.stage_chunk(w, layout, at, Coord::Lanes(column));
        }
        let (chunk, _) = self.open_loop(layout.chunks * lanes, lanes, true, &[]);
        let at = self.place_of(ws, &[Some((chunk, 1))]);
        let (a, b) = (self.position_value(column), self.position_value(chunk));
        let both = Position {
            value: Some(self.emit.pure(Pure::IAdd, &[a, b])),
            offset: 0,
            facts: Facts::range(column.lo() + chunk.lo(), column.hi() + chunk.hi(), i64::from(lanes)),
        };
        self.stage_chunk(w, layout, at, Coord::Lanes(both))?;
        self.close_loop(&[]);
        Ok(())
    }

    fn stage_chunk(
        &mut self,
        w: &Side<'k>,
        layout: Layout,
        at: Spot,
        column: Coord,
    ) -> Result<(), LowerError> {
        let opened = self.open(w, column, Coord::zero())?;
        let width = layout.chunks * self.target.lanes;
        let top = self.emit.i32(TOP_BITS as i32);
        let top = self.emit.splat(top);
        let zero = self.emit.i32(0);
        let zero = self.emit.splat(zero);
        for (span, run) in (0..layout.spans).flat_map(|span| (0..layout.runs).map(move |run| (span, run))) {
            let place = |vector: u32| (span * layout.w_vectors() + vector) * width;
            let (of_w, skip, group) = run_at(w, span * layout.span + run * layout.length);
            let from = Reading { side: w, opened: &opened, start: shifted(opened.start, w, group) };
            let Signed { shift, .. } = Signed::of(&w.affine, of_w);
            let mut sums = vec![zero; layout.planes as usize];
            for quad in 0..layout.quads() {
                for (plane, sum) in (0..layout.planes).zip(&mut sums) {
                    let codes = self.quad(from, of_w, skip + quad * QUAD, plane)?;
                    let codes = self.shift_bytes(codes, w.affine.top(of_w), shift);
                    let vector = (run * layout.quads() + quad) * layout.planes + plane;
                    self.put_words(at, place(vector), Mem::I32, codes, None);
                    *sum = self.emit.pure(Pure::Dot4US, &[top, codes, *sum]);
                }
            }
            for (plane, sum) in (0..).zip(sums) {
                let start = self.emit.pure(Pure::ISub, &[zero, sum]);
                self.put_words(
                    at,
                    place(layout.starts() + run * layout.planes + plane),
                    Mem::I32,
                    start,
                    None,
                );
            }
            for (node, vector) in [(of_w.scale, layout.scales()), (of_w.offset, layout.offsets())] {
                if let Some(node) = node {
                    let value = self.evaluate(from, node)?;
                    let value = self.emit.splat(value);
                    self.put_words(at, place(vector + run), Mem::F32, value, None);
                }
            }
        }
        Ok(())
    }

    /// Adds `shift` to every byte, none of which is above `top`.
    fn shift_bytes(&mut self, codes: lane::Value, top: i32, shift: i32) -> lane::Value {
        let bytes = |value: u32| (value * ONES) as i32;
        match shift {
            0 => codes,
            -128 => {
                let by = self.emit.i32(bytes(0x80));
                self.emit.pure(Pure::IXor, &[codes, by])
            }
            1.. => {
                let by = self.emit.i32(bytes(shift as u32));
                self.emit.pure(Pure::IAdd, &[codes, by])
            }
            // With the top bit set no byte borrows from the next.
            _ if top < 128 => {
                let (high, by) = (self.emit.i32(bytes(0x80)), self.emit.i32(bytes(-shift as u32)));
                let codes = self.emit.pure(Pure::IOr, &[codes, high]);
                let codes = self.emit.pure(Pure::ISub, &[codes, by]);
                self.emit.pure(Pure::IXor, &[codes, high])
            }
            // The sum of the low seven bits, and the two top bits added to its carry.
            _ => {
                let by = shift as u32 & 0xff;
                let low = self.emit.i32(bytes(0x7f));
                let high = self.emit.i32(bytes(0x80));
                let [by_low, by_high] = [by & 0x7f, by & 0x80].map(|by| self.emit.i32(bytes(by)));
                let sum = self.emit.pure(Pure::IAnd, &[codes, low]);
                let sum = self.emit.pure(Pure::IAdd, &[sum, by_low]);
                let tops = self.emit.pure(Pure::IAnd, &[codes, high]);
                let tops = self.emit.pure(Pure::IXor, &[tops, by_high]);
                self.emit.pure(Pure::IXor, &[sum, tops])
            }
        }
    }

    /// Multiplies all rows with the chunks that stand in scratch.
    fn multiply(
        &mut self,
        layout: Layout,
        blocking: Blocking,
        scratch: (Arena, Arena),
        tile: &ArenaTile,
        (m, column): (u32, Position),
    ) {
        let span = (layout.spans > 1).then(|| self.open_loop(layout.spans, 1, true, &[]).0);
        if span.is_none() {
            self.barrier();
        }
        // Sums of the runs before are in registers, too.
        let rows = (blocking.rows / layout.runs).max(1);
        let whole = m / rows * rows;
        if whole > 0 {
            let (row, _) = self.open_loop(whole, rows, true, &[]);
            self.multiply_rows(layout, scratch, tile, (row, rows), span, column);
            self.close_loop(&[]);
        }
        if whole < m {
            let row = Position::constant(i64::from(whole));
            self.multiply_rows(layout, scratch, tile, (row, m - whole), span, column);
        }
        if span.is_some() {
            self.close_loop(&[]);
        }
    }

    /// One span of some rows and chunks.
    fn multiply_rows(
        &mut self,
        layout: Layout,
        (xs, ws): (Arena, Arena),
        tile: &ArenaTile,
        (row, rows): (Position, u32),
        span: Option<Position>,
        column: Position,
    ) {
        let lanes = self.target.lanes;
        let spans = |words| span.map(|span| (span, words));
        let x = self.place_of(xs, &[Some((row, layout.pitch())), spans(layout.x_words())]);
        let w = self.place_of(ws, &[spans(layout.w_vectors() * layout.chunks * lanes)]);
        let whole = layout.runs == 1;
        let mut parts: Vec<Option<lane::Value>> = vec![None; (rows * layout.chunks) as usize];
        for run in 0..layout.runs {
            let products = self.multiply_run(layout, (x, w), rows, run);
            let vector = |this: &mut Self, there: bool, vector: u32| -> Vec<Option<lane::Value>> {
                let place = |chunk| ((vector + run) * layout.chunks + chunk) * lanes;
                (0..layout.chunks).map(|chunk| there.then(|| this.fetch(w, place(chunk), Mem::F32))).collect()
            };
            let scales = vector(self, layout.scaled, layout.scales());
            let offsets = vector(self, layout.offset, layout.offsets());
            for row_of_tile in 0..rows {
                let first = row_of_tile * layout.pitch();
                let outer = whole.then(|| self.fetch_for_all(x, first, Mem::F32));
                let total = layout
                    .offset
                    .then(|| self.fetch_for_all(x, first + layout.totals() + run * layout.quads(), Mem::F32));
                for chunk in 0..layout.chunks {
                    let at = (row_of_tile * layout.chunks + chunk) as usize;
                    let spot = self.sum_spot(tile, (row, row_of_tile), (column, chunk));
                    if whole {
                        parts[at] = Some(self.fetch(spot, 0, Mem::F32));
                    }
                    let (scale, offset) = (scales[chunk as usize], offsets[chunk as usize]);
                    let sum = self.add_run(parts[at], products[at], (scale, outer), offset.zip(total));
                    parts[at] = Some(sum);
                    if whole {
                        self.put_words(spot, 0, Mem::F32, sum, None);
                    }
                }
            }
        }
        for row_of_tile in 0..if whole { 0 } else { rows } {
            let outer = self.fetch_for_all(x, row_of_tile * layout.pitch(), Mem::F32);
            for chunk in 0..layout.chunks {
                let Some(part) = parts[(row_of_tile * layout.chunks + chunk) as usize] else { continue };
                let spot = self.sum_spot(tile, (row, row_of_tile), (column, chunk));
                let sum = self.fetch(spot, 0, Mem::F32);
                let sum = self.emit.pure(Pure::Fma, &[part, outer, sum]);
                self.put_words(spot, 0, Mem::F32, sum, None);
            }
        }
    }

    /// The integer sums of a run, by rows, then chunks.
    fn multiply_run(
        &mut self,
        layout: Layout,
        (x, w): (Spot, Spot),
        rows: u32,
        run: u32,
    ) -> Vec<lane::Value> {
        let lanes = self.target.lanes;
        let place = |vector: u32, chunk: u32| (vector * layout.chunks + chunk) * lanes;
        let mut products: Vec<lane::Value> = Vec::new();
        for plane in 0..layout.planes {
            let starts: Vec<lane::Value> = (0..layout.chunks)
                .map(|chunk| {
                    self.fetch(w, place(layout.starts() + run * layout.planes + plane, chunk), Mem::I32)
                })
                .collect();
            let mut sums: Vec<lane::Value> = (0..rows).flat_map(|_| starts.iter().copied()).collect();
            for quad in 0..layout.quads() {
                let number = run * layout.quads() + quad;
                let codes: Vec<lane::Value> = (0..layout.chunks)
                    .map(|chunk| self.fetch(w, place(number * layout.planes + plane, chunk), Mem::I32))
                    .collect();
                for row in 0..rows {
                    let bytes =
                        self.fetch_for_all(x, row * layout.pitch() + layout.words() + number, Mem::I32);
                    for (sum, codes) in sums[(row * layout.chunks) as usize..].iter_mut().zip(&codes) {
                        *sum = self.emit.pure(Pure::Dot4US, &[bytes, *codes, *sum]);
                    }
                }
            }
            if plane == 0 {
                products = sums;
                continue;
            }
            let by = self.emit.i32(8 * plane as i32);
            for (product, sum) in products.iter_mut().zip(sums) {
                let sum = self.emit.pure(Pure::Shl, &[sum, by]);
                *product = self.emit.pure(Pure::IAdd, &[*product, sum]);
            }
        }
        for row in 0..if layout.rest.is_some() { rows } else { 0 } {
            let correction = self.fetch_for_all(
                x,
                row * layout.pitch() + layout.corrections() + run * layout.quads(),
                Mem::I32,
            );
            for product in &mut products[(row * layout.chunks) as usize..][..layout.chunks as usize] {
                *product = self.emit.pure(Pure::IAdd, &[*product, correction]);
            }
        }
        products
    }

    /// Where a chunk of sums is.
    fn sum_spot(
        &mut self,
        tile: &ArenaTile,
        (row, below): (Position, u32),
        (column, chunk): (Position, u32),
    ) -> Spot {
        let column = column.plus(i64::from(chunk * self.target.lanes));
        let at = [Coord::At(row.plus(i64::from(below))), Coord::Lanes(column)];
        Spot { arena: tile.arena, base: self.arena_address(tile, &at).base }
    }

    /// The place of the sum of positions times numbers of words.
    fn place_of(&mut self, arena: Arena, terms: &[Option<(Position, u32)>]) -> Spot {
        let mut base = self.emit.i64(0);
        for (position, words) in terms.iter().flatten() {
            let index = self.position_value(*position);
            let words = self.emit.i32(*words as i32);
            let index = self.emit.pure(Pure::IMul, &[index, words]);
            let index = self.emit.pure(Pure::I32ToI64, &[index]);
            base = self.emit.ladd(base, index);
        }
        Spot { arena, base }
    }

    fn ahead(&mut self, spot: Spot, words: u32) -> (Place, lane::Value) {
        let words = self.emit.i64(i64::from(words));
        (Place::Arena(spot.arena), self.emit.ladd(spot.base, words))
    }

    /// Lane `l` gets word `words + l` after a spot.
    fn fetch(&mut self, spot: Spot, words: u32, mem: Mem) -> lane::Value {
        let (place, base) = self.ahead(spot, words);
        self.emit.load(MemoryOp::LoadContig, mem, place, base, None, None)
    }

    /// Every lane gets word `words` after a spot.
    fn fetch_for_all(&mut self, spot: Spot, words: u32, mem: Mem) -> lane::Value {
        let (place, base) = self.ahead(spot, words);
        let value = self.emit.load(MemoryOp::LoadUniform, mem, place, base, None, None);
        self.emit.splat(value)
    }

    fn put_words(&mut self, spot: Spot, words: u32, mem: Mem, value: lane::Value, mask: Option<lane::Value>) {
        let (place, base) = self.ahead(spot, words);
        self.emit.store(MemoryOp::StoreContig, mem, place, base, None, value, mask);
    }

    fn put_word(&mut self, spot: Spot, words: u32, mem: Mem, value: lane::Value) {
        let (place, base) = self.ahead(spot, words);
        self.emit.store(MemoryOp::StoreUniform, mem, place, base, None, value, None);
    }

    /// Words of a row of x from a code of a run on, one for each lane.
    fn words(
        &mut self,
        from: Reading<'_, 'k>,
        run: &Run,
        at: u32,
        mask: Option<lane::Value>,
    ) -> Result<lane::Value, LowerError> {
        let Reading { side, opened, start } = from;
        let Some((field, slot)) = slot_of(&side.affine, run.codes[at as usize]) else {
            return self.unsupported("activations whose codes are computed", None);
        };
        let bit = i64::from(side.format.fields[field as usize].bit_offset) + i64::from(slot) * 8;
        let Opened { row, .. } = opened;
        // A row of activations is whole words.
        let per_word = self.emit.i64(i64::from(row.unit) / 4);
        let mut base = self.emit.lmul(row.base, per_word);
        if let Some(value) = start.value {
            let size = self.emit.i32(32);
            let step = self.emit.pure(start.divide, &[value, size]);
            let step = self.emit.pure(Pure::I32ToI64, &[step]);
            base = self.emit.ladd(base, step);
        }
        let constant = self.emit.i64((start.constant + bit) / 32);
        let base = self.emit.ladd(base, constant);
        Ok(self.emit.load(MemoryOp::LoadContig, Mem::I32, row.place, base, None, mask))
    }

    /// The lanes below a number, if those are not all.
    fn lanes_below(&mut self, end: u32) -> Option<lane::Value> {
        if end >= self.target.lanes {
            return None;
        }
        let (lane, end) = (self.emit.lane_index(), self.emit.i32(end as i32));
        Some(self.emit.pure(Pure::ILtU, &[lane, end]))
    }
}
