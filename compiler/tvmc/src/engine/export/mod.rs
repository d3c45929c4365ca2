//! A kernel instance for C: a header with a checked function, an object with the code of one block, a shared library of both.
//!
//! ```text
//! kernel scale(x: inout f32[N], by: f32)  ->  tvmc_status scale(int64_t N, float *x, size_t x_bytes, float by);
//! ```
//!
//! Dimensions that the instance does not fix come first, then the arguments in order; a tensor is a pointer and its length in bytes. The function
//! is defined where `NAME_IMPLEMENTATION` is defined before the header is included (once in a program that links the object; inside the
//! library already). It checks, in order: the processor; dimensions (0 to the largest extent); the kernel's own conditions; each tensor's pointer,
//! alignment (64 bytes) and length; that nothing written overlaps another argument. Then it runs all blocks of the grid on the calling
//! thread. It calls `malloc` and `free` for scratch memory, nothing else.
//!
//! The status has a code, the argument at fault, and a text. Nothing is written unless all checks passed.
//!
//! Refused: kernels that print; sizes computed with floats; shapes over scalar arguments that are no integers.

use super::cpu::row;
use super::machine::lowered;
use super::{Features, Level};
use crate::commands::Failure;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use tvmc_cpu::Target;
use tvmc_ir::host::{Binary, Expr, Number, Unary};
use tvmc_ir::lane::{Access, abi};
use tvmc_ir::tile::launch::MAX_EXTENT;
use tvmc_ir::tile::{Element, Kernel, Param, TensorDecl};
use tvmc_passes::ScalarBinding;
use tvmc_types::dtype::{DType, Kind};

/// What an instance becomes for C.
pub struct Export {
    /// The header, definition included.
    pub header: String,
    /// The object file.
    pub object: Vec<u8>,
    /// The function's name in C: the kernel's, with `_` after a word that C keeps for itself.
    symbol: String,
}

/// Words that no C or C++ program may use as a name.
const RESERVED: [&str; 64] = [
    "auto",
    "break",
    "case",
    "char",
    "const",
    "continue",
    "default",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "float",
    "for",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "typedef",
    "union",
    "unsigned",
    "void",
    "volatile",
    "while",
    "bool",
    "true",
    "false",
    "class",
    "delete",
    "new",
    "operator",
    "private",
    "protected",
    "public",
    "template",
    "this",
    "throw",
    "try",
    "catch",
    "typename",
    "using",
    "virtual",
    "namespace",
    "friend",
    "explicit",
    "export",
    "and",
    "or",
    "not",
    "xor",
    "asm",
    "errno",
    "main",
    "near",
];

impl Export {
    /// Compiles an instance.
    pub fn of(kernel: &Kernel, target: Target) -> Result<Self, Failure> {
        let (function, scalars) = lowered(kernel, &row(target), Vec::new()).map_err(Failure::from_error)?;
        let symbol = &Writer::name(&kernel.name);
        let object =
            tvmc_cpu::object(&function, target, &format!("{symbol}_block")).map_err(Failure::from_error)?;
        let writer = Writer { kernel, symbol, scalars: &scalars, arena: function.arena_bytes(), target };
        Ok(Self { header: writer.header()?, object, symbol: symbol.clone() })
    }

    /// Links a shared library with the system's C compiler (`CC`, else `cc`).
    pub fn library(&self, output: &Path) -> Result<(), Failure> {
        let failed = |what: &str, error: std::io::Error| Failure::user(format!("{what}: {error}"));
        let mut folder = tempfile::Builder::new();
        folder.prefix("tvmc-");
        // A name that nobody can know beforehand, in a folder that only this user enters: others may write where temporary files are kept.
        let folder = folder.tempdir().map_err(|e| failed("cannot make a temporary folder", e))?;
        self.link(folder.path(), output)
    }

