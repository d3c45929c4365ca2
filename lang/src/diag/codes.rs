//! The table of diagnostic codes: one row a rule, with a title and an explanation for `tvmc explain`.
//!
//! A code never changes its meaning and is never used again for another. Ranges: E00xx characters and tokens,
//! E01xx grammar, E02xx names, E03xx types and shapes, E04xx constants, tuning, grid and control flow, E05xx layouts,
//! E06xx padding and memory, E07xx formats, E08xx programs, E09xx limits of this compiler. To add one, add a row: everything else follows.

macro_rules! codes {
    ($($variant:ident = $number:literal, $title:literal, $explanation:literal;)*) => {
        /// Which rule of the language a diagnostic is about.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code {
            $(#[doc = $title] $variant = $number,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            /// The rule in one line.
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            /// The rule, why it is one, and what to do: a few lines of text.
            pub fn explanation(self) -> &'static str {
                match self { $(Code::$variant => $explanation,)* }
            }
        }
    };
}

impl Code {
    /// The number in `E0201`.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// Reads `E0201`, `e0201` or `201`.
    pub fn from_text(text: &str) -> Option<Code> {
        let number: u16 = text.trim_start_matches(['E', 'e']).parse().ok()?;
        Code::ALL.iter().copied().find(|code| code.number() == number)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "E{:04}", self.number())
    }
}

