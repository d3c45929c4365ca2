//! The text of the header: what the function takes, its checks, the walk over the grid.
//!
//! Sizes and conditions are the host expressions that `bind` evaluates for a launch by the engine, with the same meaning: 64-bit integers, every
//! overflow an error. What begins with `tvmc_` in the text is the wrapper's own.

use super::names::Names;
use crate::commands::Failure;
use std::fmt::Write;
use tvmc_cpu::InstructionSet;
use tvmc_ir::host::{Binary, Expr, Number, Unary};
use tvmc_ir::lane::{Access, abi};
use tvmc_ir::tile::launch::MAX_EXTENT;
use tvmc_ir::tile::{Element, Format, Kernel, Param, TensorDecl};
use tvmc_passes::ScalarBinding;
use tvmc_types::dtype::{DType, Kind};

/// The C of one instance.
pub struct Writer<'a> {
    /// The instance.
    pub kernel: &'a Kernel,
    /// What everything is called.
    pub names: &'a Names,
    /// Scalars of the block's code, in order.
    pub scalars: &'a [ScalarBinding],
    /// Bytes of scratch memory of a block.
    pub arena: u64,
    /// What the code was made for, for people.
    pub made_for: String,
    /// What a processor must have to run it.
    pub needs: &'a [InstructionSet],
}