    fn link(&self, folder: &Path, output: &Path) -> Result<(), Failure> {
        let (header, object) = (folder.join("kernel.h"), folder.join("kernel.o"));
        let (source, library) = (folder.join("kernel.c"), folder.join("kernel.so"));
        let text = format!("#define {}_IMPLEMENTATION\n#include \"kernel.h\"\n", self.symbol.to_uppercase());
        for (path, bytes) in
            [(&header, self.header.as_bytes()), (&object, &self.object), (&source, text.as_bytes())]
        {
            std::fs::write(path, bytes)
                .map_err(|e| Failure::user(format!("cannot write {}: {e}", path.display())))?;
        }
        let compiler = std::env::var_os("CC").filter(|cc| !cc.is_empty()).unwrap_or_else(|| "cc".into());
        let run = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .args([&library, &source, &object])
            .output()
            .map_err(|error| {
                Failure::user(format!("cannot run the C compiler `{}`: {error}", compiler.to_string_lossy()))
                    .help("install one, name it in CC, or use --emit obj and --emit header")
            })?;
        if !run.status.success() {
            let text = String::from_utf8_lossy(&run.stderr).into_owned();
            return Err(Failure::user(format!("the C compiler could not link the library:\n{text}")));
        }
        let bytes = std::fs::read(&library)
            .map_err(|e| Failure::user(format!("cannot read the linked library: {e}")))?;
        crate::commands::save(output, &bytes)
    }
}

/// The C of one instance.
struct Writer<'a> {
    kernel: &'a Kernel,
    symbol: &'a str,
    scalars: &'a [ScalarBinding],
    arena: u64,
    target: Target,
}

