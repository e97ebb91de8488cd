//! Reading by subject when there are many, opening, memory.

use super::world::{Dice, Engine, World, event, resident_mib};
use crate::report::{cpu, ms, quantile};
use std::path::Path;
use std::time::{Duration, Instant};
use tw_log::store::{EventStore, Options};
use tw_types::{StreamPartition, Version};

const PARTITIONS: u32 = 4;
const READS: usize = 20_000;

pub(crate) async fn run(folder: &Path, engine: Engine, events: u64, subjects: u64) -> anyhow::Result<()> {
    let world = World::new(engine, &folder.join("log"), PARTITIONS).await?;
    let index = folder.join("index");
    println!(
        "{events} events of {subjects} subjects (uniform) in {}, {PARTITIONS} partitions",
        engine.describe()
    );
    let store = world.store(&index, Options::default())?;
    let (before, started, cpu_before) = (resident_mib(), Instant::now(), cpu());
    let mut dice = Dice(11);
    let mut number = 0;
    let mut index_peak = 0;
    while number < events {
        let mut write = store.write();
        write.dedup_by_id(false);
        for _ in 0..1_000.min(events - number) {
            // Each subject once, then any.
            let key = if number < subjects { number } else { dice.next() % subjects };
            write.push(&world.stream, &event(&format!("customer-{key:012}"), &format!("{number:032x}")))?;
            number += 1;
        }
        drop(store.append(write).await?);
        index_peak = index_peak.max(store.index_bytes());
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "append: {:.0} events/s, {:.2} µs of processor time per event; index in memory at most {} MiB; process {:.0} MiB",
        events as f64 / seconds,
        (cpu() - cpu_before) * 1e6 / events as f64,
        index_peak >> 20,
        resident_mib() - before,
    );
    latencies("in memory and stored", &world, &store, subjects).await?;
    let started = Instant::now();
    store.flush()?;
    println!("flush of the rest: {} ms", ms(started.elapsed()));
    drop(store);
    let started = Instant::now();
    let store = world.store(&index, Options::default())?;
    let opened = started.elapsed();
    store.warm().await?;
    println!(
        "open: {} ms, then warm: {} ms (everything was stored)",
        ms(opened),
        ms(started.elapsed() - opened)
    );
    latencies("stored", &world, &store, subjects).await?;
    drop(store);
    std::fs::remove_dir_all(&index)?;
    let started = Instant::now();
    let store = world.store(&index, Options::default())?;
    store.warm().await?;
    let seconds = started.elapsed().as_secs_f64();
    println!("index lost: rebuilt from the log in {seconds:.2} s, {:.0} events/s", events as f64 / seconds);
    latencies("rebuilt", &world, &store, subjects).await
}

async fn latencies(stage: &str, world: &World, store: &EventStore, subjects: u64) -> anyhow::Result<()> {
    let mut dice = Dice(13);
    let (mut versions, mut misses, mut histories) = (Vec::new(), Vec::new(), Vec::new());
    let mut bare = Vec::new();
    for _ in 0..READS {
        let subject = format!("customer-{:012}", dice.next() % subjects);
        let started = Instant::now();
        let version = store.version(world.stream.id, &subject).await?;
        versions.push(started.elapsed());
        let from = Version(version.0.saturating_sub(9).max(1));
        let started = Instant::now();
        let history = store.history(world.stream.id, &subject, from, 10).await?;
        histories.push(started.elapsed());
        anyhow::ensure!(
            history.last().is_some_and(|last| last.version == version),
            "a history is not complete"
        );
        // What the log alone needs for the same events, for somebody who knows where they are.
        let started = Instant::now();
        for stored in &history {
            let at = StreamPartition::new(world.stream.id, stored.position.partition);
            let blocks = world.log.read(at, stored.position.offset, 1).await?;
            anyhow::ensure!(!blocks.is_empty(), "the log lacks an event");
        }
        bare.push(started.elapsed());
        let started = Instant::now();
        let none = store.version(world.stream.id, &format!("nobody-{subject}")).await?;
        misses.push(started.elapsed());
        anyhow::ensure!(none == Version::NONE, "a subject without events has a version");
    }
    let print = |what: &str, times: &[Duration]| {
        let us = |share| quantile(times, share).as_secs_f64() * 1e6;
        println!("{stage}: {what}: p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs", us(0.5), us(0.99), us(0.999));
    };
    print("version", &versions);
    print("version of no subject", &misses);
    print("history of the latest 10", &histories);
    print("reading their blocks from the bare log", &bare);
    Ok(())
}
