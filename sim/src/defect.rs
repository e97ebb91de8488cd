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
    /// Every change of the members makes a node shut what it has.
    ShutsWhenOthersLeave,
    /// A node that was told of nothing new says that every unit has an owner.
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
        Self::ShutsWhenOthersLeave,
        Self::TellsNoUnownedUnits,
    ];
}
