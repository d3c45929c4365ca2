//! The rules of a verifier, as an enum with its own list: [`rules!`] makes both from one table, so that a test can ask for a file that breaks
//! each rule and no rule can be forgotten.
//!
//! ```text
//! rules! { /// Of this verifier.
//!     Rule { /// Sizes. Limits, /// Names. Scope, } }      Rule::Limits as u8 == 1, Rule::ALL == [Limits, Scope]
//! ```

#[doc(hidden)]
#[macro_export]
macro_rules! rules {
    ($(#[$doc:meta])* $name:ident { $($(#[$row:meta])+ $variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $($(#[$row])+ $variant,)+ }

        impl $name {
            /// Every rule, in the order of the head comment.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// Its number in the head comment.
            pub const fn number(self) -> u8 {
                self as u8 + 1
            }
        }
    };
}
