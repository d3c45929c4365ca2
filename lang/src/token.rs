//! Tokens: the words of the language.
//!
//! A token is its [`Tok`] and its span; the text is looked up in the source, so a token is small and `Copy`.
//! Words come in two kinds. **Keywords** (`kernel`, `let`, `out`, ..) are never names. **Soft keywords** (`table`,
//! `value`, `grid`, ..) have a meaning only where the grammar expects one and are names elsewhere: a parameter may be
//! called `table`. Dtype names are reserved and recognised by pattern, so the lexer needs no list of them.

use crate::span::Span;
use logos::Logos;

/// A token with its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// Which word.
    pub tok: Tok,
    /// Where.
    pub span: Span,
    /// Whether it is the first token of its line.
    pub first_on_line: bool,
}

macro_rules! tokens {
    (
        keywords { $($keyword:ident = $keyword_text:literal,)* }
        soft { $($soft:ident = $soft_text:literal,)* }
        symbols { $($symbol:ident = $symbol_text:literal,)* }
    ) => {
        /// The kinds of token.
        #[derive(Logos, Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[logos(skip r"[ \t\r\n\u{FEFF}]+")]
        pub enum Tok {
            $(#[doc = concat!("`", $keyword_text, "`")] #[token($keyword_text)] $keyword,)*
            $(#[doc = concat!("`", $soft_text, "`, a soft keyword")] #[token($soft_text)] $soft,)*
            $(#[doc = concat!("`", $symbol_text, "`")] #[token($symbol_text)] $symbol,)*
            /// A name.
            #[regex(r"[A-Za-z_][A-Za-z0-9_]*")]
            Ident,
            /// A dtype name; see [`is_dtype`].
            Dtype,
            /// An integer. The lexer finds its first digit here and the rest by hand.
            #[regex(r"[0-9]")]
            Int,
            /// A float.
            Float,
            /// A string with its quotes.
            #[regex(r#""([^"\\\n]|\\[^\n])*""#)]
            Str,
            /// A string that lacks its closing quote; never leaves the lexer.
            #[regex(r#""([^"\\\n]|\\[^\n])*\\?"#)]
            OpenStr,
            /// A comment; never leaves the lexer as a token.
            #[regex(r"//[^\n]*", allow_greedy = true)]
            Comment,
            /// The start of a block comment, which the language lacks; never leaves the lexer.
            #[token("/*")]
            BlockComment,
            /// The `{` of a set of values, `in {`. Told from [`Tok::BraceOpen`] when brackets are matched.
            SetOpen,
            /// The `}` of a set of values.
            SetClose,
        }

        impl Tok {
            /// Whether it is a keyword, which cannot be a name.
            pub fn is_keyword(self) -> bool {
                matches!(self, $(Tok::$keyword)|*)
            }

            /// Whether it can be a name: an identifier or a soft keyword.
            pub fn is_name(self) -> bool {
                matches!(self, Tok::Ident $(| Tok::$soft)*)
            }
        }

        /// Every keyword as written.
        pub const KEYWORDS: &[&str] = &[$($keyword_text),*];

        /// Every soft keyword as written.
        pub const SOFT_KEYWORDS: &[&str] = &[$($soft_text),*];
    };
}

tokens! {
    keywords {
        Kernel = "kernel", Fn = "fn", Format = "format", Program = "program", Const = "const", Use = "use",
        Let = "let", Var = "var", For = "for", While = "while", If = "if", Else = "else", Break = "break",
        Return = "return", In = "in", Out = "out", InOut = "inout", As = "as",
        Zeros = "zeros", Shared = "shared", Buffer = "buffer",
        True = "true", False = "false", Inf = "inf", Nan = "nan",
        Assert = "assert", StaticAssert = "static_assert", Assume = "assume", Print = "print",
    }
    soft {
        Tune = "tune", Fit = "fit", Grid = "grid", Lanes = "lanes", By = "by", Pipeline = "pipeline",
        Group = "group", Per = "per", Table = "table", Value = "value", Encode = "encode",
        Hyper = "hyper", Weight = "weight", State = "state", Input = "input", Output = "output",
        Grows = "grows", To = "to", With = "with", Wrap = "wrap", Saturate = "saturate",
    }
    symbols {
        ParenOpen = "(", ParenClose = ")", BracketOpen = "[", BracketClose = "]", BraceOpen = "{", BraceClose = "}",
        Comma = ",", Semicolon = ";", Colon = ":", Dot = ".", DotDot = "..", At = "@", Arrow = "->", PlusColon = "+:",
        Assign = "=", AddAssign = "+=", SubAssign = "-=", MulAssign = "*=", DivAssign = "/=",
        OrOr = "||", AndAnd = "&&", Or = "|", Caret = "^", And = "&", EqEq = "==", NotEq = "!=",
        Lt = "<", Le = "<=", Gt = ">", Ge = ">=", Shl = "<<", Shr = ">>",
        Plus = "+", Minus = "-", Star = "*", Slash = "/", Percent = "%", Not = "!", Tilde = "~",
    }
}

impl Tok {
    /// The closing bracket that belongs to an opening one.
    pub fn closing(self) -> Option<Tok> {
        match self {
            Tok::ParenOpen => Some(Tok::ParenClose),
            Tok::BracketOpen => Some(Tok::BracketClose),
            Tok::BraceOpen => Some(Tok::BraceClose),
            Tok::SetOpen => Some(Tok::SetClose),
            _ => None,
        }
    }

    /// Whether it begins a statement and nothing else.
    pub fn starts_statement(self) -> bool {
        matches!(
            self,
            Tok::Let
                | Tok::Var
                | Tok::For
                | Tok::While
                | Tok::If
                | Tok::Break
                | Tok::Return
                | Tok::Assert
                | Tok::StaticAssert
                | Tok::Assume
                | Tok::Print
        )
    }
}

/// Whether a name is a dtype: `bool`, `i1..i8 i16 i32 i64`, `u1..u8 u16 u32 u64`, `f16 bf16 tf32 f32 f64`, `e8m0`,
/// `ue4m3`, and `eXmY` with `X >= 1` where sign, exponent and mantissa make 3 to 8 bits.
///
/// ```
/// use tvmc_lang::token::is_dtype;
/// assert!(is_dtype("u4") && is_dtype("e4m3") && is_dtype("e2m1"));
/// assert!(!is_dtype("i9") && !is_dtype("e1m0") && !is_dtype("e5m4") && !is_dtype("u04"));
/// ```
pub fn is_dtype(name: &str) -> bool {
    if matches!(name, "bool" | "f16" | "bf16" | "tf32" | "f32" | "f64" | "e8m0" | "ue4m3") {
        return true;
    }
    if let Some(bits) = name.strip_prefix(['i', 'u']) {
        return matches!(bits, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "16" | "32" | "64");
    }
    match name.as_bytes() {
        &[b'e', x @ b'1'..=b'7', b'm', y @ b'0'..=b'7'] => {
            (3..=8).contains(&(1 + u32::from(x - b'0') + u32::from(y - b'0')))
        }
        _ => false,
    }
}
