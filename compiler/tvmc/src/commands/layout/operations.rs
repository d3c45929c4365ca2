//! The operations of layout expressions: one table, of names, what they take, and what they do.
//!
//! Besides these, the factors of the language (`local`, .. , [`FACTORS`]) and of shared layouts (`shared`, .. , [`SHARED_FACTORS`]) are operations: on what is to
//! their left, or on nothing. An operation on two layouts wants both of one kind.
//!
//! A refusal of the algebra is reported at the call or operator, or at the argument that names a dimension that isn't there, with the operands as notes.

use super::expression::{Placed, Refused, Value};
use tvmc_lang::diag::{Code, Diagnostic, closest};
use tvmc_lang::span::Span;
use tvmc_types::layout::{FACTORS, Layout, LayoutError, SHARED_FACTORS, SharedLayout};

/// An operation besides the factors.
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    /// What it takes and gives.
    usage: &'static str,
    apply: fn(&mut Arguments) -> Refused<Value>,
}

/// Operations besides the factors.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "compose",
        usage: "compose(A, B): each element of A becomes a tile laid out by B; also A * B",
        apply: |a| a.two(Layout::compose, SharedLayout::compose),
    },
    Operation {
        name: "divide",
        usage: "divide(H, B): the A with A * B = H; also H / B",
        apply: |a| a.two(Layout::divide, SharedLayout::divide),
    },
    Operation {
        name: "left_divide",
        usage: r"left_divide(H, A): the B with A * B = H; also A \ H",
        apply: |a| a.two(Layout::left_divide, SharedLayout::left_divide),
    },
    Operation {
        name: "concat",
        usage: "concat(A, B): dimensions side by side",
        apply: |a| a.two(Layout::concat, SharedLayout::concat),
    },
    Operation {
        name: "reduce",
        usage: "reduce(A, axis, ..): where results of a reduction are; the axes disappear",
        apply: |a| a.on_axes(Layout::reduce),
    },
    Operation {
        name: "reduce_keep",
        usage: "reduce_keep(A, axis, ..): as reduce, but the axes stay with extent 1",
        apply: |a| a.on_axes(Layout::reduce_keep),
    },
    Operation {
        name: "reduce_to",
        usage: "reduce_to(A, extent, ..): where an operand of this shape is needed, broadcast to the shape of A",
        apply: |a| {
            let x = a.layout()?;
            let shape = a.numbers()?;
            let result = x.reduce_to(&shape).map(Value::Layout);
            a.give(result, &[&Value::Layout(x)])
        },
    },
    Operation {
        name: "squeeze",
        usage: "squeeze(A, axis): without a dimension of extent 1",
        apply: |a| a.on_axis(Layout::squeeze, SharedLayout::squeeze),
    },
    Operation {
        name: "unsqueeze",
        usage: "unsqueeze(A, axis): with a dimension of extent 1 there",
        apply: |a| a.on_axis(Layout::unsqueeze, SharedLayout::unsqueeze),
    },
    Operation {
        name: "flatten",
        usage: "flatten(A, first, last): these dimensions as one, both included",
        apply: |a| {
            let x = a.any()?;
            let (first, last) = (a.number()? as usize, a.number()? as usize);
            a.end()?;
            let result = x.map(|x| x.flatten(first, last), |x| x.flatten(first, last));
            a.give(result, &[&x.value()])
        },
    },
    Operation {
        name: "keep",
        usage: "keep(S, axis, ..): the part of a shared layout at index 0 of every other axis",
        apply: |a| {
            let x = a.shared()?;
            let dims = dims(a.numbers()?);
            let result = x.keep(&dims).map(Value::Shared);
            a.give(result, &[&Value::Shared(x)])
        },
    },
    Operation {
        name: "swizzled",
        usage: "swizzled(bits, extent, ..): row-major in chunks of 128 bytes, 16-byte groups swizzled over 8 rows, for elements of so many bits",
        apply: |a| {
            let bits = a.number()?;
            let shape = a.numbers()?;
            let result = SharedLayout::row_major_swizzled(&shape, bits).map(Value::Shared);
            a.give(result, &[])
        },
    },
    Operation {
        name: "reads",
        usage: "reads(S, A): in how many turns memory banks give a tile laid out by S to the lanes and slots of A",
        apply: |a| {
            let memory = a.shared()?;
            let at = a.rest.as_slice().first().map(|argument| argument.1);
            let held = a.layout()?;
            a.end()?;
            if memory.shape() != held.shape() {
                let what = format!("two layouts of one tile: {:?} is not {:?}", held.shape(), memory.shape());
                return Err(a.refuse(&what, at));
            }
            Ok(Value::Read(memory, held))
        },
    },
    Operation {
        name: "auto",
        usage: "auto(lanes, extent, ..): lanes spread over a tile from its last dimension",
        apply: |a| {
            let lanes = a.number()?;
            let shape = a.numbers()?;
            let result = Layout::auto_local_spatial(lanes, &shape).map(Value::Layout);
            a.give(result, &[])
        },
    },
    Operation {
        name: "cover",
        usage: "cover(A, B): whether each lane holds in A every element that it holds in B",
        apply: |a| {
            let (x, y) = (a.layout()?, a.layout()?);
            a.end()?;
            Ok(cover(&x, &y))
        },
    },
    Operation {
        name: "equal",
        usage: "equal(A, B): whether two layouts are one function",
        apply: |a| {
            let x = a.any()?;
            let y = a.like(&x)?;
            a.end()?;
            match (&x, &y) {
                (Either::Register(x), Either::Register(y)) => Ok(equal(x, y)),
                (Either::Shared(x), Either::Shared(y)) => Ok(equal_offsets(x, y)),
                (Either::Register(_), Either::Shared(_)) | (Either::Shared(_), Either::Register(_)) => {
                    Err(a.refuse("two layouts of one kind", None))
                }
            }
        },
    },
];

