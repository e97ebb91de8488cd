//! Appending through the store, and the same batches straight into the log.

use super::world::{Dice, Engine, World, Zipf, event};
use crate::report::{cpu, median};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use std::path::Path;
use std::time::Instant;
use tw_log::Append;
use tw_log::store::{EventStore, Options};
use tw_order::partition_of;
use tw_types::{Compression, StreamPartition, Version};
use tw_wire::BatchBuilder;

/// Writes under way at a time.
const DEPTH: usize = 64;
const PARTITIONS: u32 = 4;

/// Which subjects events have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subjects {
    Hot,
    New,
    Zipf,
}

#[derive(Debug, Clone, Copy)]
struct Workload {
    name: &'static str,
    subjects: Subjects,
    batch: usize,
    dedup: bool,
}

const WORKLOADS: [Workload; 8] = [
    Workload { name: "hot, single", subjects: Subjects::Hot, batch: 1, dedup: true },
    Workload { name: "hot, batches", subjects: Subjects::Hot, batch: 1_000, dedup: true },
    Workload { name: "hot, batches, no dedup", subjects: Subjects::Hot, batch: 1_000, dedup: false },
    Workload { name: "new, single", subjects: Subjects::New, batch: 1, dedup: true },
    Workload { name: "new, batches", subjects: Subjects::New, batch: 1_000, dedup: true },
    Workload { name: "new, batches, no dedup", subjects: Subjects::New, batch: 1_000, dedup: false },
    Workload { name: "zipf, single", subjects: Subjects::Zipf, batch: 1, dedup: true },
    Workload { name: "zipf, batches", subjects: Subjects::Zipf, batch: 1_000, dedup: true },
];

/// What one run took, per event.
#[derive(Debug, Clone, Copy)]
struct Cost {
    events_per_s: f64,
    cpu_us: f64,
}

pub(crate) async fn run(
    folder: &Path,
    engine: Engine,
    rounds: usize,
    events: u64,
    only: &str,
) -> anyhow::Result<()> {
    println!(
        "events of about 256 bytes into {} with {PARTITIONS} partitions, {DEPTH} writes under way, {events} events; hot: 64 subjects, zipf: 1,000,000 subjects; the index is kept on the disk, and \
         its storing and compaction are part of the processor time; medians of {rounds} rounds",
        engine.describe(),
    );
    println!(
        "{:<24}{:>14}{:>14}{:>14}{:>14}{:>14}",
        "", "log ev/s", "store ev/s", "log µs", "store µs", "added µs"
    );
    let zipf = Zipf::new(1_000_000);
    for workload in WORKLOADS.into_iter().filter(|workload| workload.name.contains(only)) {
        let (mut bare, mut store) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let subjects = subjects(workload, events, &zipf);
            // Each in a folder of its own, which is gone before the next one starts.
            let place = folder.join(format!("round-{round}"));
            std::fs::create_dir(&place)?;
            bare.push(
                log_alone(workload, &World::new(engine, &place.join("bare"), PARTITIONS).await?, &subjects)
                    .await?,
            );
            std::fs::remove_dir_all(&place)?;
            std::fs::create_dir(&place)?;
            let world = World::new(engine, &place.join("log"), PARTITIONS).await?;
            store.push(through_store(workload, &world, &subjects, &place.join("index")).await?);
            drop(world);
            std::fs::remove_dir_all(&place)?;
        }
        let of =
            |costs: &[Cost], value: fn(&Cost) -> f64| median(&costs.iter().map(value).collect::<Vec<_>>());
        let (log_us, store_us) = (of(&bare, |cost| cost.cpu_us), of(&store, |cost| cost.cpu_us));
        println!(
            "{:<24}{:>14.0}{:>14.0}{:>14.2}{:>14.2}{:>14.2}",
            workload.name,
            of(&bare, |cost| cost.events_per_s),
            of(&store, |cost| cost.events_per_s),
            log_us,
            store_us,
            store_us - log_us,
        );
    }
    Ok(())
}