codes! {
    // Characters and tokens.
    InvalidCharacter = 1, "character that has no meaning",
        "Outside strings and comments only ASCII letters, digits, `_`, white space and the operators of the language may stand. \
         A look-alike from another alphabet, a typographic quote or a no-break space is a frequent cause: type the character anew.";
    UnterminatedString = 2, "string without an end",
        "A string ends with `\"` on the line it begins on. For a line break inside the text write `\\n`.";
    InvalidEscape = 3, "unknown escape in a string",
        "The escapes are \\n (line break), \\t (tab), \\\\ (backslash), \\\" (quote) and \\u{1F600} (a Unicode scalar value in 1 to 6 hexadecimal digits).";
    InvalidNumber = 4, "malformed number",
        "Integers are written 42, 1_000, 0x7f or 0b1010; floats 1.0, 1e-5 or 0x1.8p3. A digit stands on both sides of the point, and no letter follows the number.";
    IntegerTooLarge = 5, "integer beyond 64 bits",
        "An integer literal is at most 18446744073709551615, the largest u64. The type it gets in its place may allow less.";
    FloatNotExact = 6, "float out of range",
        "A decimal float must be finite in f64: write `inf` for infinity. A hexadecimal float must be an f64 exactly, since its point is to give exact bits.";
    InvalidUtf8 = 7, "source is not UTF-8",
        "Source files are UTF-8 text. The file may be in another encoding, or not a text at all.";
    SourceTooLong = 8, "source file too long",
        "A source file is at most 4 MiB. Split it and bring the parts together with `use`; large tables of numbers belong in a weight file.";
    TooManyTokens = 9, "too many tokens",
        "A source file has at most a million tokens. Split it, or put large tables of numbers in a weight file.";
    BlockComment = 10, "block comments do not exist",
        "A comment runs from `//` to the end of the line. There is no `/* .. */`, so a commented-out region never hides a nested comment's end.";

    // Grammar.
    UnexpectedToken = 101, "something else was expected here",
        "The text does not follow the grammar at this place. The message lists what could have stood here.";
    MissingSemicolon = 102, "`;` missing",
        "Every statement that does not end in a block ends with `;`. The next statement was read as if it were there.";
    UnclosedDelimiter = 103, "bracket never closed",
        "Each `(`, `[` and `{` needs its partner. If the marked bracket looks right, an inner one is missing its partner and took this one's.";
    UnmatchedClosing = 104, "closing bracket without an opening one",
        "This `)`, `]` or `}` closes nothing: its partner is missing, is of another kind, or was closed before.";
    NestingTooDeep = 105, "nested too deeply",
        "Brackets, operators and calls nest at most 256 deep. Give inner parts a name with `let`; add long sums in parts.";
    TooManyArms = 106, "`if` chain too long",
        "An `if .. else if ..` chain has at most 256 arms. A table that is indexed says the same in less.";
    NotAnItem = 107, "not an item",
        "At the top of a file stand only `use`, `const`, `table`, `fn`, `kernel`, `format` and `program`. Statements go inside a kernel or program.";
    NestedItem = 108, "item inside a block",
        "Kernels, fns, formats and programs stand at the top of a file, not inside one another. Often the real cause is a missing `}` above.";
    ComparisonChain = 109, "comparisons do not chain",
        "`a < b < c` would compare a truth value with c. Write `a < b && b < c`.";
    StatementNotAllowed = 110, "statement in the wrong place",
        "A fn holds only `let` and a final `return`; `return` stands nowhere else; `hyper`, `weight`, `state`, `input`, `output` and `const` stand directly in a program.";
    NoEffect = 111, "expression without effect",
        "A statement that only computes a value does nothing. Assign it, bind it with `let`, or remove it.";
    InvalidTarget = 112, "cannot be assigned to",
        "On the left of `=` stands a variable, or a tensor with an index list: `t[i +: S] = e`. A store has no `else` value: outside the tensor it does nothing.";
    InvalidBody = 113, "body must end in one `return`",
        "The body of a fn, and of a `value[i] { .. }`, is any number of `let`s and then one `return e;`.";
    TooManyErrors = 115, "too many errors",
        "After a hundred problems the rest is most likely a consequence of the first ones. Mend those and compile again.";

    // Names.
    UnknownName = 201, "name not defined",
        "No variable, parameter, dimension, constant or item has this name here. Dimensions are bound by the shapes of the parameters; items of other files need `use`.";
    DuplicateName = 202, "name defined twice",
        "Two definitions of one scope have the same name. Rename one: shadowing is allowed only for `let` and `var` of an inner block.";
    UnknownFunction = 203, "function not defined",
        "No built-in, fn or kernel has this name here.";
    UnknownType = 204, "type not defined",
        "The name is no dtype, no format in scope and no generic parameter. Integers have 1 to 8, 16, 32 or 64 bits; small floats are named eXmY by the widths of exponent and mantissa.";
    UnknownMember = 205, "no such field or method",
        "The value before the dot has no field or method of this name.";
    UnknownItem = 206, "file or item of `use` not found",
        "`use name;` looks in the standard library, `use \"file.tile\";` beside this file.";
    Recursion = 207, "definition that needs itself",
        "A fn, constant or format that leads back to itself has no end: fns are expanded where they are called.";
    UseCycle = 208, "files that use each other in a circle",
        "Move what both files need into a third.";
    NotCallable = 209, "cannot be called here",
        "Kernels are launched as statements of a program; fns and built-ins are called in expressions.";
    UnknownArgument = 210, "no argument of this name",
        "The function has no named argument like this.";
    NotAssignable = 211, "not a variable",
        "Only a `var` may be assigned. A `let`, a parameter, a dimension and a loop counter keep their value.";

    // Types and shapes.
    WrongType = 301, "wrong dtype",
        "The operation does not exist for this dtype, or another dtype is required here. Convert with `as`.";
    ShapeMismatch = 302, "shapes do not fit",
        "Shapes broadcast from the right: two extents fit if they are equal or one is 1. Use `unsqueeze(k)` to insert a dimension of 1.";
    ExtentNotConstant = 303, "tile extent not constant",
        "Every extent of a tile is known when the kernel is compiled: a literal, a `const`, a `tune` name, or a dimension, for which the kernel is then specialised. A loop counter or a loaded value is not.";
    LossyConversion = 304, "conversion may lose information",
        "Nothing that can lose information happens silently. Say `x as T` where the loss is meant.";
    NarrowingPolicy = 305, "integer narrowing needs `wrap` or `saturate`",
        "An integer that does not fit can keep its low bits (`as i8 wrap`) or become the nearest value (`as i8 saturate`). There is no default.";
    RankMismatch = 306, "wrong number of indices or dimensions",
        "An index list has one index per dimension: a point, a slice `start +: size`, or `..` for the whole dimension.";
    AxisOutOfRange = 307, "axis out of range",
        "Axes count from 0, so a tile of rank r has the axes 0 to r - 1.";
    WrongArgumentCount = 308, "wrong number of arguments",
        "The call gives more or fewer arguments than the function has parameters.";
    WrongArgument = 309, "argument of the wrong kind",
        "The parameter needs another kind of argument: a tensor, a scalar, a type or a layout.";
    NotATile = 310, "a tile is needed",
        "The operation works on tiles. A tensor is memory: load from it with an index list, `x[i +: S]` or `x[..]`.";
    NotATensor = 311, "a tensor is needed",
        "Only tensors (parameters, shared tensors, buffers) are indexed with slices, loaded and stored.";
    NotAScalar = 312, "a scalar is needed",
        "A condition, an offset or a loop bound is one number, the same for the whole block.";
    UnsupportedWidth = 313, "no arithmetic in 64 bits",
        "64-bit types are for storage, casts and uniform index arithmetic; lanes compute in 32 bits.";
    RankTooHigh = 314, "too many dimensions",
        "Tiles and tensors have at most 8 dimensions.";
    WidthMismatch = 315, "bits do not match",
        "`bitcast` and `view` keep the bits, so both types have the same number of them.";
    VariableTypeChange = 316, "a variable keeps its type",
        "A `var` keeps the dtype and shape of its first value. Convert the new value with `as`, or use another name.";
    LiteralOutOfRange = 317, "literal does not fit its type",
        "The literal cannot be represented in the type that its place requires.";
    TileTooLarge = 318, "tile too large",
        "A tile, or a value derived from it, would have more elements than one block can hold.";

    // Constants, tuning, grid, control flow.
    NotConstant = 401, "not a constant",
        "The value must be known when the kernel is compiled: literals, `const` and `tune` names, dimensions, `W.group`, and arithmetic on them.";
    ConstantOverflow = 402, "constant out of range",
        "A constant expression overflowed, divided by zero, or gave a value that its place does not allow.";
    GridMissing = 403, "kernel without grid",
        "Every kernel says how many blocks it has: `grid ceil(N, BN)` with 1 to 3 axes.";
    GridInvalid = 404, "invalid grid",
        "A grid has 1 to 3 axes, given once; `block[k]` exists for each of them.";
    TuneEmpty = 405, "nothing to choose from",
        "`tune` lists at least one value, each a positive constant.";
    BreakOutsideLoop = 406, "`break` outside a loop",
        "`break` leaves the innermost `for` or `while`.";
    StepInvalid = 407, "invalid step",
        "The step of a `for` is a constant of at least 1.";
    StaticAssertFailed = 408, "static_assert failed",
        "The condition is false for the constants this kernel was compiled with.";
    NotUniform = 409, "condition differs between lanes",
        "The condition of `if` and `while` is one value for the whole block. For a choice per element use `where(c, a, b)`.";
    LanesInvalid = 410, "invalid number of lanes",
        "`lanes` is a constant power of two from 1 to 1024, given once, and agrees with every pinned layout.";
    AssumeInvalid = 411, "invalid assumption",
        "A kernel's `assume` speaks of dimensions and scalar arguments only: it is checked at launch.";

    // Layouts.
    UnknownLayout = 501, "unknown layout factor",
        "Layouts are made of `local`, `spatial`, `column_local`, `column_spatial`, `replicated`, `reshape` and `permute`.";
    LayoutShape = 502, "layout does not cover its tile",
        "The shape of a layout, the product of its factors along each dimension, equals the shape of the tile it is written for.";
    LayoutConflict = 503, "layouts conflict",
        "Two places demand different layouts of one tile, or two different ones reach a tile that is viewed. Insert `relayout(t, L)` where the exchange between lanes is acceptable.";
    LayoutNotWritten = 504, "`view` needs both layouts",
        "`view` reinterprets the bits that each lane holds, so the source writes the layout of its result, and pins that of its operand or of a tile from which it follows.";
    LayoutLanes = 505, "layouts disagree on the number of lanes",
        "All pinned layouts of a kernel use the same number of lanes.";
    LayoutInvalid = 506, "invalid layout",
        "The factors of this layout cannot be combined: ranks differ, or a number is not a positive constant.";

    // Padding and memory.
    ReductionOverPadding = 601, "reduction over padding",
        "The tile may reach past the end of the tensor there, and the padding value would take part in the result. Load with `else v`, v the identity of the reduction (0 for sum, -inf for max), or mask with `where`.";
    StoreToReadOnly = 602, "store to a read-only argument",
        "Arguments are read-only unless the parameter says `out` or `inout`.";
    ReadOfOut = 603, "read of an `out` argument",
        "An `out` argument holds nothing to read. Say `inout`.";
    StaticOutOfBounds = 604, "index always out of bounds",
        "The index is known when compiled and lies outside the tensor or tile.";
    AtomicAndPlain = 605, "atomic and other accesses",
        "Blocks run in any order and at the same time: a tensor that a kernel updates atomically is loaded and stored by no other statement of it.";

    // Formats.
    GroupNotBytes = 701, "group is not whole bytes",
        "Fields lie bit by bit without padding; together the fields of a scope fill whole bytes. Add a field for the unused bits.";
    FieldLayoutSize = 702, "field layout does not match its count",
        "The layout of a field has exactly as many elements as the field.";
    UnknownField = 703, "format has no such field",
        "The tensor's format declares no field of this name.";
    ValueMissing = 704, "format without value",
        "A format says how an element is decoded: `value[i] = ..;`, once.";
    GroupMissing = 705, "format without group",
        "A format has exactly one `group n { .. }`.";
    FieldIndexOutOfRange = 706, "field index out of range",
        "For some element of the group the index lies outside the field or table.";
    FormatExpression = 707, "not allowed in a format",
        "Formats use fields, tables, integer and float arithmetic, `where`, `concat` and fns.";
    TableSize = 708, "table has the wrong number of values",
        "A table lists as many values as its type has elements.";
    EncodeMissing = 709, "format cannot be encoded",
        "No encoder can be derived for this format: it is decode-only unless it has an `encode { .. }`.";

    // Programs.
    UnknownWeight = 801, "unknown weight",
        "The program declares no weight of this name.";
    LaunchMismatch = 802, "launch does not match the kernel",
        "A launch gives one argument per parameter, of the same dtype and rank; `out` and `inout` arguments are memory the program may write.";
    LaunchShape = 803, "dimensions of a launch disagree",
        "Two arguments bind the same dimension of the kernel to different sizes.";
    ArgumentOverlap = 804, "written argument overlaps another",
        "The memory of an `out` or `inout` argument overlaps no other argument of the same launch.";
    StateInvalid = 805, "invalid state",
        "A state has a constant shape over hyper-parameters. `grows C to n` names one of its dimensions and how many entries of it a call needs; such a state is never given another shape.";
    HyperType = 806, "invalid hyper-parameter",
        "A hyper-parameter is a scalar of type i32, f32 or bool.";
    HostExpression = 807, "cannot be computed on the host",
        "Scalar arguments are expressions over hyper-parameters, dimensions, inputs and loop counters. Tiles live in kernels.";
    ViewSize = 808, "view of another size",
        "`t.view(a, b, ..)` has as many elements as t.";
    PatternInvalid = 809, "invalid weight pattern",
        "A weight per layer has one `{}` in its pattern, a single weight none.";
    UnknownTune = 810, "kernel has no such tune name",
        "`with` sets the `tune` names of the kernel that is launched, each to one of the values listed there.";
    NotInKernel = 811, "only in kernels",
        "This belongs in a kernel: a program allocates, takes views, launches and loops.";
    NotInProgram = 812, "only in programs",
        "This belongs in a program: a kernel sees one block and its tensors.";

    Unsupported = 901, "not supported here",
        "The language defines this, but the compiler cannot translate it in this place. The message says what it can do instead.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number(), "{:?} before {:?}", pair[0], pair[1]);
        }
    }

    #[test]
    fn every_row_is_complete() {
        for &code in Code::ALL {
            assert!(!code.title().is_empty() && !code.title().ends_with('.'), "{code}");
            assert!(code.explanation().ends_with('.'), "{code}");
            assert_eq!(Code::from_text(&code.to_string()), Some(code));
        }
        assert_eq!(Code::from_text("E9999"), None);
        assert_eq!(Code::from_text("nonsense"), None);
    }
}
