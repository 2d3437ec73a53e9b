//! What can go wrong in a program.

use gc_runtime::OutOfMemory;

/// Why a program ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LispError {
    #[error("syntax: {0}")]
    Syntax(&'static str),
    #[error("`{0}` has no value")]
    Unbound(String),
    #[error("{0}: wrong arguments")]
    Arguments(&'static str),
    #[error("only functions can be called")]
    NotAFunction,
    #[error("the program calls itself more than {0} deep")]
    TooDeep(u32),
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}
