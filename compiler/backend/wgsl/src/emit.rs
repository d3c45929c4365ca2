//! Declarations, statements and control flow. Every value becomes a `let` with the value's printed name, so that a
//! shader reads like the lane code it comes from; loop-carried values and results are `var`s.
//!
//! ```text
//! for counter in from..to step        var v7 = v3;                       // carried: param = initial
//!   carried v7 = v3 { .. yield v9 }   for (var v6 = from; i32(v6) < i32(to); v6 += step) {
//!                                       ..
//!                                       let next1 = v9; v7 = next1;      // all yields are read before any is written
//!                                     }                                  // the results are the params' names
//! ```
//!
//! A literal never stands where WGSL would evaluate it at compile time and refuse an overflow or an infinity: it is
//! bound by a `let` first, whose users are run-time expressions by definition.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use tvmc_ir::lane::{Carried, Function, Inst, Op, Pure, Region, Scalar, Sign, Stmt, Type, Value};

use crate::BufferMode;
use crate::fragments::{Half, fragment_type};
use crate::helpers::Helper;
use crate::limits::{Error, Limits};
use crate::memory::vector_type;
use crate::report;
use crate::shader::{Binding, BindingKind, Params, PrintSite, Shader};
use crate::usage::{PlaceUsage, Usage};
use crate::vectors::Vectors;

/// State of one translation.
pub(crate) struct Emitter<'f> {
    pub function: &'f Function,
    pub usage: &'f Usage,
    pub limits: &'f Limits,
    pub helpers: BTreeSet<Helper>,
    /// Generated functions by name (reductions).
    pub functions: BTreeMap<String, String>,
    /// First entry of each table in the constants.
    pub tables: Vec<usize>,
    /// Print operations met so far.
    pub prints: Vec<PrintSite>,
    /// Loads that are parts of vectors, and the names of those that are loaded.
    pub vectors: Vectors,
    pub vector_names: HashMap<usize, String>,
    /// Values that are halves of words: which, and whether the upper one; as words of 16 bits, and as floats.
    pub half_words: HashMap<Value, Half>,
    pub halves: HashMap<Value, Half>,
    /// The expression that names a value.
    names: Vec<String>,
    body: String,
    indent: usize,
    fresh: u32,
}

/// The WGSL type of a register.
pub(crate) fn type_name(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::F32 => "f32",
        Scalar::I32 => "u32",
        Scalar::I64 => "vec2<u32>",
        Scalar::Bool => "bool",
    }
}

/// A register as 32 bits (`i64` values never cross lanes or go to memory).
pub(crate) fn to_bits(scalar: Scalar, name: &str) -> String {
    match scalar {
        Scalar::F32 => format!("bitcast<u32>({name})"),
        Scalar::I32 => name.to_owned(),
        Scalar::I64 => format!("{name}.x"),
        Scalar::Bool => format!("select(0u, 1u, {name})"),
    }
}

/// The register of 32 bits.
pub(crate) fn from_bits(scalar: Scalar, bits: &str) -> String {
    match scalar {
        Scalar::F32 => format!("bitcast<f32>({bits})"),
        Scalar::I32 => bits.to_owned(),
        Scalar::I64 => format!("vec2<u32>({bits}, 0u)"),
        Scalar::Bool => format!("{bits} != 0u"),
    }
}

/// Word `at` of the parameter block.
fn param(at: usize) -> String {
    format!("params[{}].{}", at / 4, ["x", "y", "z", "w"][at % 4])
}

/// Translates a function. The result is not validated yet.
pub(crate) fn emit(
    function: &Function,
    usage: &Usage,
    mode: BufferMode,
    limits: &Limits,
) -> Result<Shader, Error> {
    let mut constants = Vec::new();
    let mut tables = Vec::new();
    for table in &function.tables {
        let padded = table.entries.len().next_power_of_two();
        let bytes = (constants.len() + padded) as u64 * 4;
        if bytes > limits.binding_bytes {
            return Err(Error::Tables { bytes, limit: limits.binding_bytes });
        }
        tables.push(constants.len());
        constants.extend_from_slice(&table.entries);
        constants.resize(tables[tables.len() - 1] + padded, 0);
    }
    let params = Params::of(function);
    let mut emitter = Emitter {
        function,
        usage,
        limits,
        helpers: BTreeSet::new(),
        functions: BTreeMap::new(),
        tables,
        prints: Vec::new(),
        vectors: match mode {
            BufferMode::Exact => Vectors::of(function, usage),
            BufferMode::AllWritable => Vectors::none(function),
        },
        vector_names: HashMap::new(),
        half_words: HashMap::new(),
        halves: HashMap::new(),
        names: (0..function.values.len()).map(|v| Value(v as u32).to_string()).collect(),
        body: String::new(),
        indent: 1,
        fresh: 0,
    };
    emitter.prologue(params);
    for (at, fragment) in function.fragments.iter().enumerate() {
        emitter.line(&format!("var g{at}: {};", fragment_type(fragment.role)));
    }
    emitter.region(&function.body);

    let bindings = bindings(function, usage, mode, !constants.is_empty());
    let alignments = usage.buffers.iter().map(|b| b.alignment()).collect();
    let workgroup_words = u64::from(usage.scratch)
        + function.arenas.iter().map(|a| u64::from(a.bytes.div_ceil(4).max(1))).sum::<u64>();
    let source = emitter.module(params, &bindings);
    Ok(Shader {
        source,
        entry: "main",
        workgroup_size: function.lanes,
        workgroup_bytes: workgroup_words * 4,
        bindings,
        params,
        constants,
        alignments,
        vectors: emitter.vectors.words.iter().map(|words| words * 4).collect(),
        prints: emitter.prints,
    })
}