impl Writer<'_> {
    /// The header with the definition.
    pub fn header(&self) -> Result<String, Failure> {
        let symbol = &self.names.symbol;
        let (guard, prototype) = (self.names.guard(), self.prototype()?);
        let mut text = format!("{}\n#ifndef {guard}_H\n#define {guard}_H\n\n{PREAMBLE}\n", self.comment());
        let _ = write!(text, "{prototype};\n\n#ifdef __cplusplus\n}}\n#endif\n#endif\n\n");
        let _ = writeln!(text, "#if defined({guard}_IMPLEMENTATION) && !defined({guard}_DEFINED)");
        let _ = write!(text, "#define {guard}_DEFINED\n{IMPLEMENTATION}\n");
        let _ = write!(
            text,
            "void TVMC_CALL {symbol}_block(const struct tvmc_arguments *, int32_t, int32_t, int32_t);\n\n"
        );
        let _ =
            write!(text, "{prototype} {{\n{}}}\n\n#ifdef __cplusplus\n}}\n#endif\n#endif\n", self.body()?);
        Ok(text)
    }

    /// What the function takes, for its reader.
    fn comment(&self) -> String {
        let kernel = self.kernel;
        let mut text = format!("/* {}: made by tvmc. For {}.\n *\n", self.names.symbol, self.made_for);
        for dim in &kernel.dims {
            let _ = writeln!(text, " * {}: a dimension, 0 to {MAX_EXTENT}", dim.name);
        }
        for param in &kernel.params {
            match param {
                TensorDecl::Tensor { name, element, shape, access } => {
                    let access = match access {
                        Access::Read => "read",
                        Access::Write => "written",
                        Access::ReadWrite => "read and written",
                    };
                    let (element, bytes) = (self.element(*element), product(&self.bytes(*element, shape)));
                    let shape: Vec<String> = shape.iter().map(product).collect();
                    let shape = shape.join(", ");
                    let _ =
                        writeln!(text, " * {name}: {element}[{shape}], row-major, {bytes} bytes, {access}");
                }
                TensorDecl::Scalar { name, dtype } => {
                    let _ = writeln!(text, " * {name}: {dtype}");
                }
            }
        }
        text += " *\n * Pointers are aligned to 64 bytes. Returns at once if an argument does not fit: see `tvmc_status`. */";
        text
    }

    fn element(&self, element: Element) -> String {
        match element {
            Element::DType(dtype) => dtype.to_string(),
            Element::Format(id) => self.kernel.formats[id.index()].name.clone(),
        }
    }

    fn prototype(&self) -> Result<String, Failure> {
        let dims = (0..self.kernel.dims.len()).map(|at| format!("int64_t {}", self.names.dim(at)));
        let mut list: Vec<String> = dims.collect();
        for (at, param) in self.kernel.params.iter().enumerate() {
            let name = self.names.param(at);
            match param {
                TensorDecl::Tensor { element, access, .. } => {
                    let kind = match element {
                        Element::DType(dtype) => c_type(*dtype).unwrap_or("void"),
                        Element::Format(_) => "void",
                    };
                    let constant = if *access == Access::Read { "const " } else { "" };
                    list.push(format!("{constant}{kind} *{name}, size_t {}", self.names.length(at)));
                }
                TensorDecl::Scalar { name: given, dtype } => {
                    let Some(kind) = c_type(*dtype) else {
                        return Err(Failure::user(format!("argument `{given}` of {dtype} has no type in C")));
                    };
                    list.push(format!("{kind} {name}"));
                }
            }
        }
        let list = if list.is_empty() { "void".to_owned() } else { list.join(", ") };
        Ok(format!("tvmc_status {}({list})", self.names.symbol))
    }

    /// The bytes of a tensor.
    fn bytes(&self, element: Element, shape: &[Expr]) -> Expr {
        if let (Element::Format(id), Some((columns, outer))) = (element, shape.split_last()) {
            let format = &self.kernel.formats[id.index()];
            if format.row_head > 0 || format.tensor_head > 0 {
                return with_heads(format, columns, outer);
            }
        }
        // Groups of elements that fill whole bytes: a format's, or as many of a dtype as do.
        let (group, bytes) = match element {
            Element::Format(id) => {
                let format = &self.kernel.formats[id.index()];
                (i64::from(format.group), i64::from(format.bytes))
            }
            Element::DType(dtype) if dtype.bits().is_multiple_of(8) => (1, i64::from(dtype.bits() / 8)),
            Element::DType(dtype) => (8, i64::from(dtype.bits())),
        };
        let (mut constant, mut factors) = (bytes, Vec::new());
        for (axis, extent) in shape.iter().enumerate() {
            let last = axis + 1 == shape.len();
            let grouped = match extent.as_int() {
                // A row that fills whole bytes, though it may be no whole number of groups of 8.
                Some(extent) if last && matches!(element, Element::DType(_)) && group > 1 => {
                    constant = constant.saturating_mul(extent) / group;
                    continue;
                }
                Some(extent) if last => Expr::int(extent.saturating_add(group - 1) / group),
                Some(_) | None if last && group > 1 => {
                    Expr::binary(Binary::CeilDiv, extent.clone(), Expr::int(group))
                }
                Some(_) | None => extent.clone(),
            };
            match grouped.as_int() {
                Some(extent) => constant = constant.saturating_mul(extent),
                None => factors.push(grouped),
            }
        }
        factors
            .into_iter()
            .fold(Expr::int(constant), |total, factor| Expr::binary(Binary::Mul, total, factor))
    }

    /// An expression over dimensions and integer arguments as C; `tvmc_bad` becomes 1 where it has no value.
    fn expression(&self, expr: &Expr) -> Result<String, Failure> {
        let refuse =
            |what: &str| Err(Failure::user(format!("{what} in a size has no form in C: fix it with --set")));
        Ok(match expr {
            // The least integer has no literal of its own.
            Expr::Const(Number::Int(i64::MIN)) => "INT64_MIN".to_owned(),
            Expr::Const(Number::Int(value)) => format!("INT64_C({value})"),
            Expr::Const(Number::Bool(value)) => u8::from(*value).to_string(),
            Expr::Const(Number::Float(_)) => return refuse("a float"),
            Expr::Name(name) => {
                let dim = self.kernel.dims.iter().position(|dim| dim.name == *name);
                let integer = |param: &TensorDecl| matches!(param, TensorDecl::Scalar { name: n, dtype } if n == name && dtype.kind() != Kind::Float);
                let param = self.kernel.params.iter().position(integer);
                match (dim, param) {
                    (Some(at), _) => self.names.dim(at).to_owned(),
                    (None, Some(at)) => format!("(int64_t){}", self.names.param(at)),
                    (None, None) => return refuse(&format!("`{name}`")),
                }
            }
            Expr::Unary(Unary::Neg, a) => format!("tvmc_subtract(0, {}, &tvmc_bad)", self.expression(a)?),
            Expr::Unary(Unary::Not, a) => format!("!({})", self.expression(a)?),
            Expr::Unary(Unary::Sqrt | Unary::ToFloat | Unary::ToInt, _) => return refuse("a float"),
            Expr::Binary(op, a, b) => {
                let (a, b) = (self.expression(a)?, self.expression(b)?);
                let checked = |name: &str| format!("tvmc_{name}({a}, {b}, &tvmc_bad)");
                match op {
                    Binary::Add => checked("add"),
                    Binary::Sub => checked("subtract"),
                    Binary::Mul => checked("multiply"),
                    Binary::Div => checked("divide"),
                    Binary::Rem => checked("remainder"),
                    Binary::CeilDiv => checked("divide_up"),
                    Binary::Min => format!("tvmc_min({a}, {b})"),
                    Binary::Max => format!("tvmc_max({a}, {b})"),
                    Binary::Eq => format!("({a} == {b})"),
                    Binary::Ne => format!("({a} != {b})"),
                    Binary::Lt => format!("({a} < {b})"),
                    Binary::Le => format!("({a} <= {b})"),
                    // Both sides are evaluated, as `bind` does: an overflow on either is an error.
                    Binary::And => format!("({a} & {b})"),
                    Binary::Or => format!("({a} | {b})"),
                }
            }
        })
    }

    /// The check of the processor, made once.
    fn processor(&self) -> String {
        if self.needs.is_empty() {
            return String::new();
        }
        let parts = self.needs.iter().fold(0, |all, set| all | set.state);
        let mut tests: Vec<String> = vec![format!("tvmc_saved(0x{parts:x}u)")];
        tests.extend(self.needs.iter().map(|set| {
            format!("tvmc_cpuid(0x{:x}u, {}, {}, {})", set.leaf, set.part, set.register, set.bit)
        }));
        let names: Vec<&str> = self.needs.iter().map(|set| set.name).collect();
        format!(
            "#if defined(__x86_64__)\n  static int tvmc_processor; /* 0 not known yet, 1 runs the code, 2 does not */\n  int tvmc_runs = __atomic_load_n(&tvmc_processor, \
             __ATOMIC_RELAXED);\n  if (!tvmc_runs) {{\n    tvmc_runs = {} ? 1 : 2;\n    __atomic_store_n(&tvmc_processor, tvmc_runs, __ATOMIC_RELAXED);\n  }}\n  if \
             (tvmc_runs == 2) {};\n#else\n#error \"this code is for x86-64\"\n#endif\n",
            tests.join(" && "),
            fail(
                "TVMC_PROCESSOR",
                "",
                &format!(
                    "this processor, or its system, lacks some of what the kernel was compiled for: {}",
                    names.join(" ")
                )
            )
        )
    }

    fn body(&self) -> Result<String, Failure> {
        let kernel = self.kernel;
        let mut text = String::from("  int tvmc_bad = 0;\n");
        text += &self.processor();
        for (at, dim) in kernel.dims.iter().enumerate() {
            let name = self.names.dim(at);
            let why = format!("a dimension is 0 to {MAX_EXTENT}");
            let _ = writeln!(
                text,
                "  if ({name} < 0 || {name} > INT64_C({MAX_EXTENT})) {};",
                fail("TVMC_DIMENSION", &dim.name, &why)
            );
        }
        for (condition, why) in &kernel.assumptions {
            let condition = self.expression(condition)?;
            let why = format!("the kernel's condition `{why}` does not hold");
            let _ = writeln!(text, "  if (!({condition}) || tvmc_bad) {};", fail("TVMC_DIMENSION", "", &why));
        }
        let mut tensors = Vec::new();
        for (at, param) in kernel.params.iter().enumerate() {
            let TensorDecl::Tensor { name: given, element, shape, access } = param else { continue };
            let (name, length) = (self.names.param(at), self.names.length(at));
            // Constants were checked when the kernel was compiled, dimensions above.
            for extent in shape.iter().filter(|extent| matches!(extent, Expr::Unary(..) | Expr::Binary(..))) {
                let extent = self.expression(extent)?;
                let why = format!("an extent is not 0 to {MAX_EXTENT}");
                let _ = writeln!(
                    text,
                    "  if ({extent} < 0 || {extent} > INT64_C({MAX_EXTENT}) || tvmc_bad) {};",
                    fail("TVMC_DIMENSION", given, &why)
                );
            }
            let bytes = self.expression(&self.bytes(*element, shape))?;
            let (short, null) = ("shorter than its shape says", "a null pointer");
            let aligned = format!("not aligned to {} bytes", abi::ALIGNMENT);
            let _ = writeln!(text, "  const int64_t tvmc_{name}_wanted = {bytes};");
            let _ = writeln!(
                text,
                "  if (tvmc_bad || (uint64_t)tvmc_{name}_wanted > (uint64_t){length}) {};",
                fail("TVMC_SHORT", given, short)
            );
            let _ = writeln!(
                text,
                "  if (!{name} && tvmc_{name}_wanted > 0) {};\n  if ((uintptr_t){name} % {}u) {};",
                fail("TVMC_NULL", given, null),
                abi::ALIGNMENT,
                fail("TVMC_MISALIGNED", given, &aligned)
            );
            tensors.push((given.clone(), name.to_owned(), *access));
        }
        for (at, (given, a, access)) in tensors.iter().enumerate() {
            for (_, b, other) in &tensors[at + 1..] {
                if *access == Access::Read && *other == Access::Read {
                    continue;
                }
                let _ = writeln!(
                    text,
                    "  if (tvmc_overlap({a}, tvmc_{a}_wanted, {b}, tvmc_{b}_wanted)) {};",
                    fail("TVMC_OVERLAP", given, "overlaps another argument, and one of them is written")
                );
            }
        }
        for (axis, name) in ["x", "y", "z"].iter().enumerate() {
            let extent = match kernel.grid.get(axis) {
                Some(extent) => self.expression(extent)?,
                None => "1".to_owned(),
            };
            let _ = writeln!(
                text,
                "  const int64_t tvmc_{name}_blocks = {extent};\n  if (tvmc_bad || tvmc_{name}_blocks < 0 || tvmc_{name}_blocks > INT32_MAX) {};",
                fail("TVMC_DIMENSION", "", "the grid is too large")
            );
        }
        text += &self.launch(&tensors);
        Ok(text)
    }

    /// The call of every block.
    fn launch(&self, tensors: &[(String, String, Access)]) -> String {
        let mut text = String::new();
        let buffers: Vec<String> =
            tensors.iter().map(|(_, name, _)| format!("(void *)(uintptr_t){name}")).collect();
        let _ = writeln!(text, "  void *const tvmc_buffers[] = {{{}, 0}};", buffers.join(", "));
        let count = self.scalars.len() + 1;
        let _ = writeln!(text, "  uint64_t tvmc_scalars[{count}] = {{0}};");
        for (at, scalar) in self.scalars.iter().enumerate() {
            let value = match scalar {
                ScalarBinding::Dim(dim) => {
                    format!("(uint64_t){}", self.names.dim(dim.index()))
                }
                ScalarBinding::Param(param) => self.scalar_bits(*param),
                // Only code that checks its accesses takes lengths, and none is exported.
                ScalarBinding::Elements { .. } => String::from("0"),
            };
            let _ = writeln!(text, "  tvmc_scalars[{at}] = {value};");
        }
        text += "  uint32_t tvmc_state = 0;\n";
        if self.arena > 0 {
            let _ = writeln!(text, "  void *tvmc_scratch = malloc({} + {});", self.arena, abi::ALIGNMENT);
            text += "  if (!tvmc_scratch) return tvmc_fail(TVMC_MEMORY, \"\", \"no memory for scratch\");\n";
        } else {
            text += "  void *tvmc_scratch = 0;\n";
        }
        let _ = writeln!(
            text,
            "  struct tvmc_arguments tvmc_block = {{tvmc_buffers, tvmc_scalars, tvmc_align(tvmc_scratch), &tvmc_state, {{(int32_t)tvmc_x_blocks, \
             (int32_t)tvmc_y_blocks, (int32_t)tvmc_z_blocks, 0}}, 0, 0}};"
        );
        text += "  for (int32_t tvmc_z = 0; tvmc_z < tvmc_z_blocks; tvmc_z++)\n    for (int32_t tvmc_y = 0; tvmc_y < tvmc_y_blocks; tvmc_y++)\n      for (int32_t tvmc_x = 0; tvmc_x < tvmc_x_blocks; tvmc_x++)\n";
        let _ = writeln!(text, "        {}_block(&tvmc_block, tvmc_x, tvmc_y, tvmc_z);", self.names.symbol);
        text += "  free(tvmc_scratch);\n";
        let messages: Vec<String> =
            self.kernel.messages.iter().map(|message| quoted(&message.failed())).collect();
        let _ = writeln!(
            text,
            "  static const char *const tvmc_messages[] = {{{}}};",
            [messages, vec!["\"\"".to_owned()]].concat().join(", ")
        );
        text += "  if (tvmc_state) return tvmc_fail(TVMC_ASSERT, \"\", tvmc_messages[tvmc_state - 1]);\n";
        text += "  return tvmc_fail(TVMC_OK, \"\", \"\");\n";
        text
    }

    /// A scalar argument in 8 bytes.
    fn scalar_bits(&self, param: Param) -> String {
        let TensorDecl::Scalar { dtype, .. } = &self.kernel.params[param.index()] else {
            return "0".to_owned();
        };
        let name = self.names.param(param.index());
        match dtype.kind() {
            Kind::Float => format!("tvmc_bits({name})"),
            Kind::Bool => format!("{name} ? 1 : 0"),
            Kind::Unsigned | Kind::Signed => format!("(uint32_t){name}"),
        }
    }
}

