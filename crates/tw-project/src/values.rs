//! Values as text: how PostgreSQL reads and prints the values of each type.
//!
//! Rows are read from JSON with these, casts use them, and results are printed with them, so that a value looks the same
//! wherever it appears.

pub(crate) mod calendar;
pub(crate) mod decimal;
pub(crate) mod print;
pub(crate) mod scan;