/// The bindings in order.
fn bindings(function: &Function, usage: &Usage, mode: BufferMode, constants: bool) -> Vec<Binding> {
    let mut kinds = vec![(BindingKind::Params, false)];
    if constants {
        kinds.push((BindingKind::Constants, false));
    }
    if usage.asserts || usage.prints {
        kinds.push((BindingKind::Report, true));
    }
    for (at, _) in function.buffers.iter().enumerate() {
        let writable = usage.buffers[at].stored || mode == BufferMode::AllWritable;
        kinds.push((BindingKind::Buffer(at as u32), writable));
    }
    let numbered = kinds.into_iter().enumerate();
    numbered.map(|(at, (kind, writable))| Binding { index: at as u32, kind, writable }).collect()
}

impl Emitter<'_> {
    /// Appends a line to the body.
    pub fn line(&mut self, text: &str) {
        for _ in 0..self.indent {
            self.body.push_str("  ");
        }
        self.body.push_str(text);
        self.body.push('\n');
    }

    /// Opens a block: `head {`.
    pub fn open(&mut self, head: &str) {
        self.line(&format!("{head} {{"));
        self.indent += 1;
    }

    /// Closes a block.
    pub fn close(&mut self) {
        self.indent -= 1;
        self.line("}");
    }

    /// A name that no value has.
    pub fn fresh(&mut self, stem: &str) -> String {
        self.fresh += 1;
        format!("{stem}{}", self.fresh)
    }

    /// Binds a 32-bit expression to a fresh name.
    pub fn let_u32(&mut self, expression: &str) -> String {
        let name = self.fresh("w");
        self.line(&format!("let {name} = {expression};"));
        name
    }

    /// The name of a value.
    pub fn name(&self, value: Value) -> &str {
        &self.names[value.index()]
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> Type {
        self.function.ty(value)
    }

    /// Binds a value to an expression.
    pub fn define(&mut self, value: Value, expression: &str) {
        let line = format!("let {} = {expression};", self.name(value));
        self.line(&line);
    }

    /// What stands before the first statement.
    fn prologue(&mut self, params: Params) {
        self.line("let block_linear = group.x + group.y * groups.x;");
        self.line(&format!("if (block_linear >= {}) {{ return; }}", param(0)));
        if self.usage.block_index {
            self.line(&format!("let block_x = block_linear % {};", param(1)));
            self.line(&format!("let block_row = block_linear / {};", param(1)));
            self.line(&format!("let block_y = block_row % {};", param(2)));
            self.line(&format!("let block_z = block_row / {};", param(2)));
        }
        let usage = self.usage;
        for (at, buffer) in usage.buffers.iter().enumerate() {
            let offset = param(params.offset_word(at));
            if buffer.words {
                self.line(&format!("let b{at}_words = {offset} >> 2u;"));
            }
            if buffer.halves {
                self.line(&format!("let b{at}_halves = {offset} >> 1u;"));
            }
            if buffer.bytes {
                self.line(&format!("let b{at}_bytes = {offset};"));
            }
        }
        for (at, scalar) in self.function.scalars.iter().enumerate() {
            let word = params.scalar_word(at);
            let expression = match scalar.scalar {
                Scalar::F32 | Scalar::I32 | Scalar::Bool => from_bits(scalar.scalar, &param(word)),
                Scalar::I64 => format!("vec2<u32>({}, {})", param(word), param(word + 1)),
            };
            self.define(scalar.value, &expression);
        }
    }

    fn region(&mut self, region: &Region) {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Inst(inst) => self.inst(inst),
                Stmt::For { counter, from, to, step, carried, body, yields, results } => {
                    self.carry(carried);
                    let (counter, from, to) = (self.name(*counter), self.name(*from), self.name(*to));
                    let head = format!(
                        "for (var {counter} = {from}; i32({counter}) < i32({to}); {counter} += {step}u)"
                    );
                    self.open(&head);
                    self.region(body);
                    self.next(carried, yields);
                    self.close();
                    self.finish(carried, results);
                }
                Stmt::Loop { carried, body, again, yields, results } => {
                    self.carry(carried);
                    self.open("loop");
                    self.region(body);
                    // read before the params change: it may be the name of one
                    let more = self.fresh("more");
                    let line = format!("let {more} = {};", self.name(*again));
                    self.line(&line);
                    self.next(carried, yields);
                    self.line(&format!("if (!{more}) {{ break; }}"));
                    self.close();
                    self.finish(carried, results);
                }
                Stmt::If { condition, then, then_yields, otherwise, otherwise_yields, results } => {
                    for result in results {
                        let ty = type_name(self.ty(*result).scalar);
                        let line = format!("var {}: {ty};", self.name(*result));
                        self.line(&line);
                    }
                    let head = format!("if ({})", self.name(*condition));
                    self.open(&head);
                    self.region(then);
                    self.yield_to(results, then_yields);
                    self.close();
                    if !(otherwise.stmts.is_empty() && results.is_empty()) {
                        self.open("else");
                        self.region(otherwise);
                        self.yield_to(results, otherwise_yields);
                        self.close();
                    }
                }
            }
        }
    }

    /// Declares loop-carried values.
    fn carry(&mut self, carried: &[Carried]) {
        for c in carried {
            let line = format!("var {} = {};", self.name(c.param), self.name(c.initial));
            self.line(&line);
        }
    }

    /// Ends an iteration.
    fn next(&mut self, carried: &[Carried], yields: &[Value]) {
        let temporaries: Vec<String> = yields
            .iter()
            .map(|y| {
                let value = self.name(*y).to_owned();
                let name = self.fresh("next");
                self.line(&format!("let {name} = {value};"));
                name
            })
            .collect();
        for (c, name) in carried.iter().zip(temporaries) {
            let line = format!("{} = {name};", self.name(c.param));
            self.line(&line);
        }
    }

    /// After a loop, its results are the last values of the parameters.
    fn finish(&mut self, carried: &[Carried], results: &[Value]) {
        for (c, result) in carried.iter().zip(results) {
            self.names[result.index()] = self.name(c.param).to_owned();
        }
    }

    /// Ends a branch.
    fn yield_to(&mut self, results: &[Value], yields: &[Value]) {
        for (result, value) in results.iter().zip(yields) {
            let line = format!("{} = {};", self.name(*result), self.name(*value));
            self.line(&line);
        }
    }

    fn inst(&mut self, inst: &Inst) {
        let args: Vec<String> = inst.args.iter().map(|a| self.name(*a).to_owned()).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let arg = |at: usize| args.get(at).copied().unwrap_or("");
        self.note_half(inst, arg(0));
        let expression = match inst.op {
            Op::Pure(Pure::I32ToF32) if self.becomes_float(inst, Sign::Signed) => self.small_to_float(arg(0)),
            Op::Pure(Pure::U32ToF32) if self.becomes_float(inst, Sign::Unsigned) => {
                self.small_to_float(arg(0))
            }
            Op::Pure(Pure::Dot4US) if self.usage.has_short_bytes(inst.args[0]) => {
                self.pure(Pure::Dot4SS, &args)
            }
            Op::Pure(op) => self.pure(op, &args),
            Op::ConstF32(bits) => self.float(bits),
            Op::ConstI32(value) => format!("{}u", value as u32),
            Op::ConstI64(value) => format!("vec2<u32>({}u, {}u)", value as u32, (value >> 32) as u32),
            Op::ConstBool(value) => value.to_string(),
            Op::LaneIndex => "lane".to_owned(),
            Op::BlockIndex(axis) => ["block_x", "block_y", "block_z"][usize::from(axis.min(2))].to_owned(),
            Op::BlockCount(axis) => param(1 + usize::from(axis.min(2))),
            Op::Splat => {
                // every invocation holds uniform values already
                if let Some(result) = inst.result {
                    self.names[result.index()] = arg(0).to_owned();
                }
                return;
            }
            Op::Reduce(reduce) => self.reduce(reduce, arg(0)),
            Op::Extract => self.extract(self.ty(inst.args[0]).scalar, arg(0), arg(1)),
            Op::Shuffle => self.shuffle(self.ty(inst.args[0]).scalar, arg(0), arg(1), inst.args[1]),
            Op::Unpack { bits, offset, sign } => {
                self.unpack(arg(0), arg(1), u32::from(bits), u32::from(offset), sign)
            }
            Op::LoadUnpack { place, bits, sign } => self.load_unpack(place, u32::from(bits), sign, arg(0)),
            Op::TableLookup(table) => self.table(table, arg(0)),
            Op::TableBytes(table) => self.table_bytes(table, arg(0)),
            Op::TableHalves(table) => self.table_halves(table, arg(0)),
            Op::Memory { form, mem, place, masked } => {
                self.memory(form, mem, place, masked, &args, inst.result);
                return;
            }
            Op::Atomic { update, buffer } => {
                if let Some(result) = inst.result {
                    self.atomic(update, buffer, &args, result);
                }
                return;
            }
            Op::Fragment(op) => return self.fragment(op, &args, &inst.args),
            Op::StoreBits(buffer) => return self.store_bits(buffer, &args),
            Op::Barrier => return self.barrier(self.usage.storage_barrier()),
            Op::BufferBarrier => return self.barrier(true),
            Op::Assert(message) => return self.assert(message, arg(0)),
            Op::Print(message) => return self.print(message, &inst.args),
        };
        if let Some(result) = inst.result {
            self.define(result, &expression);
        }
    }

    /// Whether a conversion can do without one: see [`Self::small_to_float`].
    fn becomes_float(&self, inst: &Inst, sign: Sign) -> bool {
        let exact = inst.result.is_some_and(|result| !self.usage.is_term(result));
        exact && self.usage.is_small(inst.args[0], sign)
    }

    /// A float constant: a literal where WGSL has one, else bits that are reinterpreted at run time.
    fn float(&mut self, bits: u32) -> String {
        let value = f32::from_bits(bits);
        if value.is_normal() || bits == 0 {
            format!("{value:?}f")
        } else {
            let pattern = self.let_u32(&format!("{bits:#010x}u"));
            format!("bitcast<f32>({pattern})")
        }
    }

    /// The whole text.
    fn module(&self, params: Params, bindings: &[Binding]) -> String {
        let mut out = String::new();
        let name: String =
            self.function.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let mut put = |text: std::fmt::Arguments<'_>| {
            // writing to a String cannot fail
            let _ = writeln!(out, "{text}");
        };
        put(format_args!("// kernel {name}, {} lanes", self.function.lanes));
        if !self.function.fragments.is_empty() {
            put(format_args!("enable f16;\nenable wgpu_cooperative_matrix;"));
        }
        if self.usage.asserts || self.usage.prints {
            put(format_args!(
                "struct Report {{ status: atomic<u32>, cursor: atomic<u32>, dropped: atomic<u32>, log: array<u32> }}"
            ));
        }
        for Binding { index, kind, writable } in bindings {
            let access = if *writable { "read_write" } else { "read" };
            match kind {
                BindingKind::Params => put(format_args!(
                    "@group(0) @binding({index}) var<uniform> params: array<vec4<u32>, {}>;",
                    params.rows()
                )),
                BindingKind::Constants => {
                    put(format_args!("@group(0) @binding({index}) var<storage, read> constants: array<u32>;"))
                }
                BindingKind::Report => {
                    put(format_args!("@group(0) @binding({index}) var<storage, read_write> report: Report;"))
                }
                BindingKind::Buffer(at) => put(format_args!(
                    "@group(0) @binding({index}) var<storage, {access}> b{at}: array<{}>;",
                    match self.vectors.words[*at as usize] {
                        1 => word_type(self.usage.buffers[*at as usize]),
                        words => vector_type(words),
                    }
                )),
            }
        }
        for (at, arena) in self.function.arenas.iter().enumerate() {
            let usage = self.usage.arenas[at];
            let size = if usage.packed { 8 } else { 4 };
            put(format_args!(
                "var<workgroup> a{at}: array<{}, {}>;",
                word_type(usage),
                arena.bytes.div_ceil(size).max(1)
            ));
        }
        if self.usage.scratch > 0 {
            put(format_args!("var<workgroup> scratch: array<u32, {}>;", self.usage.scratch));
        }
        for helper in &self.helpers {
            put(format_args!("\n{}", helper.text().trim_end()));
        }
        for text in self.functions.values() {
            put(format_args!("\n{}", text.trim_end()));
        }
        put(format_args!(
            "\n@compute @workgroup_size({}, 1, 1)\nfn main(@builtin(local_invocation_index) lane: u32, \
             @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {{\n{}}}",
            self.function.lanes, self.body
        ));
        out
    }
}

/// The element type of an array.
fn word_type(usage: PlaceUsage) -> &'static str {
    match usage {
        PlaceUsage { atomic: true, .. } => "atomic<u32>",
        PlaceUsage { packed: true, .. } => "vec4<f16>",
        PlaceUsage { floats: true, .. } => "f32",
        PlaceUsage { .. } => "u32",
    }
}

// the report struct above and its decoder agree on the number of counters
const _: () = assert!(report::HEADER_WORDS == 3);
