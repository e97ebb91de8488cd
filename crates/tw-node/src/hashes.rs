//! Hashes of what a region holds, by which anybody sees that regions hold the same (REG-1).
//!
//! ```text
//!  log ──▶ event ──┐                                   of each stream that is written in every region
//!                  ├─▶ sum (order does not matter) ──▶ /v1/regions/hashes
//!  engine ──▶ rows ┘                                   of each projection of one
//! ```
//!
//! Every event is read from the log, a few megabytes at a time, and hashed on threads that may block; nothing is kept of it. It
//! never compares anything: whoever wants to know asks two regions.

mod event;
mod sum;

use crate::core::Core;
use crate::parts::problem::of_project;
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use sum::Sum;
use tw_api::parts::{OriginCount, ProjectionHash, RegionHashes, StreamHash};
use tw_api::{Code, Problem};
use tw_log::ReadAhead;
use tw_types::{Epoch, PartitionId, RegionId, StreamDef, StreamMode, StreamPartition, Timestamp, Token};

/// How many bytes of the log are read at once; so many more are read ahead meanwhile.
const READ_BYTES_MAX: usize = 4 << 20;

/// Hashes every stream that is written in all regions, or the one called `stream`, and the projections of these.
///
/// # Errors
/// `no_stream`, `wrong_state` for a stream that is written in one region only, and what keeps the log from being read.
pub(crate) async fn of(core: &Core, name: String, stream: Option<&str>) -> Result<RegionHashes, Problem> {
    let streams = wanted(core, stream)?;
    let _one_at_a_time = core.regions.hashing.lock().await;
    let mut hashes =
        RegionHashes { region: core.log.region().0, name, streams: Vec::new(), projections: Vec::new() };
    for stream in &streams {
        let mut hashed = Hashed::default();
        for number in 0..stream.partitions {
            partition(core, StreamPartition::new(stream.id, PartitionId(number)), &mut hashed).await?;
        }
        hashes.projections.append(&mut projections(core, stream, &hashed.cut).await);
        hashes.streams.push(hashed.told(stream));
    }
    hashes.projections.sort_by(|one, other| one.projection.cmp(&other.projection));
    Ok(hashes)
}

/// The streams that are asked for, by name.
fn wanted(core: &Core, name: Option<&str>) -> Result<Vec<Arc<StreamDef>>, Problem> {
    let streams = core.log.streams();
    let is_everywhere = |stream: &&Arc<StreamDef>| stream.options.mode != StreamMode::Local;
    let Some(name) = name else {
        // What regions tell each other about themselves is left to who asks for it by name.
        let is_wanted = |stream: &&Arc<StreamDef>| is_everywhere(stream) && !stream.name.is_system();
        let mut all: Vec<_> = streams.iter().filter(is_wanted).cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        return Ok(all);
    };
    let stream = streams.get(name)?;
    if !is_everywhere(&stream) {
        let detail = format!(
            "stream `{name}` is in one region only, so there is nothing to compare it with: name one whose `mode` is `active-active` or \
             `home-region`"
        );
        return Err(Problem::new(Code::WrongState, detail));
    }
    Ok(vec![stream.clone()])
}

/// What was hashed of a stream until now.
#[derive(Default)]
struct Hashed {
    sum: Sum,
    origins: BTreeMap<(RegionId, Epoch), u64>,
    /// Up to where.
    cut: Token,
}

impl Hashed {
    fn told(self, stream: &StreamDef) -> StreamHash {
        let origin = |((region, epoch), events): ((RegionId, Epoch), u64)| OriginCount {
            region: region.0,
            epoch: epoch.0,
            events,
        };
        StreamHash {
            stream: stream.name.to_string(),
            events: self.sum.count(),
            hash: self.sum.to_string(),
            origins: self.origins.into_iter().map(origin).collect(),
        }
    }
}

/// Hashes what a partition holds now.
async fn partition(core: &Core, at: StreamPartition, hashed: &mut Hashed) -> Result<(), Problem> {
    let bounds = core.log.bounds(at)?;
    let (mut from, end) = (bounds.start, bounds.end);
    hashed.cut.advance(at, end);
    let mut ahead = ReadAhead::new(core.log.clone(), at, READ_BYTES_MAX);
    while from < end {
        let blocks = match ahead.read(from, end).await {
            Ok(blocks) => blocks,
            // Retention has removed meanwhile what comes next.
            Err(tw_log::Error::Trimmed { start, .. }) if start > from => {
                from = start;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some(last) = blocks.last() else { break };
        let next = last.header().end_offset();
        let mut sum = std::mem::take(&mut hashed.sum);
        let mut origins = std::mem::take(&mut hashed.origins);
        // Decompressing and hashing megabytes is not for a task's thread.
        let work = move || {
            let mut text = Vec::new();
            for block in &blocks {
                for stored in block.records()?.iter()? {
                    let stored = stored?;
                    if stored.offset >= from && stored.offset < end {
                        event::write(&mut text, at.partition, &stored);
                        sum.add(&text);
                        *origins.entry((stored.origin.region, stored.origin.epoch)).or_default() += 1;
                    }
                }
            }
            Ok::<_, tw_log::Error>((sum, origins))
        };
        let worked = tokio::task::spawn_blocking(work).await.map_err(|_| interrupted())?;
        (hashed.sum, hashed.origins) = worked?;
        from = next;
    }
    Ok(())
}

fn interrupted() -> Problem {
    Problem::new(Code::ShuttingDown, "the node is shutting down")
}

/// Hashes the projections of a stream, each when it has processed everything before `cut`.
async fn projections(core: &Core, stream: &StreamDef, cut: &Token) -> Vec<ProjectionHash> {
    let catalog = core.engine.catalog();
    let mut hashes = Vec::new();
    for projection in catalog.projections().filter(|projection| projection.def.stream == stream.id) {
        let name = projection.def.name.clone();
        let hash = if projection.paused {
            let detail = format!("projection `{name}` is paused: resume it, so that it has what was hashed");
            Err(Problem::new(Code::WrongState, detail))
        } else {
            rows(core, &name, cut).await
        };
        let told = ProjectionHash {
            projection: name,
            stream: stream.name.to_string(),
            rows: None,
            hash: None,
            error: None,
        };
        hashes.push(match hash {
            Ok(sum) => ProjectionHash { rows: Some(sum.count()), hash: Some(sum.to_string()), ..told },
            Err(problem) => ProjectionHash { error: Some(problem.to_string()), ..told },
        });
    }
    hashes
}

/// Hashes the rows of a projection as clients are sent them.
async fn rows(core: &Core, name: &str, cut: &Token) -> Result<Sum, Problem> {
    let statement = tw_project::parse(&format!("SELECT * FROM {}", tw_project::quoted(name)));
    let statement = statement.map_err(|error| of_project(error.into()))?;
    let now = Timestamp::from_millis(i64::try_from(core.env.clock.now_ms()).unwrap_or(i64::MAX));
    let request = tw_project::Request { token: Some(cut.clone()), ..tw_project::Request::new(now) };
    let mut answer = core.engine.query(&statement, request).await.map_err(of_project)?;
    let mut sum = Sum::default();
    while let Some(batch) = answer.batches.next().await {
        let batch = batch.map_err(of_project)?;
        tw_api::row_texts(&answer.schema, &batch, &mut |text| sum.add(text))?;
        // A batch has some thousand rows; there may be many without anything to wait for in between.
        tokio::task::yield_now().await;
    }
    Ok(sum)
}