fn dims(numbers: Vec<u32>) -> Vec<usize> {
    numbers.into_iter().map(|n| n as usize).collect()
}

/// Names of all operations, factors first.
pub fn names() -> impl Iterator<Item = &'static str> {
    let others = SHARED_FACTORS.into_iter().filter(|name| !FACTORS.contains(name));
    FACTORS.into_iter().chain(others).chain(OPERATIONS.iter().map(|operation| operation.name))
}

/// The refusal of a name that is none.
pub fn unknown(name: &str, at: Span) -> Box<Diagnostic> {
    let d = Diagnostic::error(Code::UnknownLayout, format!("there is no layout operation `{name}`"))
        .at(at, "not known");
    Box::new(match closest(name, names()) {
        Some(near) => d.help(format!("did you mean `{near}`?")),
        None => d.help(format!("there is: {}", names().collect::<Vec<_>>().join(", "))),
    })
}

/// Applies an operation to its arguments; `at` is the call or the operator.
pub fn apply(name: &str, at: Span, arguments: Vec<Placed>) -> Refused<Value> {
    let Some(known) = names().find(|known| *known == name) else { return Err(unknown(name, at)) };
    let mut arguments = Arguments { name: known, at, rest: arguments.into_iter(), numbers: vec![] };
    match OPERATIONS.iter().find(|operation| operation.name == known) {
        Some(operation) => (operation.apply)(&mut arguments),
        None => arguments.factor(),
    }
}

/// A layout of either kind.
enum Either {
    Register(Layout),
    Shared(SharedLayout),
}

impl Either {
    fn map(
        &self,
        register: impl FnOnce(&Layout) -> Result<Layout, LayoutError>,
        shared: impl FnOnce(&SharedLayout) -> Result<SharedLayout, LayoutError>,
    ) -> Result<Value, LayoutError> {
        match self {
            Either::Register(layout) => register(layout).map(Value::Layout),
            Either::Shared(layout) => shared(layout).map(Value::Shared),
        }
    }

    fn value(self) -> Value {
        match self {
            Either::Register(layout) => Value::Layout(layout),
            Either::Shared(layout) => Value::Shared(layout),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Either::Register(_) => "a layout of lanes and slots",
            Either::Shared(_) => "a shared layout",
        }
    }
}

/// The arguments of a call, taken one by one.
struct Arguments {
    name: &'static str,
    at: Span,
    rest: std::vec::IntoIter<Placed>,
    /// The numbers taken so far, for a refusal that is about one of them.
    numbers: Vec<(u32, Span)>,
}

