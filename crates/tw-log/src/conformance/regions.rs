//! Events that another region has accepted: for engines that hold such.

use super::{Engine, Read, append, batch, check_dense, ids, ok, partition, put, read_all, stream};
use crate::{Append, Error, Foreign, Log, Placed, Result};
use std::sync::Arc;
use tw_types::{Compression, Epoch, Hlc, Offset, Origin, RegionId, Sequence, StreamPartition};

/// Another region than that of any engine under test.
const OTHER: RegionId = RegionId(7);

fn origin(sequence: u64) -> Origin {
    Origin { region: OTHER, epoch: Epoch(3), sequence: Sequence(sequence) }
}

/// Appends events that another region has accepted, and in the same step one of this region to `beside`.
async fn take(
    log: &dyn Log,
    at: StreamPartition,
    names: &[&str],
    sequence: u64,
    first_hlc: Hlc,
    beside: Option<StreamPartition>,
) -> Result<Vec<Placed>> {
    let foreign = Some(Foreign { origin: origin(sequence), first_hlc });
    let mut parts = vec![Append { at, batch: batch(names, Compression::Lz4), expected_end: None, foreign }];
    if let Some(at) = beside {
        let batch = batch(["beside"], Compression::None);
        parts.push(Append { at, batch, expected_end: None, foreign: None });
    }
    let permit = log.reserve(1 << 16).await?;
    log.append(permit, parts).await
}

/// The events that this region has accepted, and those that the other one has.
fn by_region(events: Vec<Read>) -> (Vec<Read>, Vec<Read>) {
    events.into_iter().partition(|read| read.origin.region != OTHER)
}

async fn now(log: &Arc<dyn Log>) -> Hlc {
    let def = stream(&**log, "clock", 1).await;
    put(&**log, partition(&def, 0), ["tick"]).await.first_hlc
}

/// Origin and time stay, offsets are those of the log, and what is accepted here has sequences of its own without gaps: also after
/// a reopen.
pub async fn reg_3_events_of_another_region_keep_their_origin_and_their_time(engine: &dyn Engine) {
    let log = engine.create().await;
    let now = now(&log).await;
    let def = stream(&*log, "shared", 1).await;
    let at = partition(&def, 0);
    put(&*log, at, ["a", "b"]).await;
    let earlier = Hlc::new(now.millis() - 60_000, 5);
    let placed = ok(take(&*log, at, &["x", "y", "z"], 11, earlier, None).await);
    let whole = Placed { at, base_offset: Offset(2), count: 3, first_hlc: earlier };
    assert_eq!(placed, [whole]);
    put(&*log, at, ["c"]).await;
    let before = read_all(&*log, at, Offset::ZERO).await;
    let log = engine.reopen(log).await;
    assert_eq!(read_all(&*log, at, Offset::ZERO).await, before);
    put(&*log, at, ["d"]).await;
    ok(take(&*log, at, &["w"], 14, earlier.plus(3), None).await);
    put(&*log, at, ["e"]).await;
    let all = read_all(&*log, at, Offset::ZERO).await;
    assert_eq!(ids(&all), ["a", "b", "x", "y", "z", "c", "d", "w", "e"]);
    assert!((0..).zip(&all).all(|(offset, read)| read.offset == Offset(offset)), "LOG-2");
    let (own, theirs) = by_region(all);
    let told: Vec<(Origin, Hlc)> = theirs.iter().map(|read| (read.origin, read.hlc)).collect();
    assert_eq!(told, (0..4).map(|n| (origin(11 + n), earlier.plus(n))).collect::<Vec<_>>());
    let sequences: Vec<u64> = own.iter().map(|read| read.origin.sequence.0).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    assert!(own.windows(2).all(|pair| pair[0].hlc < pair[1].hlc), "times of this region rise");
}

/// What is accepted after an event of another region is later than it, even if the clock there is ahead; and what is appended beside
/// foreign events is, too.
pub async fn reg_2_what_is_accepted_after_an_event_of_another_region_is_later(engine: &dyn Engine) {
    let log = engine.create().await;
    let now = now(&log).await;
    let def = stream(&*log, "shared", 2).await;
    let (at, beside) = (partition(&def, 0), partition(&def, 1));
    let ahead = Hlc::new(now.millis() + 300, 0);
    ok(take(&*log, at, &["x", "y"], 1, ahead, Some(beside)).await);
    let log = engine.reopen(log).await;
    put(&*log, at, ["after"]).await;
    let settled = log.settled();
    put(&*log, at, ["later"]).await;
    let (own, theirs) = by_region(read_all(&*log, at, Offset::ZERO).await);
    assert!(own[0].hlc <= settled && settled < own[1].hlc && own[1].hlc <= log.settled());
    let told = read_all(&*log, beside, Offset::ZERO).await;
    assert_eq!(theirs[1].hlc, ahead.plus(1));
    assert!(told[0].hlc > ahead.plus(1) && own[0].hlc > told[0].hlc);
}

/// Nothing of an append is stored of which a part cannot be another region's.
pub async fn what_cannot_come_from_another_region_is_refused(engine: &dyn Engine) {
    let log = engine.create().await;
    let now = now(&log).await;
    let def = stream(&*log, "shared", 1).await;
    let at = partition(&def, 0);
    put(&*log, at, ["a"]).await;
    let own = read_all(&*log, at, Offset::ZERO).await[0].origin;
    for origin in [Origin { sequence: Sequence(9), ..own }, origin(0), origin(u64::MAX)] {
        let foreign = Some(Foreign { origin, first_hlc: now });
        let part =
            |foreign| Append { at, batch: batch(["n"], Compression::None), expected_end: None, foreign };
        let permit = ok(log.reserve(1 << 16).await);
        let refused = log.append(permit, vec![part(None), part(foreign)]).await;
        assert!(matches!(refused, Err(Error::NotForeign { .. })), "{refused:?}");
    }
    let hour = Hlc::new(now.millis() + 3_600_000, 0);
    let refused = take(&*log, at, &["x"], 1, hour, None).await;
    assert!(matches!(refused, Err(Error::Skewed { region: OTHER, .. })), "{refused:?}");
    ok(append(&*log, vec![(at, batch(["b"], Compression::None), None)]).await);
    let all = read_all(&*log, at, Offset::ZERO).await;
    assert_eq!(ids(&all), ["a", "b"]);
    assert!(all[1].hlc < hour, "the clock has not learned of it");
    check_dense(&all);
}