impl Writer<'_> {
    fn header(&self) -> Result<String, Failure> {
        let symbol = self.symbol;
        let (guard, prototype) = (symbol.to_uppercase(), self.prototype()?);
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
        let mut text = format!("/* {}: made by tvmc. For {}.\n *\n", self.symbol, self.target);
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

    /// A name of the source in C.
    fn name(name: &str) -> String {
        if RESERVED.contains(&name) { format!("{name}_") } else { name.to_owned() }
    }

    fn prototype(&self) -> Result<String, Failure> {
        let mut list: Vec<String> =
            self.kernel.dims.iter().map(|dim| format!("int64_t {}", Self::name(&dim.name))).collect();
        for param in &self.kernel.params {
            match param {
                TensorDecl::Tensor { name, element, access, .. } => {
                    let kind = match element {
                        Element::DType(dtype) => c_type(*dtype).unwrap_or("void"),
                        Element::Format(_) => "void",
                    };
                    let constant = if *access == Access::Read { "const " } else { "" };
                    let name = Self::name(name);
                    list.push(format!("{constant}{kind} *{name}, size_t {name}_bytes"));
                }
                TensorDecl::Scalar { name, dtype } => {
                    let Some(kind) = c_type(*dtype) else {
                        return Err(Failure::user(format!("argument `{name}` of {dtype} has no type in C")));
                    };
                    list.push(format!("{kind} {}", Self::name(name)));
                }
            }
        }
        let list = if list.is_empty() { "void".to_owned() } else { list.join(", ") };
        Ok(format!("tvmc_status {}({list})", self.symbol))
    }

    /// The bytes of a tensor.
    fn bytes(&self, element: Element, shape: &[Expr]) -> Expr {
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
            Expr::Const(Number::Int(value)) => value.to_string(),
            Expr::Const(Number::Bool(value)) => u8::from(*value).to_string(),
            Expr::Const(Number::Float(_)) => return refuse("a float"),
            Expr::Name(name) => {
                let integer = |param: &TensorDecl| matches!(param, TensorDecl::Scalar { name: n, dtype } if n == name && dtype.kind() != Kind::Float);
                let known = self.kernel.dims.iter().any(|dim| dim.name == *name)
                    || self.kernel.params.iter().any(integer);
                if !known {
                    return refuse(&format!("`{name}`"));
                }
                format!("(int64_t){}", Self::name(name))
            }
            Expr::Unary(Unary::Neg, a) => format!("-({})", self.expression(a)?),
            Expr::Unary(Unary::Not, a) => format!("!({})", self.expression(a)?),
            Expr::Unary(Unary::Sqrt | Unary::ToFloat | Unary::ToInt, _) => return refuse("a float"),
            Expr::Binary(op, a, b) => {
                let (a, b) = (self.expression(a)?, self.expression(b)?);
                match op {
                    Binary::Add => format!("({a} + {b})"),
                    Binary::Sub => format!("({a} - {b})"),
                    Binary::Mul => format!("tvmc_multiply({a}, {b}, &tvmc_bad)"),
                    Binary::Div => format!("tvmc_divide({a}, {b}, &tvmc_bad)"),
                    Binary::Rem => format!("({a} - {b} * tvmc_divide({a}, {b}, &tvmc_bad))"),
                    Binary::CeilDiv => format!("tvmc_divide({a} + {b} - 1, {b}, &tvmc_bad)"),
                    Binary::Min => format!("({a} < {b} ? {a} : {b})"),
                    Binary::Max => format!("({a} > {b} ? {a} : {b})"),
                    Binary::Eq => format!("({a} == {b})"),
                    Binary::Ne => format!("({a} != {b})"),
                    Binary::Lt => format!("({a} < {b})"),
                    Binary::Le => format!("({a} <= {b})"),
                    Binary::And => format!("({a} && {b})"),
                    Binary::Or => format!("({a} || {b})"),
                }
            }
        })
    }

    fn body(&self) -> Result<String, Failure> {
        let kernel = self.kernel;
        let mut text = String::from("  int tvmc_bad = 0;\n");
        let fail = |code: &str, argument: &str, why: &str| {
            format!("return tvmc_fail({code}, {}, {})", quoted(argument), quoted(why))
        };
        if let Target::X86(features) = self.target {
            let needs: Vec<String> =
                wanted(features).iter().map(|name| format!("!__builtin_cpu_supports(\"{name}\")")).collect();
            let _ = write!(
                text,
                "#if defined(__GNUC__) && defined(__x86_64__)\n  if ({}) {};\n#endif\n",
                needs.join(" || "),
                fail(
                    "TVMC_PROCESSOR",
                    "",
                    "this processor lacks instructions that the kernel was compiled for"
                )
            );
        }
        for dim in &kernel.dims {
            let name = Self::name(&dim.name);
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
        for param in &kernel.params {
            let TensorDecl::Tensor { name: given, element, shape, access } = param else { continue };
            let name = Self::name(given);
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
                "  if (tvmc_bad || (uint64_t)tvmc_{name}_wanted > (uint64_t){name}_bytes) {};",
                fail("TVMC_SHORT", given, short)
            );
            let _ = writeln!(
                text,
                "  if (!{name} && tvmc_{name}_wanted > 0) {};\n  if ((uintptr_t){name} % {}u) {};",
                fail("TVMC_NULL", given, null),
                abi::ALIGNMENT,
                fail("TVMC_MISALIGNED", given, &aligned)
            );
            tensors.push((given.clone(), name, *access));
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
                    format!("(uint64_t){}", Self::name(&self.kernel.dims[dim.index()].name))
                }
                ScalarBinding::Param(param) => self.scalar_bits(*param),
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
        let _ = writeln!(text, "        {}_block(&tvmc_block, tvmc_x, tvmc_y, tvmc_z);", self.symbol);
        text += "  free(tvmc_scratch);\n";
        let messages: Vec<String> =
            self.kernel.messages.iter().map(|message| quoted(&message.text)).collect();
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
        let TensorDecl::Scalar { name, dtype } = &self.kernel.params[param.index()] else {
            return "0".to_owned();
        };
        let name = Self::name(name);
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

/// What a processor must have, in the words of C compilers.
fn wanted(features: Features) -> Vec<&'static str> {
    let mut names = match features.level {
        Level::V3 => vec!["avx2", "fma"],
        Level::V4 => vec!["avx512f", "avx512bw", "avx512dq", "avx512vl"],
    };
    let wide = features.level == Level::V4;
    let optional = [
        (features.vnni && wide, "avx512vnni"),
        (features.vbmi && wide, "avx512vbmi"),
        (features.vbmi2 && wide, "avx512vbmi2"),
        (features.popcnt_vector && wide, "avx512vpopcntdq"),
        (features.gfni, "gfni"),
    ];
    names.extend(optional.into_iter().filter(|(has, _)| *has).map(|(_, name)| name));
    names
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