impl Arguments {
    fn refuse(&self, what: &str, found: Option<Span>) -> Box<Diagnostic> {
        let d = Diagnostic::error(Code::LayoutInvalid, format!("`{}` needs {what}", self.name))
            .at(found.unwrap_or(self.at), "here");
        Box::new(match OPERATIONS.iter().find(|operation| operation.name == self.name) {
            Some(operation) => d.help(operation.usage),
            None => d,
        })
    }

    /// A layout of either kind.
    fn any(&mut self) -> Refused<Either> {
        match self.rest.next() {
            Some((Value::Layout(layout), _)) => Ok(Either::Register(layout)),
            Some((Value::Shared(layout), _)) => Ok(Either::Shared(layout)),
            Some((Value::Read(..) | Value::Number(_) | Value::Answer(..), span)) => {
                Err(self.refuse("a layout", Some(span)))
            }
            None => Err(self.refuse("a layout", None)),
        }
    }

    /// A layout of the kind of another.
    fn like(&mut self, other: &Either) -> Refused<Either> {
        let at = self.rest.as_slice().first().map(|argument| argument.1);
        let found = self.any()?;
        if std::mem::discriminant(&found) == std::mem::discriminant(other) {
            return Ok(found);
        }
        Err(self.refuse(
            &format!("two layouts of one kind: the first is {}, this {}", other.kind(), found.kind()),
            at,
        ))
    }

    fn layout(&mut self) -> Refused<Layout> {
        let at = self.rest.as_slice().first().map(|argument| argument.1);
        match self.any()? {
            Either::Register(layout) => Ok(layout),
            Either::Shared(_) => Err(self.refuse("a layout of lanes and slots", at)),
        }
    }

    fn shared(&mut self) -> Refused<SharedLayout> {
        let at = self.rest.as_slice().first().map(|argument| argument.1);
        match self.any()? {
            Either::Shared(layout) => Ok(layout),
            Either::Register(_) => Err(self.refuse("a shared layout", at)),
        }
    }

    fn number(&mut self) -> Refused<u32> {
        match self.rest.next() {
            Some((Value::Number(number), at)) => {
                self.numbers.push((number, at));
                Ok(number)
            }
            Some((Value::Layout(_) | Value::Shared(_) | Value::Read(..) | Value::Answer(..), span)) => {
                Err(self.refuse("a number", Some(span)))
            }
            None => Err(self.refuse("one more number", None)),
        }
    }

    fn numbers(&mut self) -> Refused<Vec<u32>> {
        let mut numbers = Vec::new();
        while self.rest.len() > 0 {
            numbers.push(self.number()?);
        }
        Ok(numbers)
    }

    fn end(&mut self) -> Refused<()> {
        match self.rest.next() {
            Some((_, span)) => Err(self.refuse("fewer arguments", Some(span))),
            None => Ok(()),
        }
    }

    /// The result, or the refusal at its place, with the operands as the algebra sees them.
    fn give(&self, result: Result<Value, LayoutError>, operands: &[&Value]) -> Refused<Value> {
        result.map_err(|error| {
            // The last that names it: the one that came too often.
            let dimension =
                |dim: usize| self.numbers.iter().rev().find(|(number, _)| *number as usize == dim);
            let (at, label) = match error {
                LayoutError::BadDimension { dim, .. } => {
                    dimension(dim).map(|(_, at)| (*at, "no such dimension, or a second time"))
                }
                LayoutError::NotUnit { dim, .. } => dimension(dim).map(|(_, at)| (*at, "this one")),
                _ => None,
            }
            .unwrap_or((self.at, "refused"));
            let d = Diagnostic::error(Code::LayoutInvalid, error.to_string()).at(at, label);
            Box::new(operands.iter().filter_map(|operand| described(operand)).fold(d, Diagnostic::note))
        })
    }

    fn two(
        &mut self,
        register: fn(&Layout, &Layout) -> Result<Layout, LayoutError>,
        shared: fn(&SharedLayout, &SharedLayout) -> Result<SharedLayout, LayoutError>,
    ) -> Refused<Value> {
        let x = self.any()?;
        let y = self.like(&x)?;
        self.end()?;
        let result = match (&x, &y) {
            (Either::Register(x), Either::Register(y)) => register(x, y).map(Value::Layout),
            (Either::Shared(x), Either::Shared(y)) => shared(x, y).map(Value::Shared),
            (Either::Register(_), Either::Shared(_)) | (Either::Shared(_), Either::Register(_)) => {
                return Err(self.refuse("two layouts of one kind", None));
            }
        };
        self.give(result, &[&x.value(), &y.value()])
    }

