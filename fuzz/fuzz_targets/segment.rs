//! The files of a log: a log is written once, then bytes of its files are changed; whatever they say then is read or
//! told as damage, and no event appears that was not written.
//!
//! The input is a list of changes of seven bytes: file, position (4 bytes), how many bytes (up to 16), and the bits to
//! flip. An input that starts with 0xff is a whole segment or index file instead.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tw_env::sim::Sim;
use tw_env::{Disk, Env, OpenMode};
use tw_log::{Append, EmbeddedLog, Log, NewStream, Options, inspect, verify};
use tw_types::{Compression, Data, Event, PartitionId, StreamName, StreamPartition};
use tw_wire::BatchBuilder;

const EVENTS: u64 = 300;
static LOG: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();

fuzz_target!(|input: &[u8]| {
    let sim = Sim::new(1);
    let folder = Path::new("/log");
    sim.disk.create_dir_all(folder).expect("a folder");
    if let Some(content) = input.strip_prefix(&[0xff]) {
        for name in ["000000000001.seg", "000000000001.idx"] {
            put(&sim, &folder.join(name), content);
        }
    } else {
        let mut files = LOG.get_or_init(write).clone();
        for change in input.chunks_exact(7) {
            let file = usize::from(change[0]) % files.len();
            let content = &mut files[file].1;
            let position =
                u32::from_le_bytes([change[1], change[2], change[3], change[4]]) as usize % content.len();
            content
                .iter_mut()
                .skip(position)
                .take(usize::from(change[5] % 16))
                .for_each(|byte| *byte ^= change[6]);
        }
        files.iter().for_each(|(path, content)| put(&sim, path, content));
    }
    for path in sim.disk.list(folder).expect("a list") {
        let _read_or_refused = inspect(&path, &sim.env());
    }
    let found = verify(folder, &sim.env()).expect("damage is told, not an error");
    let events: u64 = found.partitions.iter().filter(|p| p.stream_id > 0).map(|p| p.events).sum();
    assert!(events <= EVENTS, "{events} events are there, {EVENTS} were written");
});

fn put(sim: &Sim, path: &Path, content: &[u8]) {
    let file = sim.disk.open(path, OpenMode::CreateNew).expect("a new file");
    file.write_all_at(&mut [IoSlice::new(content)], 0).expect("room");
}

/// The files of a log with several segments.
fn write() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = std::env::temp_dir().join(format!("tradewind-fuzz-{}", std::process::id()));
    let options = Options {
        segment_bytes: 64 << 10,
        append_bytes_max: 32 << 10,
        group_bytes_max: 16 << 10,
        in_flight_bytes_max: 1 << 20,
        spare_segments: 1,
        ..Options::default()
    };
    let log = EmbeddedLog::open(&folder, options, Env::real()).expect("a log");
    let name = StreamName::new("fuzz").expect("a name");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let stream = runtime.block_on(log.create_stream(NewStream::plain(name, 2))).expect("a stream").id;
    for n in 0..EVENTS {
        let data = Data::Binary(vec![n as u8; 700]);
        let event =
            Event { id: n.to_string(), source: "/fuzz".into(), ty: "tick".into(), data, ..Event::default() };
        let mut builder = BatchBuilder::new();
        builder.push(&event.as_ref());
        let batch = builder.finish(Compression::None).expect("a batch");
        let at = StreamPartition::new(stream, PartitionId((n % 2) as u32));
        let permit = log.try_reserve(batch.bytes()).expect("room");
        log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }])
            .wait()
            .expect("an append");
    }
    log.close();
    drop(log);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("a list")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some())
        .map(|path| {
            let content = std::fs::read(&path).expect("a file");
            (Path::new("/log").join(path.file_name().expect("a name")), content)
        })
        .collect();
    files.sort();
    std::fs::remove_dir_all(&folder).expect("it can be removed");
    files
}
