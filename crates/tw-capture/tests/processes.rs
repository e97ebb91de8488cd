//! Tests that need processes of their own: a source that is killed, a source whose memory is measured.
//!
//! Without a harness, because the program starts itself: `processes capture FOLDER URL TABLE…`. Arguments choose tests by
//! parts of their names. `TRADEWIND_TRANSACTION_MB` sets the size of the large transaction, 200 by default.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests stop at the first surprise"
)]

#[path = "server/load.rs"]
mod load;
#[path = "server/model.rs"]
mod model;
#[path = "server/store.rs"]
mod store;

use load::Writers;
use model::Model;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use store::{each_event, open_log, open_store_on};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{NoTls, SimpleQueryMessage};
use tw_capture::{CURSOR_TYPE, Cursor, GAP_TYPE, Lsn, Options, Place, SOURCES_STREAM, SnapshotPhase};
use tw_env::Env;
use tw_testing::{Postgres, eventually};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, folder, url, tables @ ..] = arguments.as_slice()
        && mode == "capture"
    {
        return capture(Path::new(folder), options(url, tables.to_vec()));
    }
    let tests: [(&str, fn()); 4] = [
        (
            "cap_1_cap_2_cap_3_a_source_that_is_killed_loses_and_repeats_nothing",
            cap_1_cap_2_cap_3_a_source_that_is_killed_loses_and_repeats_nothing,
        ),
        (
            "cap_1_cap_2_cap_3_a_server_that_is_killed_loses_and_repeats_nothing",
            cap_1_cap_2_cap_3_a_server_that_is_killed_loses_and_repeats_nothing,
        ),
        ("a_large_transaction_takes_bounded_memory", a_large_transaction_takes_bounded_memory),
        ("a_snapshot_of_large_rows_takes_bounded_memory", a_snapshot_of_large_rows_takes_bounded_memory),
    ];
    let chosen: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    for (name, test) in tests {
        if chosen.is_empty() || chosen.iter().any(|part| name.contains(part.as_str())) {
            let began = std::time::Instant::now();
            test();
            println!("test {name} ... ok ({:.1} s)", began.elapsed().as_secs_f32());
        }
    }
}

fn options(url: &str, tables: Vec<String>) -> Options {
    let mut options = Options::new("shop", url, tables);
    options.heartbeat_ms = 100;
    options.retry_ms_max = 200;
    options.chunk_rows_max = 200;
    options.write_bytes_max = 64 << 10;
    options.spool_bytes_max = 64 << 10;
    options
}

fn open_store(folder: &Path) -> tw_log::store::EventStore {
    open_store_on(folder, Arc::new(open_log(folder)))
}

fn start(folder: &Path, options: Options) -> (tw_log::store::EventStore, tw_capture::Handle) {
    let store = open_store(folder);
    let place = Place {
        store: store.clone(),
        env: Env::real(),
        scratch: folder.join("scratch"),
        gate: Arc::new(tw_capture::Ungated),
    };
    (store, tw_capture::start(options, place).unwrap())
}

