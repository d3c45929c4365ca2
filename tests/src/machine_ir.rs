//! The x86 backend's machine IR, judged: both forms pass the verifier, their texts read back as they are, and what is read encodes to the same code.

use tvmc_backend_x86::mir::{self, Text};
use tvmc_backend_x86::{Error, Features, Options, allocate, compile, encode, select};
use tvmc_ir::lane::Verified;

/// The texts of a function.
pub struct Texts {
    /// Over virtual registers.
    pub selected: String,
    /// Over those of the machine.
    pub allocated: String,
}

/// Selects, allocates and encodes a function; fails where a form is not sound, or does not survive its text.
pub fn texts(function: &Verified, features: &Features) -> Result<Texts, String> {
    judged(function, features).map_err(|error| error.to_string())?
}

/// As [`texts`]; the outer error is the backend's, the inner one says what it got wrong.
fn judged(function: &Verified, features: &Features) -> Result<Result<Texts, String>, Error> {
    let options = Options { check: true };
    let selected = select(function, features, options)?;
    let texts = Texts { selected: selected.to_string(), allocated: String::new() };
    match mir::parse(&texts.selected) {
        Ok(Text::Selected(again)) if again == selected => {}
        other => return Ok(Err(format!("machine IR reads back as {other:?}, not as\n{}", texts.selected))),
    }
    let (allocated, _) = allocate(&selected, options)?;
    let texts = Texts { allocated: allocated.to_string(), ..texts };
    let again = match mir::parse(&texts.allocated) {
        Ok(Text::Allocated(again)) if again == allocated => again,
        other => return Ok(Err(format!("machine IR reads back as {other:?}, not as\n{}", texts.allocated))),
    };
    if encode(&again)?.bytes != compile(function, features)?.bytes {
        return Ok(Err(format!("the text encodes to other code than the function:\n{}", texts.allocated)));
    }
    Ok(Ok(texts))
}

/// Fails where the backend is at fault; a function that it refuses in words is none of its faults.
pub fn judge(function: &Verified, features: &Features) -> Result<(), String> {
    match judged(function, features) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(what)) => Err(what),
        Err(Error::Unsupported { .. } | Error::TooDeep | Error::TooLarge(_)) => Ok(()),
        Err(error @ Error::Internal(_)) => Err(error.to_string()),
    }
}
