//! Deliberate errors, to see that the invariants find them.

/// What a shell around the cores can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// A unit opens although the writers before have not been fenced off.
    OpensWithoutFencing,
    /// A unit opens without having read up to where the writers before came.
    OpensWithoutReading,
    /// A unit counts as shut while appends of it are under way.
    ShutsAtOnce,
    /// A node that was started again is taken for the same as before.
    IgnoresIncarnations,
    /// A unit is claimed without regard to whether somebody else has claimed it meanwhile.
    ClaimsOverOthers,
    /// A node that registers again writes under the name that others fence off.
    KeepsItsWriter,
    /// A node says that every unit has an owner, whatever it knows.
    TellsNoUnownedUnits,
}

impl Defect {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::OpensWithoutFencing,
        Self::OpensWithoutReading,
        Self::ShutsAtOnce,
        Self::IgnoresIncarnations,
        Self::ClaimsOverOthers,
        Self::KeepsItsWriter,
        Self::TellsNoUnownedUnits,
    ];
}
