//! Reading: a prefix of what is durable, from anywhere within the bounds.

use super::{Engine, ids, ok, partition, put, read_all, stream};
use crate::{Error, Log, ReadAhead};
use bytes::Bytes;
use futures_util::future::{join, join_all};
use tw_types::{Offset, PartitionId, StreamId, StreamPartition};
use tw_wire::Block;

/// LOG-4: readers that follow the end while others append.
pub async fn log_4_tailing_readers_see_every_event_once_and_in_order(engine: &dyn Engine) {
    const EVENTS: u64 = 600;
    let log = engine.create().await;
    let def = stream(&*log, "tailed", 2).await;
    let writers = (0..6u64).map(|writer| {
        let (log, at) = (&log, partition(&def, (writer % 2) as u32));
        async move {
            for n in 0..EVENTS / 3 {
                put(&**log, at, [format!("{writer}:{n}")]).await;
            }
        }
    });
    let readers = (0..4u32).map(|reader| {
        let (log, at) = (&log, partition(&def, reader % 2));
        async move {
            let signal = ok(log.end_signal(at));
            let (mut next, mut seen) = (Offset::ZERO, Vec::new());
            while next < Offset(EVENTS) {
                let end = signal.over(next.0).await;
                for block in ok(log.read(at, next, 1024).await) {
                    assert!(
                        block.header().base_offset <= next,
                        "LOG-4: events before offset {} were skipped",
                        block.header().base_offset
                    );
                    let events = super::events_of(&block);
                    seen.extend(events.into_iter().filter(|read| read.offset >= next));
                    next = block.header().end_offset();
                }
                assert!(next.0 > 0 && end > 0);
            }
            seen
        }
    });
    let ((), seen) = join(async { drop(join_all(writers).await) }, join_all(readers)).await;
    for (reader, seen) in (0..).zip(&seen) {
        super::check_dense(seen);
        assert_eq!(seen, &read_all(&*log, partition(&def, reader % 2), Offset::ZERO).await);
        for writer in (0..6u64).filter(|writer| writer % 2 == u64::from(reader % 2)) {
            let prefix = format!("{writer}:");
            let of_writer = ids(seen).into_iter().filter(|id| id.starts_with(&prefix)).map(str::to_owned);
            let expected: Vec<_> = (0..EVENTS / 3).map(|n| format!("{prefix}{n}")).collect();
            assert_eq!(of_writer.collect::<Vec<_>>(), expected, "a writer's events are out of order");
        }
    }
}

/// The end never names an event that cannot be read.
pub async fn log_4_nothing_is_visible_before_it_is_acknowledged_or_durable(engine: &dyn Engine) {
    let log = engine.create().await;
    let at = partition(&*stream(&*log, "visible", 1).await, 0);
    assert!(ok(log.read(at, Offset::ZERO, 1024).await).is_empty());
    for n in 1..50u64 {
        let placed = put(&*log, at, [n]).await;
        let bounds = ok(log.bounds(at));
        assert_eq!((bounds.start, bounds.end), (Offset::ZERO, placed.end()));
        assert_eq!(read_all(&*log, at, placed.base_offset).await.len(), 1);
        assert!(ok(log.read(at, bounds.end, 1024).await).is_empty());
    }
}

/// LOG-4: a reader that reads ahead sees what one sees that does not, also when it jumps, and when more comes meanwhile.
pub async fn log_4_reading_ahead_skips_and_repeats_nothing(engine: &dyn Engine) {
    let log = engine.create().await;
    let at = partition(&*stream(&*log, "ahead", 1).await, 0);
    let mut ahead = ReadAhead::new(log.clone(), at, 1);
    assert!(ok(ahead.read(Offset::ZERO, Offset(u64::MAX)).await).is_empty());
    let mut next = Offset::ZERO;
    for round in 0..50u64 {
        put(&*log, at, (0..4).map(|n| round * 4 + n)).await;
        // It falls behind and catches up by turns, and comes to the end on its way.
        for _ in 0..round % 3 {
            let blocks = ok(ahead.read(next, Offset(150)).await);
            assert_eq!(bytes(&blocks), bytes(&ok(log.read(at, next, 1).await)));
            next = blocks.last().map_or(next, |block| block.header().end_offset());
        }
        if round % 10 == 9 {
            next = Offset(next.0 / 2);
        }
    }
    ok(log.trim(at, Offset(120)).await);
    let start = ok(log.bounds(at)).start;
    ahead = ReadAhead::new(log.clone(), at, 1);
    assert!(matches!(ahead.read(Offset::ZERO, Offset(u64::MAX)).await, Err(Error::Trimmed { .. })));
    let (blocks, expected) =
        (ok(ahead.read(start, Offset(u64::MAX)).await), ok(log.read(at, start, 1).await));
    assert_eq!(bytes(&blocks), bytes(&expected));
}

