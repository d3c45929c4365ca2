//! Operations of all lanes together: reductions, shuffles, barriers, asserts and prints.
//!
//! Where the subgroup size is known and the block is no larger, values cross lanes by subgroup shuffles. Otherwise
//! they go through the `scratch` array in workgroup memory. Every use of it ends with a barrier after the
//! last read, so that the next use may write at once. `workgroupUniformLoad` is a load between two barriers whose
//! result is uniform by definition, which keeps control flow that depends on it valid for strict front ends.

use tvmc_ir::lane::{Place, Pure, Reduce, Scalar, Value};

use crate::emit::{Emitter, from_bits, to_bits, type_name};
use crate::helpers::Helper;
use crate::shader::PrintSite;

impl Emitter<'_> {
    /// A reduction by the tree of the IR: for `s = p/2, p/4, .. 1`, lane `l < s` becomes `op(l, l + s)`, with the
    /// identity in place of lanes that do not exist. Steps of at least a subgroup go through `scratch[s..2s]`, one
    /// barrier each, since no two steps share a word; smaller ones are subgroup shuffles, where those are known to work.
    pub(crate) fn reduce(&mut self, reduce: Reduce, value: &str) -> String {
        let name = format!("reduce_{}", reduce.name());
        let (op, identity) = operation(reduce);
        // the helper functions that the operation needs are registered here
        let step = self.pure(op, &["a", "b"]);
        if !self.functions.contains_key(&name) {
            let text = self.reduction(&name, reduce.scalar(), &step, identity);
            self.functions.insert(name.clone(), text);
        }
        format!("{name}(lane, {value})")
    }

    /// The text of a reduction.
    fn reduction(&self, name: &str, scalar: Scalar, step: &str, identity: u32) -> String {
        let lanes = self.function.lanes;
        let subgroup = self.limits.subgroup.unwrap_or(1);
        let ty = type_name(scalar);
        let bits = to_bits(scalar, "a");
        let mut text = format!("fn {name}(lane: u32, value: {ty}) -> {ty} {{\n  var a = value;\n");
        let mut stride = lanes.next_power_of_two() / 2;
        while stride > 0 {
            let in_subgroup = stride < subgroup;
            let (fetch, condition) = if in_subgroup {
                text += &format!("  let from{stride} = subgroupShuffleDown({bits}, {stride}u);\n");
                (format!("from{stride}"), "true".to_owned())
            } else {
                let end = stride * 2;
                text += &format!("  if (lane >= {stride}u && lane < {end}u) {{ scratch[lane] = {bits}; }}\n");
                text += "  workgroupBarrier();\n";
                (format!("scratch[lane + {stride}u]"), format!("lane < {stride}u"))
            };
            text += &format!("  if ({condition}) {{\n");
            if stride * 2 > lanes {
                text += &format!("    var other = {identity:#x}u;\n");
                text += &format!("    if (lane + {stride}u < {lanes}u) {{ other = {fetch}; }}\n");
            } else {
                text += &format!("    let other = {fetch};\n");
            }
            text += &format!("    let b = {};\n    a = {step};\n  }}\n", from_bits(scalar, "other"));
            stride /= 2;
        }
        if lanes == 1 {
            text += "  return a;\n}\n";
        } else if lanes <= subgroup {
            text += &format!("  let total = subgroupBroadcast({bits}, 0u);\n");
            text += &format!("  return {};\n}}\n", from_bits(scalar, "total"));
        } else {
            text += &format!("  if (lane == 0u) {{ scratch[0] = {bits}; }}\n");
            text += "  let total = workgroupUniformLoad(&scratch[0]);\n";
            text += &format!("  return {};\n}}\n", from_bits(scalar, "total"));
        }
        text
    }

    /// The value of one lane, for all.
    pub(crate) fn extract(&mut self, scalar: Scalar, value: &str, lane: &str) -> String {
        let source = self.lane_number(lane);
        if self.limits.one_subgroup(self.function.lanes) {
            let bits = self.let_u32(&format!("subgroupShuffle({}, {source})", to_bits(scalar, value)));
            return from_bits(scalar, &bits);
        }
        self.line(&format!("if (lane == {source}) {{ scratch[0] = {}; }}", to_bits(scalar, value)));
        let bits = self.let_u32("workgroupUniformLoad(&scratch[0])");
        from_bits(scalar, &bits)
    }

    /// Each lane reads the value of another.
    pub(crate) fn shuffle(&mut self, scalar: Scalar, value: &str, source: &str, from: Value) -> String {
        if let Some(distance) = self.usage.partner(from) {
            let bits = to_bits(scalar, value);
            let bits = self.let_u32(&format!("subgroupShuffleXor({bits}, {distance}u)"));
            return from_bits(scalar, &bits);
        }
        let source = self.lane_number(source);
        if self.limits.one_subgroup(self.function.lanes) {
            let bits = self.let_u32(&format!("subgroupShuffle({}, {source})", to_bits(scalar, value)));
            return from_bits(scalar, &bits);
        }
        self.line(&format!("scratch[lane] = {};", to_bits(scalar, value)));
        self.line("workgroupBarrier();");
        let bits = self.let_u32(&format!("scratch[{source}]"));
        self.line("workgroupBarrier();");
        from_bits(scalar, &bits)
    }

    /// A number modulo the lanes, as unsigned.
    fn lane_number(&mut self, value: &str) -> String {
        let lanes = self.function.lanes;
        if lanes.is_power_of_two() {
            self.let_u32(&format!("{value} & {}u", lanes - 1))
        } else {
            self.let_u32(&format!("{value} % {lanes}u"))
        }
    }

    /// Orders the memory accesses of all lanes. A block of one lane is in order anyway.
    pub(crate) fn barrier(&mut self, storage: bool) {
        if self.function.lanes == 1 {
            return;
        }
        self.line("workgroupBarrier();");
        if storage {
            self.line("storageBarrier();");
        }
    }

    /// Orders the accesses of all lanes to one place.
    pub(crate) fn order(&mut self, place: Place) {
        if self.function.lanes == 1 {
            return;
        }
        match place {
            Place::Buffer(_) => self.line("storageBarrier();"),
            Place::Arena(_) => self.line("workgroupBarrier();"),
        }
    }

    /// Records a failure if the condition is false.
    pub(crate) fn assert(&mut self, message: u32, condition: &str) {
        self.helpers.insert(Helper::Fail);
        let status = message.wrapping_add(1);
        self.line(&format!("if (lane == 0u && !{condition}) {{ fail({status}u); }}"));
    }

    /// Appends a record to the log, if it fits. Lane 0 claims the space and writes the head.
    pub(crate) fn print(&mut self, message: u32, operands: &[Value]) {
        let lanes = self.function.lanes;
        let words = |scalar: Scalar, varying: bool| match scalar {
            Scalar::I64 => 2,
            Scalar::F32 | Scalar::I32 | Scalar::Bool => {
                if varying {
                    lanes
                } else {
                    1
                }
            }
        };
        let types: Vec<_> = operands.iter().map(|o| self.ty(*o)).collect();
        let site = self.prints.len();
        let length = 3 + types.iter().map(|t| words(t.scalar, t.is_varying())).sum::<u32>();
        let none = "0xffffffffu";
        self.open("if (lane == 0u)");
        self.line(&format!("scratch[0] = {none};"));
        self.line("let capacity = arrayLength(&report.log);");
        // the test before the claim keeps the cursor from wrapping
        self.open("if (atomicLoad(&report.cursor) < capacity)");
        self.line(&format!("let claimed = atomicAdd(&report.cursor, {length}u);"));
        self.line(&format!(
            "if (claimed < capacity && capacity - claimed >= {length}u) {{ scratch[0] = claimed; }}"
        ));
        self.close();
        self.line(&format!("if (scratch[0] == {none}) {{ atomicAdd(&report.dropped, 1u); }}"));
        self.close();
        let at = self.let_u32("workgroupUniformLoad(&scratch[0])");
        self.open(&format!("if ({at} != {none})"));
        let mut uniform =
            vec![(0, format!("{length}u")), (1, format!("{site}u")), (2, "block_linear".to_owned())];
        let mut varying = Vec::new();
        let mut next = 3;
        for (operand, ty) in operands.iter().zip(&types) {
            let name = self.name(*operand).to_owned();
            if ty.scalar == Scalar::I64 {
                uniform.push((next, format!("{name}.x")));
                uniform.push((next + 1, format!("{name}.y")));
            } else if ty.is_varying() {
                varying.push((next, to_bits(ty.scalar, &name)));
            } else {
                uniform.push((next, to_bits(ty.scalar, &name)));
            }
            next += words(ty.scalar, ty.is_varying());
        }
        self.open("if (lane == 0u)");
        for (offset, word) in uniform {
            self.line(&format!("report.log[{at} + {offset}u] = {word};"));
        }
        self.close();
        for (offset, word) in varying {
            self.line(&format!("report.log[{at} + {offset}u + lane] = {word};"));
        }
        self.close();
        self.prints.push(PrintSite { message, types });
    }
}

/// The operation and the bits of the identity of a reduction.
fn operation(reduce: Reduce) -> (Pure, u32) {
    match reduce {
        Reduce::FAdd => (Pure::FAdd, 0),
        Reduce::FMin => (Pure::FMin, f32::INFINITY.to_bits()),
        Reduce::FMax => (Pure::FMax, f32::NEG_INFINITY.to_bits()),
        Reduce::IAdd => (Pure::IAdd, 0),
        Reduce::IMinS => (Pure::IMinS, i32::MAX as u32),
        Reduce::IMaxS => (Pure::IMaxS, i32::MIN as u32),
        Reduce::IMinU => (Pure::IMinU, u32::MAX),
        Reduce::IMaxU => (Pure::IMaxU, 0),
        Reduce::IAnd => (Pure::IAnd, u32::MAX),
        Reduce::IOr => (Pure::IOr, 0),
        Reduce::IXor => (Pure::IXor, 0),
        Reduce::All => (Pure::BAnd, 1),
        Reduce::Any => (Pure::BOr, 0),
    }
}