    fn on_axes(&mut self, operation: fn(&Layout, &[usize]) -> Result<Layout, LayoutError>) -> Refused<Value> {
        let x = self.layout()?;
        let axes = dims(self.numbers()?);
        let result = operation(&x, &axes).map(Value::Layout);
        self.give(result, &[&Value::Layout(x)])
    }

    fn on_axis(
        &mut self,
        register: fn(&Layout, usize) -> Result<Layout, LayoutError>,
        shared: fn(&SharedLayout, usize) -> Result<SharedLayout, LayoutError>,
    ) -> Refused<Value> {
        let x = self.any()?;
        let axis = self.number()? as usize;
        self.end()?;
        let result = x.map(|x| register(x, axis), |x| shared(x, axis));
        self.give(result, &[&x.value()])
    }

    /// A factor: on the layout to its left, or on nothing.
    fn factor(&mut self) -> Refused<Value> {
        let begin = |error: LayoutError| self.refuse(&error.to_string(), None);
        let base = match self.rest.as_slice() {
            [(Value::Layout(_) | Value::Shared(_), _), ..] => None,
            _ if FACTORS.contains(&self.name) => Some(Either::Register(Layout::local(&[]).map_err(begin)?)),
            _ => Some(Either::Shared(SharedLayout::row_major(&[]).map_err(begin)?)),
        };
        let (base, shown) = match base {
            Some(base) => (base, false),
            None => (self.any()?, true),
        };
        let known = match &base {
            Either::Register(_) => &FACTORS,
            Either::Shared(_) => &SHARED_FACTORS,
        };
        if !known.contains(&self.name) {
            let d = Diagnostic::error(
                Code::LayoutInvalid,
                format!("`{}` does not go on from {}", self.name, base.kind()),
            );
            let help = format!("what does: {}", known.join(", "));
            return Err(Box::new(d.at(self.at, "refused").help(help)));
        }
        let numbers = self.numbers()?;
        let result = base.map(|base| base.then(self.name, &numbers), |base| base.then(self.name, &numbers));
        let base = base.value();
        let operands = [&base];
        self.give(result, if shown { &operands } else { &[] })
    }
}

/// An operand as the algebra sees it.
fn described(operand: &Value) -> Option<String> {
    match operand {
        Value::Layout(layout) => Some(format!(
            "{layout}: shape {:?}, {} lanes x {} slots",
            layout.shape(),
            layout.spatial_size(),
            layout.local_size()
        )),
        Value::Shared(layout) => {
            Some(format!("{layout}: shape {:?}, {} elements of memory", layout.shape(), layout.size()))
        }
        Value::Read(..) | Value::Number(_) | Value::Answer(..) => None,
    }
}

fn cover(owned: &Layout, needed: &Layout) -> Value {
    if owned.shape() != needed.shape() || owned.spatial_size() != needed.spatial_size() {
        return Value::Answer(false, Some("the shapes or the numbers of lanes differ".to_owned()));
    }
    let lacking = owned.holders().first_lacking(&needed.holders());
    Value::Answer(
        lacking.is_none(),
        lacking.map(|(index, lane)| format!("lane {lane} needs element {index:?} and does not hold it")),
    )
}

fn equal(a: &Layout, b: &Layout) -> Value {
    let why = match a.first_difference(b) {
        Some((lane, slot)) => format!(
            "lane {lane}, slot {slot} is element {:?} in the first, {:?} in the second",
            a.element(lane, slot),
            b.element(lane, slot)
        ),
        None => "shapes, lanes or slots differ".to_owned(),
    };
    Value::Answer(a == b, (a != b).then_some(why))
}

fn equal_offsets(a: &SharedLayout, b: &SharedLayout) -> Value {
    if a.shape() != b.shape() {
        return Value::Answer(false, Some("the shapes differ".to_owned()));
    }
    let why = a.first_difference(b).map(|position| {
        let mut index = vec![0; a.rank()];
        let mut rest = position;
        for (i, extent) in index.iter_mut().zip(a.shape()).rev() {
            *i = rest % extent;
            rest /= extent;
        }
        format!(
            "element {index:?} lies at {} in the first, at {} in the second",
            a.offset(&index),
            b.offset(&index)
        )
    });
    Value::Answer(why.is_none(), why)
}