fn bytes(blocks: &[Block]) -> Vec<Bytes> {
    blocks.iter().map(Block::to_bytes).collect()
}

/// A read may start within a block, and gives at least one block whatever it may take.
pub async fn a_read_starts_with_the_block_that_holds_the_offset(engine: &dyn Engine) {
    let log = engine.create().await;
    let at = partition(&*stream(&*log, "blocks", 1).await, 0);
    for round in 0..10 {
        put(&*log, at, (0..10).map(|n| round * 10 + n)).await;
    }
    for from in 0..100 {
        let blocks = ok(log.read(at, Offset(from), 1).await);
        let first = blocks.first().unwrap_or_else(|| panic!("nothing at {from}"));
        assert!(first.header().base_offset <= Offset(from) && first.header().end_offset() > Offset(from));
        assert_eq!(ids(&read_all(&*log, at, Offset(from)).await).first(), Some(&from.to_string().as_str()));
    }
    let blocks = ok(log.read(at, Offset::ZERO, 1 << 20).await);
    assert_eq!(blocks.iter().map(|block| u64::from(block.header().count)).sum::<u64>(), 100);
}

/// Beyond the end, in partitions that are not there, in streams that are not there.
pub async fn reads_outside_the_bounds_are_refused(engine: &dyn Engine) {
    let log = engine.create().await;
    let def = stream(&*log, "bounded", 1).await;
    let at = partition(&def, 0);
    put(&*log, at, ["1"]).await;
    let beyond = log.read(at, Offset(2), 1024).await;
    assert!(matches!(beyond, Err(Error::BeyondEnd { from: Offset(2), end: Offset(1), .. })), "{beyond:?}");
    let missing = partition(&def, 1);
    assert!(matches!(log.read(missing, Offset::ZERO, 1024).await, Err(Error::NoPartition { .. })));
    assert!(matches!(log.bounds(missing), Err(Error::NoPartition { .. })));
    let nowhere = StreamPartition::new(StreamId(999), PartitionId(0));
    assert!(matches!(log.bounds(nowhere), Err(Error::NoStreamId(StreamId(999)))));
    assert!(log.end_signal(nowhere).is_err());
    assert!(matches!(log.trim(nowhere, Offset(1)).await, Err(Error::NoStreamId(_))));
}

/// Trimmed events are refused by name, at once and after a restart.
pub async fn trimmed_events_are_gone_and_stay_gone(engine: &dyn Engine) {
    let log = engine.create().await;
    let at = partition(&*stream(&*log, "trimmed", 1).await, 0);
    for n in 0..20 {
        put(&*log, at, [n]).await;
    }
    ok(log.trim(at, Offset(7)).await);
    ok(log.trim(at, Offset(3)).await);
    assert!(matches!(log.trim(at, Offset(21)).await, Err(Error::BeyondEnd { .. })));
    let check = async |log: &dyn Log| {
        let bounds = ok(log.bounds(at));
        assert_eq!((bounds.start, bounds.end), (Offset(7), Offset(20)));
        assert!(matches!(log.read(at, Offset(6), 64).await, Err(Error::Trimmed { start: Offset(7), .. })));
        let events = read_all(log, at, Offset(7)).await;
        assert_eq!(events.iter().map(|read| read.offset.0).collect::<Vec<_>>(), (7..20).collect::<Vec<_>>());
    };
    check(&*log).await;
    check(&*engine.reopen(log).await).await;
}

/// An empty partition remembers where it ended.
pub async fn a_trimmed_partition_goes_on_at_its_end(engine: &dyn Engine) {
    let log = engine.create().await;
    let at = partition(&*stream(&*log, "emptied", 1).await, 0);
    put(&*log, at, 0..10).await;
    ok(log.trim(at, Offset(10)).await);
    assert!(ok(log.read(at, Offset(10), 64).await).is_empty());
    let log = engine.reopen(log).await;
    let placed = put(&*log, at, ["next"]).await;
    assert_eq!(placed.base_offset, Offset(10));
    let events = read_all(&*log, at, Offset(10)).await;
    assert_eq!(events.first().map(|read| read.origin.sequence.0), Some(11));
}
