//! Tokens between clients and what is inside: offsets mean something in the region that gave them only.
//!
//! What comes in becomes a cut of the log here, after what it demands of other regions is here; what goes out says in which region it is a cut, and
//! what it comes to in others. How long that takes is the business of [`crate::parts::Regions`].

use crate::Problem;
use crate::parts::Regions;
use crate::service::Call;
use std::sync::Arc;
use std::time::Duration;
use tw_types::{ClientToken, Hlc, RegionId, StreamDef, StreamMode, Token};

/// The cut that a reader must see, of a token that it was given in this region; None: it was given in another one.
fn own_cut(token: &ClientToken, region: RegionId) -> Option<Token> {
    (token.is_of(region) || token.is_empty()).then(|| token.cut().clone())
}

/// The cut of the log here that a read must see of the streams that `read` says, if it has to be asked. Waits at most `timeout` for what another
/// region has accepted.
///
/// # Errors
/// `other_region`, `region_behind`.
pub(crate) async fn demanded(
    call: &Call,
    token: &ClientToken,
    read: impl FnOnce() -> Result<Vec<Arc<StreamDef>>, Problem>,
    timeout: Duration,
) -> Result<Token, Problem> {
    let region = call.api.parts.log().region();
    if let Some(cut) = own_cut(token, region) {
        return Ok(cut);
    }
    let (regions, streams) = (regions(call, token)?, read()?);
    call.ticket.outside(regions.cut_of(token, &streams, timeout)).await
}

fn regions<'a>(call: &'a Call, token: &ClientToken) -> Result<&'a dyn Regions, Problem> {
    let region = call.api.parts.log().region();
    let ask = "; ask the region that gave it, or read without the token";
    call.api.parts.regions.as_deref().ok_or_else(|| Problem::other_region(token, region, ask))
}

/// The place in a stream that a token says: where to read on. There is none in another region, where the same events have other offsets.
///
/// # Errors
/// `other_region`.
pub(crate) fn place(call: &Call, token: ClientToken) -> Result<ClientToken, Problem> {
    let region = call.api.parts.log().region();
    if token.is_of(region) {
        return Ok(token);
    }
    let why = ", where the same events have other offsets; read on in the region that gave it, or begin here at a time, as \
               `from=2026-01-31T09:30:00Z`";
    Err(Problem::other_region(&token, region, why))
}

/// What a reader of a stream has seen that begins at a place: nothing of other regions yet, or what the token said with which it came.
pub(crate) fn begun(call: &Call, stream: &StreamDef, came_with: Option<&ClientToken>) -> ClientToken {
    let region = call.api.parts.log().region();
    let mut seen = ClientToken::new(region, Token::new());
    if region != RegionId(0) && stream.options.mode != StreamMode::Local {
        seen.demand(region, Hlc::ZERO);
        came_with.iter().flat_map(|token| token.demands()).for_each(|(of, until)| seen.demand(of, until));
    }
    seen
}

/// The token of an append that is durable.
pub(crate) async fn of_write(call: &Call, cut: Token) -> ClientToken {
    match &call.api.parts.regions {
        Some(regions) => regions.token_of_write(cut).await,
        None => ClientToken::new(RegionId(0), cut),
    }
}

/// The token of a read that has seen everything before a cut.
pub(crate) async fn of_read(call: &Call, cut: Token) -> ClientToken {
    match &call.api.parts.regions {
        Some(regions) => regions.token_of_read(cut).await,
        None => ClientToken::new(RegionId(0), cut),
    }
}
