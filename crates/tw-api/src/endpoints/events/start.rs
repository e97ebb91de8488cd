//! Where reading starts.

use crate::Problem;
use crate::service::Call;
use std::sync::Arc;
use tw_types::{ClientToken, Offset, PartitionId, StreamDef, StreamPartition, Timestamp};

/// What the parameter `from` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::endpoints) enum From {
    /// With the first event that is still there.
    Earliest,
    /// With the next event to come.
    Latest,
    /// With this offset, in one partition.
    Offset(Offset),
    /// After this cut.
    Token(ClientToken),
    /// With the first event that was accepted at this time or later.
    Time(Timestamp),
}

/// In which direction it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::endpoints) enum Way {
    /// The oldest first.
    Onwards,
    /// The newest first.
    Back,
}

impl From {
    pub(in crate::endpoints) fn read(text: Option<&str>) -> Result<Self, Problem> {
        Ok(match text {
            None | Some("" | "earliest") => Self::Earliest,
            Some("latest") => Self::Latest,
            Some(text) => match text.parse() {
                Ok(offset) => Self::Offset(Offset(offset)),
                Err(_) if text.starts_with("tw") => Self::Token(text.parse()?),
                // A plus that was not percent-encoded arrives as a space.
                Err(_) => Self::Time(text.replace(' ', "+").parse().map_err(|_| {
                    let detail = format!(
                        "from is `{text}`: use earliest, latest, an offset, a token, or a time such as 2026-01-31T09:30:00Z"
                    );
                    Problem::parameter("from", detail)
                })?),
            },
        })
    }
}

/// The offset from which each wanted partition is read.
pub(in crate::endpoints) async fn offsets(
    call: &Call,
    stream: &Arc<StreamDef>,
    from: &From,
    partition: Option<u32>,
    way: Way,
) -> Result<Vec<(PartitionId, Offset)>, Problem> {
    let partitions = match partition {
        Some(number) => {
            super::partition(stream, number)?;
            number..number + 1
        }
        None => 0..stream.partitions,
    };
    if matches!(from, From::Offset(_)) && partitions.len() > 1 {
        let detail = format!(
            "an offset is a place in one partition, but `{}` has {}: say which with `partition`, or use a token or a time",
            stream.name, stream.partitions
        );
        return Err(Problem::parameter("from", detail));
    }
    let mut offsets = Vec::with_capacity(partitions.len());
    for partition in partitions.map(PartitionId) {
        let at = StreamPartition::new(stream.id, partition);
        offsets.push((partition, offset(call, at, from, way).await?));
    }
    Ok(offsets)
}

async fn offset(call: &Call, at: StreamPartition, from: &From, way: Way) -> Result<Offset, Problem> {
    let bounds = call.api.parts.log().bounds(at)?;
    let wanted = match from {
        From::Earliest => return Ok(bounds.start),
        From::Latest => return Ok(bounds.end),
        From::Time(time) => return Ok(call.api.parts.events.offset_at(at, *time).await?),
        From::Offset(offset) => *offset,
        From::Token(token) => match token.cut().end(at) {
            Some(offset) => offset,
            None => return Ok(bounds.start),
        },
    };
    // Who goes backwards has come to the beginning.
    if wanted < bounds.start && way == Way::Onwards {
        return Err(tw_log::Error::Trimmed { at, start: bounds.start }.into());
    }
    if wanted > bounds.end {
        return Err(tw_log::Error::BeyondEnd { at, from: wanted, end: bounds.end }.into());
    }
    Ok(wanted)
}
