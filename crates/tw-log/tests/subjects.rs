//! LOG-2, LOG-3 with a million subjects in one stream, in bounded memory: measured, in a process of its own.
//!
//! Without a harness, because the program starts itself: `subjects measure FOLDER COUNT`. `TRADEWIND_SUBJECTS` sets
//! another count; ten million take a minute or two in a release build.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tw_env::Env;
use tw_log::store::{EventStore, Options, Write};
use tw_log::{EmbeddedLog, Log, NewStream};
use tw_state::DiskStore;
use tw_types::{EventRef, ExpectedVersion, StreamDef, StreamName, Version};

const PARTITIONS: u32 = 4;
const BATCH: u64 = 1_000;
/// One in so many subjects is written to twice.
const SECOND: usize = 993;
/// What the index may have of memory, and what the store below it may.
const INDEX_BYTES: u64 = 16 << 20;
const CACHE_BYTES: u64 = 8 << 20;
const WRITE_BUFFER_BYTES: u64 = 4 << 20;
/// What the log may have: appends under way, the latest blocks, indexes of segments.
const LOG_BYTES: u64 = 20 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).map(String::as_str) == Some("measure") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        return runtime.block_on(measure(Path::new(&arguments[2]), arguments[3].parse().unwrap()));
    }
    let count = std::env::var("TRADEWIND_SUBJECTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000u64);
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .arg("measure")
        .arg(folder.path())
        .arg(count.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let peak_kib: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    // Bloom filters and block indexes of the stored index grow with it: about two bytes a subject.
    let bound_kib = ((INDEX_BYTES + CACHE_BYTES + 4 * WRITE_BUFFER_BYTES + LOG_BYTES) >> 10)
        + 48 * 1024
        + count * 2 / 1024;
    assert!(peak_kib < bound_kib, "{count} subjects took {peak_kib} KiB, over {bound_kib} KiB");
    println!("test {count}_subjects_fit_in_bounded_memory ... ok ({peak_kib} KiB of {bound_kib} KiB)");
}

fn name(number: u64) -> String {
    format!("customer-{number:012}")
}

fn push(write: &mut Write, stream: &Arc<StreamDef>, subject: &str, id: &str) {
    let event = EventRef { id, source: "/test", ty: "t", subject: Some(subject), ..EventRef::default() };
    write.push(stream, &event).unwrap();
}

/// Appends one event of every subject, then a second one of some, and loses the index in between.
async fn measure(folder: &Path, count: u64) {
    let options = tw_log::Options {
        segment_bytes: 16 << 20,
        append_bytes_max: 4 << 20,
        group_bytes_max: 2 << 20,
        in_flight_bytes_max: 8 << 20,
        tail_bytes: 4 << 20,
        index_cache_bytes: 4 << 20,
        ..tw_log::Options::default()
    };
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(folder.join("log"), options, Env::real()).unwrap());
    let stream =
        log.create_stream(NewStream::plain(StreamName::new("s").unwrap(), PARTITIONS)).await.unwrap();
    let store = open(&log, &folder.join("state"));
    let mut before = None;
    for start in (0..count).step_by(BATCH as usize) {
        let mut write = store.write();
        for number in start..(start + BATCH).min(count) {
            push(&mut write, &stream, &name(number), &number.to_string());
        }
        // One write is being stored while the next one is made.
        if let Some(before) = before.replace(store.submit(write).await.unwrap()) {
            before.await.unwrap();
        }
        assert!(store.index_bytes() < 2 * INDEX_BYTES as usize);
    }
    before.unwrap().await.unwrap();
    check(&store, &stream, count, 1).await;
    drop(store);
    let store = open(&log, &folder.join("state"));
    let mut seconds = Vec::new();
    for number in (0..count).step_by(SECOND) {
        let mut write = store.write();
        push(&mut write, &stream, &name(number), "second");
        write.expect(&stream, &name(number), ExpectedVersion::Exact(Version(1)));
        seconds.push(store.submit(write).await.unwrap());
    }
    for second in seconds {
        assert_eq!(second.await.unwrap().events[0].version, Version(2));
    }
    check(&store, &stream, count, 2).await;
    drop(store);
    std::fs::remove_dir_all(folder.join("state")).unwrap();
    let store = open(&log, &folder.join("state"));
    store.warm().await.unwrap();
    check(&store, &stream, count, 2).await;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("{}", peak.trim().trim_end_matches(" kB"));
}

/// Asks for the versions of some subjects, for a few histories, and for a subject that is not there. Every
/// [`SECOND`] subject has `latest` events.
async fn check(store: &EventStore, stream: &StreamDef, count: u64, latest: u64) {
    for number in (0..count).step_by(SECOND / 3) {
        let subject = name(number);
        let expected = if number.is_multiple_of(SECOND as u64) { latest } else { 1 };
        assert_eq!(store.version(stream.id, &subject).await.unwrap(), Version(expected), "{subject}");
        if number.is_multiple_of(10) {
            let history = store.history(stream.id, &subject, Version(1), 10).await.unwrap();
            assert_eq!(history.len() as u64, expected, "{subject}");
        }
    }
    assert_eq!(store.version(stream.id, "nobody").await.unwrap(), Version::NONE);
}

fn open(log: &Arc<dyn Log>, folder: &Path) -> EventStore {
    let state = tw_state::Options {
        cache_bytes: CACHE_BYTES,
        write_buffer_bytes: WRITE_BUFFER_BYTES,
        ..tw_state::Options::default()
    };
    let state = Arc::new(DiskStore::open(folder, state).unwrap());
    let options = Options { index_bytes_max: INDEX_BYTES, ..Options::default() };
    EventStore::open(log.clone(), state, Env::real(), options).unwrap()
}