/// A product for people.
fn product(expr: &Expr) -> String {
    match expr {
        Expr::Binary(Binary::Mul, a, b) => format!("{} * {}", product(a), product(b)),
        Expr::Const(_) | Expr::Name(_) | Expr::Unary(..) | Expr::Binary(..) => expr.to_string(),
    }
}

/// The C type of a dtype that has one.
fn c_type(dtype: DType) -> Option<&'static str> {
    if dtype == DType::F32 {
        return Some("float");
    }
    match (dtype.kind(), dtype.bits()) {
        (Kind::Bool, _) => Some("bool"),
        (Kind::Signed, 32) => Some("int32_t"),
        (Kind::Unsigned, 32) => Some("uint32_t"),
        (Kind::Signed, 16) => Some("int16_t"),
        (Kind::Unsigned, 16) => Some("uint16_t"),
        (Kind::Signed, 8) => Some("int8_t"),
        (Kind::Unsigned, 8) => Some("uint8_t"),
        (Kind::Signed | Kind::Unsigned | Kind::Float, _) => None,
    }
}

/// The statement that ends the function with a failure.
fn fail(code: &str, argument: &str, why: &str) -> String {
    format!("return tvmc_fail({code}, {}, {})", quoted(argument), quoted(why))
}

/// A C string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' if byte != b'?' => out.push(char::from(byte)),
            // Three octal digits end an escape whatever follows.
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out.push('"');
    out
}

/// Types that every header of a kernel shares.
const PREAMBLE: &str = include_str!("preamble.h");

/// What every definition shares.
const IMPLEMENTATION: &str = include_str!("support.h");

/// The bytes of a tensor of a format that stores fields once for a row or a matrix.
fn with_heads(format: &Format, columns: &Expr, outer: &[Expr]) -> Expr {
    let number = |n: u32| Expr::int(i64::from(n));
    let groups = Expr::binary(Binary::CeilDiv, columns.clone(), number(format.group));
    let groups = Expr::binary(Binary::Mul, groups, number(format.bytes));
    let row = Expr::binary(Binary::Add, groups, number(format.row_head));
    let (rows, stack) = match outer.split_last() {
        Some((rows, stack)) => (rows.clone(), stack),
        None => (Expr::int(1), outer),
    };
    let matrix = Expr::binary(Binary::Add, Expr::binary(Binary::Mul, rows, row), number(format.tensor_head));
    stack.iter().fold(matrix, |bytes, count| Expr::binary(Binary::Mul, bytes, count.clone()))
}