/// Captures until it is killed or its parent ends, and says how far it is: events, bytes confirmed, peak of memory in KiB.
fn capture(folder: &Path, options: Options) {
    std::thread::spawn(|| {
        let _ended = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let (_store, source) = start(folder, options);
    let mut told = None;
    loop {
        let look = || {
            let status = source.status();
            let is = (status.counters.events, status.confirmed.0);
            (Some(is) != told).then_some(is)
        };
        let (events, confirmed) = eventually(look, || format!("{:#?}", source.status()));
        told = Some((events, confirmed));
        println!("{events} {confirmed} {}", peak_kib());
    }
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A process that captures.
struct Capturing {
    process: Child,
    _stdin: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Capturing {
    /// Waits until it has written this many events and confirmed this place; returns the peak of its memory.
    fn reach(&mut self, events: u64, confirmed: u64) -> u64 {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            let mut numbers = line.split(' ').map(|number| number.parse::<u64>().unwrap());
            if numbers.next().unwrap() >= events && numbers.next().unwrap() >= confirmed {
                return numbers.next().unwrap();
            }
        }
        panic!("the capturing process has ended");
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A server, and the folder of the log that its changes go to.
struct World {
    server: Postgres,
    folder: TempDir,
    runtime: Runtime,
    tables: Vec<String>,
}

impl World {
    fn new(server: Postgres, tables: &[&str]) -> Self {
        Self {
            server,
            folder: tempfile::tempdir().unwrap(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap(),
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
        }
    }

    fn url(&self) -> String {
        self.server.url("postgres")
    }

    /// The rows that a statement gives, as text.
    fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
            let connection = tokio::spawn(connection);
            let messages = client.simple_query(sql).await.unwrap();
            drop(client);
            connection.await.unwrap().unwrap();
            let row = |message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect())
                }
                _ => None,
            };
            messages.into_iter().filter_map(row).collect()
        })
    }

    fn lsn(&self, sql: &str) -> Lsn {
        self.sql(sql)[0][0].as_ref().unwrap().parse().unwrap()
    }

    /// Starts a process that captures.
    fn capture(&self) -> Capturing {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("capture")
            .arg(self.folder.path())
            .arg(self.url())
            .args(&self.tables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Capturing { _stdin: process.stdin.take().unwrap(), process, lines }
    }

    /// CAP-1: what the server may forget is in the log. Nobody may be capturing.
    fn check_confirmed(&self) {
        let slots = self.sql("SELECT confirmed_flush_lsn FROM pg_replication_slots");
        let confirmed = slots.first().and_then(|slot| slot[0].as_ref());
        let confirmed = confirmed.map_or(Lsn(0), |confirmed| confirmed.parse().unwrap());
        let log = open_store(self.folder.path()).log().clone();
        let mut cursor = None;
        self.runtime.block_on(each_event(log.as_ref(), SOURCES_STREAM, |stored| {
            if stored.event.ty == CURSOR_TYPE {
                cursor = Some(serde_json::from_slice::<Cursor>(stored.event.data.bytes()).unwrap());
            }
        }));
        let Some(cursor) = cursor.filter(|cursor| cursor.lsn > Lsn(0)) else { return };
        assert!(confirmed <= cursor.lsn, "{confirmed} is confirmed, the log has {}", cursor.lsn);
    }

    /// CAP-2: the streams, replayed, give the tables, and hold no event twice. CAP-3: no crash is a gap.
    fn check_tables(&self) {
        let (store, source) = start(self.folder.path(), options(&self.url(), self.tables.clone()));
        let now = self.lsn("SELECT pg_current_wal_insert_lsn()");
        let look = || {
            let status = source.status();
            let done = status.tables.iter().all(|table| table.snapshot == SnapshotPhase::Done);
            (status.confirmed >= now && done).then_some(())
        };
        eventually(look, || format!("{:#?}", source.status()));
        source.stop();
        for table in &self.tables {
            let stream = format!("shop.{table}");
            let def = store.log().streams().get(&stream).unwrap().clone();
            let mut events = Vec::new();
            self.runtime.block_on(each_event(store.log().as_ref(), &stream, |stored| events.push(stored)));
            let model = Model::of(&def, &events);
            let mut rows = self.sql(&format!("SELECT {} FROM {table}", model.columns.join(", ")));
            rows.sort();
            let replayed = model.rows();
            assert!(rows == replayed, "{stream}: {} rows instead of {}", replayed.len(), rows.len());
        }
        let is_gap = |stored: tw_types::Stored| assert_ne!(stored.event.ty, GAP_TYPE);
        self.runtime.block_on(each_event(store.log().as_ref(), SOURCES_STREAM, is_gap));
    }
}

/// Tables with rows, and a server that streams every transaction of more than a few hundred of them.
fn busy() -> (World, Writers) {
    let server = Postgres::builder().setting("logical_decoding_work_mem", "64kB").start();
    let world = World::new(server, &["t", "bag"]);
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t SELECT g, 'old' FROM generate_series(0, 5999) g;
         CREATE TABLE bag (id bigserial, x text); INSERT INTO bag (x) SELECT 'old' FROM generate_series(1, 500) g",
    );
    let writers = Writers::start(&world.runtime, &world.url(), 3, true);
    (world, writers)
}

/// A transaction that is streamed, with parts that are rolled back.
const LARGE: &str = "BEGIN; INSERT INTO bag (x) SELECT repeat('a', 100) FROM generate_series(1, 1500);
    SAVEPOINT s; INSERT INTO bag (x) SELECT repeat('b', 100) FROM generate_series(1, 1500); ROLLBACK TO s;
    INSERT INTO bag (x) SELECT repeat('c', 100) FROM generate_series(1, 1000); COMMIT";

