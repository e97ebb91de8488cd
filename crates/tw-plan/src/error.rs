//! What is wrong with what a core was handed.

use std::ops::RangeInclusive;

/// Why there is no decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An option is outside its bounds.
    #[error("option `{option}` is {value}, outside {bounds}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The refused value.
        value: u64,
        /// What is allowed, with the unit.
        bounds: &'static str,
    },
    /// There is no node that could own anything: the current plan holds.
    #[error("no node with a capacity is alive: the current plan stays until one joins")]
    NoNodes,
    /// The same node or unit was handed over twice.
    #[error("`{name}` is listed twice: list every node and every unit once")]
    Twice {
        /// The node or unit.
        name: String,
    },
    /// More than a core takes.
    #[error("{count} {what} are more than {max}: split the cluster")]
    TooMany {
        /// Nodes or units.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A text that cannot name a unit.
    #[error("`{name}` cannot name a unit: {rule}")]
    UnitName {
        /// The name, cut to 80 characters.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A stored plan that cannot be read.
    #[error("a stored plan is damaged: {rule}")]
    StoredPlan {
        /// What is wrong with it.
        rule: &'static str,
    },
    /// A stored plan of a format that this version does not know.
    #[error("a stored plan has format {format}, this version reads format 1: upgrade this node first")]
    StoredFormat {
        /// The unknown format.
        format: u32,
    },
}

/// One option, its value, what is allowed, and how that is said.
pub(crate) type Bound = (&'static str, u64, RangeInclusive<u64>, &'static str);

/// Checks options in order; the first that is outside its bounds is the error.
pub(crate) fn check<const N: usize>(bounds: [Bound; N]) -> Result<(), Error> {
    for (option, value, range, bounds) in bounds {
        if !range.contains(&value) {
            return Err(Error::Option { option, value, bounds });
        }
    }
    Ok(())
}
