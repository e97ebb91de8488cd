//! Rows with columns of the class `reserve`: changes that take from them are asked for before they are accepted.

use super::Pass;
use crate::Problem;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tw_types::{StreamDef, Version};
use utoipa::ToSchema;

/// Whoever knows what changes of rows need, and gets it.
pub trait Rights: Send + Sync + 'static {
    /// Whether changes of a stream may have to be asked for. Called for every append, so it does not wait.
    fn asks(&self, stream: &StreamDef) -> bool;

    /// Gets what changes of rows need, from other regions if need be, in at most `timeout`.
    ///
    /// # Errors
    /// `no_rights`, also if a region that has what is lacking does not answer.
    fn obtain<'a>(
        &'a self,
        stream: &'a Arc<StreamDef>,
        changes: &'a [RowChange],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Obtained, Problem>>;

    /// Who may use how much of a row.
    fn view<'a>(
        &'a self,
        stream: &'a Arc<StreamDef>,
        subject: &'a str,
    ) -> BoxFuture<'a, Result<RightsView, Problem>>;

    /// Gives rights of this region to another one.
    ///
    /// # Errors
    /// `no_rights` if it has less than is asked for at least.
    fn give<'a>(
        &'a self,
        stream: &'a Arc<StreamDef>,
        subject: &'a str,
        request: GiveRights,
    ) -> BoxFuture<'a, Result<GivenRights, Problem>>;
}

/// A change of a row that is to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// Whose row.
    pub subject: String,
    /// The data; None deletes it.
    pub json: Option<Vec<u8>>,
}

/// That changes may be accepted, as long as their rows have these versions.
pub struct Obtained {
    /// The subjects, and the versions that they must have before.
    pub versions: Vec<(String, Version)>,
    /// Keeps other changes of these rows waiting until it is dropped.
    pub held: Option<Pass>,
}

/// Who may use how much of a row.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct RightsView {
    /// The stream.
    #[schema(example = "goods")]
    pub stream: String,
    /// Whose row.
    #[schema(example = "apple")]
    pub subject: String,
    /// The columns of the class `reserve`.
    pub columns: Vec<ColumnRightsView>,
}

/// A column of the class `reserve`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct ColumnRightsView {
    /// Its name.
    #[schema(example = "stock")]
    pub column: String,
    /// How much there is, as the column's type is in JSON.
    #[schema(example = 10)]
    pub quantity: serde_json::Value,
    /// The regions that may use some of it.
    pub regions: Vec<RegionRightsView>,
}

/// How much of a column a region may use.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct RegionRightsView {
    /// The region; 0 where there is only one.
    #[schema(example = 1)]
    pub region: u16,
    /// How much, as the column's type is in JSON.
    #[schema(example = 6)]
    pub amount: serde_json::Value,
}

/// Rights that are to be another region's.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveRights {
    /// The column.
    #[schema(example = "stock")]
    pub column: String,
    /// The region that is to get them.
    #[schema(example = 2)]
    pub to: u16,
    /// How much, as the column's type is in JSON.
    #[schema(value_type = f64, example = 3)]
    pub amount: Box<RawValue>,
    /// How much at least, if there is less; absent: all of it.
    #[serde(default)]
    #[schema(value_type = Option<f64>, example = 1)]
    pub least: Option<Box<RawValue>>,
}

/// Rights that are another region's now.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct GivenRights {
    /// How much was given, as the column's type is in JSON.
    #[schema(example = 3)]
    pub given: serde_json::Value,
    /// A read or a write that sends it in `Tradewind-Token` knows of it.
    #[schema(example = "tw2;r1;1@1780000000000.3;7=0:121")]
    pub token: String,
}
