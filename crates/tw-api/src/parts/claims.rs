//! Values that only one row may have: they are claimed before a change with them is accepted.

use crate::Problem;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tw_types::StreamDef;
use utoipa::ToSchema;

/// Whoever knows which row has a value.
pub trait Claims: Send + Sync + 'static {
    /// Whether a stream has unique columns. It does not wait.
    fn claims(&self, stream: &StreamDef) -> bool;

    /// Claims a value for a row, at the region that decides, in at most `timeout`.
    ///
    /// # Errors
    /// `not_unique` if another row has it, or may have it still; `not_home` if another region decides that by now.
    fn claim<'a>(
        &'a self,
        stream: &'a Arc<StreamDef>,
        request: ClaimRequest,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Claimed, Problem>>;

    /// Which row has claimed a value, as far as it is known here.
    fn view<'a>(
        &'a self,
        stream: &'a Arc<StreamDef>,
        query: ClaimQuery,
    ) -> BoxFuture<'a, Result<ClaimView, Problem>>;

    /// Waits until no change is under way in this region that was accepted by an earlier claim of a row for a value. The token that it gives knows of
    /// all of them.
    fn settled<'a>(
        &'a self,
        stream: &'a Arc<StreamDef>,
        subject: &'a str,
        query: ClaimQuery,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Settled, Problem>>;
}

/// A value that a row is to have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    /// The column, of the class `unique`.
    #[schema(example = "email")]
    pub column: String,
    /// The value as text.
    #[schema(example = "ann@example.org")]
    pub value: String,
    /// Whose row.
    #[schema(example = "ann")]
    pub subject: String,
    /// The region that is going to write it, if a region asks; absent: the one that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<u16>,
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimQuery {
    /// The column, of the class `unique`.
    #[schema(example = "email")]
    pub column: String,
    /// The value as text.
    #[schema(example = "ann@example.org")]
    pub value: String,
}

/// A value was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Claimed {
    /// Whether another row had it before. Then a change with it must know of what took it away there: of the token.
    #[schema(example = false)]
    pub taken_over: bool,
    /// A read or a write that sends it in `Tradewind-Token` knows of the claim.
    #[schema(example = "tw2;r1;1@1780000000000.3;7=0:121")]
    pub token: String,
}

/// Who has claimed a value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ClaimView {
    /// The stream.
    #[schema(example = "users")]
    pub stream: String,
    /// The column.
    #[schema(example = "email")]
    pub column: String,
    /// The value as text, as it is compared.
    #[schema(example = "ann@example.org")]
    pub value: String,
    /// Whose row claimed it last; absent: none ever did. It keeps the claim until another row asks for the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ann")]
    pub subject: Option<String>,
    /// Whether that row has the value, or may have it again, as far as it is known here.
    #[schema(example = true)]
    pub in_use: bool,
}

/// No change by an earlier claim is under way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Settled {
    /// Whoever has everything of this token has all those changes.
    #[schema(example = "tw2;r1;1@1780000000000.3;7=0:121")]
    pub token: String,
}
