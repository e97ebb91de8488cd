//! Reading the rows that were there before the source was.

pub(crate) mod chunk;
pub(crate) mod copy;
pub(crate) mod rows;
pub(crate) mod window;
