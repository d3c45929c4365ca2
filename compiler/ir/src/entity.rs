//! Typed indices. Every IR object is a `u32` newtype that indexes a plain `Vec` in its owner; the
//! printed name (`v3`, `b0`) is the same number, so dumps, errors and a debugger agree.
//!
//! ```
//! use tvmc_ir::lane::Value;
//! assert_eq!(Value(3).to_string(), "v3");
//! ```

/// Declares a typed index and the letter that starts its printed name.
#[macro_export]
macro_rules! entity {
    ($(#[$meta:meta])* $name:ident, $prefix:literal) => {
        $(#[$meta])*
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The index as a `usize`, for its owner's `Vec`.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }
    };
}