/// A transaction with another column of each table, and a row that has it; now and then it fills the rows that are there.
fn new_column(round: u64) -> String {
    let filled = if round % 4 == 3 { "DEFAULT 7" } else { "" };
    format!(
        "BEGIN; ALTER TABLE t ADD c{round} int {filled}; INSERT INTO t (id, c{round}) VALUES (-1 - {round}, {round});
         ALTER TABLE bag ADD c{round} int {filled}; INSERT INTO bag (c{round}) VALUES ({round}); COMMIT"
    )
}

fn cap_1_cap_2_cap_3_a_source_that_is_killed_loses_and_repeats_nothing() {
    let (world, writers) = busy();
    for round in 0..14u64 {
        let mut capturing = world.capture();
        world.sql(LARGE);
        world.sql(&new_column(round));
        // Another number of events each time, so that it dies in other places; sometimes before the first one.
        let events = if round % 5 == 4 { 0 } else { 1 + round * 997 % 6000 };
        capturing.reach(events, 0);
        capturing.kill();
        world.check_confirmed();
    }
    assert!(writers.stop(&world.runtime) > 100);
    world.check_tables();
}

fn cap_1_cap_2_cap_3_a_server_that_is_killed_loses_and_repeats_nothing() {
    let (mut world, writers) = busy();
    let mut capturing = world.capture();
    let mut events = 0;
    for round in 0..12u64 {
        world.sql(LARGE);
        events += 1 + round * 577 % 3000;
        capturing.reach(events, 0);
        world.server.kill();
        // Every third time, nobody is left who would know.
        if round % 3 == 2 {
            capturing.kill();
            world.server.start_again();
            world.check_confirmed();
            (capturing, events) = (world.capture(), 0);
        } else {
            world.server.start_again();
        }
    }
    capturing.reach(events + 1, 0);
    capturing.kill();
    assert!(writers.stop(&world.runtime) > 100);
    world.check_tables();
}

/// What the log, its index and the source may have by their options, and what the program itself takes.
const PEAK_KIB_MAX: u64 = 128 << 10;

fn a_snapshot_of_large_rows_takes_bounded_memory() {
    const ROWS: u64 = 250;
    for (table, key) in [("t", "PRIMARY KEY"), ("bag", "")] {
        let world = World::new(Postgres::start(), &[table]);
        world.sql(&format!(
            "CREATE TABLE {table} (id int {key}, x text);
             INSERT INTO {table} SELECT g, repeat(md5(g::text), 32 << 10) FROM generate_series(1, {ROWS}) g"
        ));
        let mut capturing = world.capture();
        let peak_kib = capturing.reach(ROWS, 0);
        capturing.kill();
        assert!(peak_kib < PEAK_KIB_MAX, "{peak_kib} KiB for {ROWS} rows of 1 MiB in `{table}`");
        println!("{ROWS} rows of 1 MiB in `{table}` took {} MiB of memory", peak_kib >> 10);
        world.check_tables();
    }
}

fn a_large_transaction_takes_bounded_memory() {
    let mb: u64 = std::env::var("TRADEWIND_TRANSACTION_MB").map_or(200, |mb| mb.parse().unwrap());
    let rows = mb * 1000;
    let world = World::new(Postgres::start(), &["t"]);
    world.sql("CREATE TABLE t (id int PRIMARY KEY, x text)");
    let mut capturing = world.capture();
    capturing.reach(1, 1);
    world.sql(&format!(
        "INSERT INTO t SELECT g, repeat(md5(g::text), 31) FROM generate_series(0, {}) g",
        rows - 1
    ));
    let peak_kib = capturing.reach(rows, world.lsn("SELECT pg_current_wal_insert_lsn()").0);
    capturing.kill();
    assert!(peak_kib < PEAK_KIB_MAX, "{peak_kib} KiB for a transaction of {mb} MB");
    let store = open_store(world.folder.path());
    let mut seen = vec![false; rows as usize];
    world.runtime.block_on(each_event(store.log().as_ref(), "shop.t", |stored| {
        let id: usize = stored.event.subject.unwrap().parse().unwrap();
        assert!(stored.event.data.bytes().len() > 31 * 32);
        assert!(!std::mem::replace(&mut seen[id], true), "row {id} is there twice");
    }));
    assert!(seen.into_iter().all(|seen| seen));
    println!("{mb} MB in one transaction took {} MiB of memory", peak_kib >> 10);
}
