//! The memory of a heap: the moving space with its side tables, and who gets which part of it.

pub(crate) mod allocation;
pub(crate) mod keeping_pace;
pub(crate) mod moving_space;
pub(crate) mod pace;