/// The subject of each event, as numbers.
fn subjects(workload: Workload, events: u64, zipf: &Zipf) -> Vec<u64> {
    let mut dice = Dice(7);
    (0..events)
        .map(|number| match workload.subjects {
            Subjects::Hot => number % 64,
            Subjects::New => number,
            Subjects::Zipf => zipf.roll(&mut dice),
        })
        .collect()
}

fn cost(events: usize, started: Instant, cpu_before: f64) -> Cost {
    let seconds = started.elapsed().as_secs_f64();
    Cost { events_per_s: events as f64 / seconds, cpu_us: (cpu() - cpu_before) * 1e6 / events as f64 }
}

/// The same encoding, without anybody who knows subjects.
async fn log_alone(workload: Workload, world: &World, subjects: &[u64]) -> anyhow::Result<Cost> {
    let (started, cpu_before) = (Instant::now(), cpu());
    let mut pending = FuturesOrdered::new();
    let mut number = 0u64;
    let (mut subject, mut id) = (String::new(), String::new());
    for write in subjects.chunks(workload.batch) {
        let mut builders: Vec<_> = (0..PARTITIONS).map(|_| None).collect();
        for key in write {
            name(&mut subject, &mut id, *key, number);
            number += 1;
            let partition = partition_of(&subject, PARTITIONS);
            if let Some(builder) = builders.get_mut(partition.0 as usize) {
                builder.get_or_insert_with(BatchBuilder::new).push(&event(&subject, &id));
            }
        }
        let mut parts = Vec::new();
        for (builder, partition) in builders.iter_mut().zip(0..) {
            if let Some(builder) = builder {
                let batch = builder.finish(Compression::None)?;
                let versions = (0..u64::from(batch.count())).map(Version);
                let at = StreamPartition::new(world.stream.id, tw_types::PartitionId(partition));
                parts.push(Append {
                    at,
                    batch: batch.with_versions(versions)?,
                    expected_end: None,
                    foreign: None,
                });
            }
        }
        let permit = world.log.reserve(parts.iter().map(|part| part.batch.bytes()).sum()).await?;
        pending.push_back(world.log.append(permit, parts));
        if pending.len() >= DEPTH {
            pending.next().await.transpose()?;
        }
    }
    while pending.next().await.transpose()?.is_some() {}
    Ok(cost(subjects.len(), started, cpu_before))
}

async fn through_store(
    workload: Workload,
    world: &World,
    subjects: &[u64],
    index: &Path,
) -> anyhow::Result<Cost> {
    let store: EventStore = world.store(index, Options::default())?;
    let (started, cpu_before) = (Instant::now(), cpu());
    let mut pending = FuturesOrdered::new();
    let mut number = 0u64;
    let (mut subject, mut id) = (String::new(), String::new());
    for keys in subjects.chunks(workload.batch) {
        let mut write = store.write();
        write.dedup_by_id(workload.dedup);
        for key in keys {
            name(&mut subject, &mut id, *key, number);
            number += 1;
            write.push(&world.stream, &event(&subject, &id))?;
        }
        pending.push_back(store.submit(write).await?);
        if pending.len() >= DEPTH {
            pending.next().await.transpose()?;
        }
    }
    while pending.next().await.transpose()?.is_some() {}
    let wall = started.elapsed();
    store.flush()?;
    drop(store);
    let all = cost(subjects.len(), started, cpu_before);
    Ok(Cost { events_per_s: subjects.len() as f64 / wall.as_secs_f64(), ..all })
}

fn name(subject: &mut String, id: &mut String, key: u64, number: u64) {
    use std::fmt::Write;
    subject.clear();
    id.clear();
    // Writing to a string does not fail.
    let _ = write!(subject, "customer-{key:012}");
    let _ = write!(id, "{number:032x}");
}
