//! Clients that keep a server busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

/// Clients that insert, update, delete, move keys, roll back and now and then truncate in the table `t (id int PRIMARY KEY,
/// x text)`, until told to stop. Transactions overlap and keep their number for a while, so that a chunk's snapshot often
/// falls between a change and its commit. A client whose server goes away connects again.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
}

impl Writers {
    pub(crate) fn start(runtime: &Runtime, url: &str, count: u64, truncate: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let commits = Arc::new(AtomicU64::new(0));
        let tasks = (1..=count)
            .map(|seed| {
                let writer = write(url.to_owned(), seed, truncate, stop.clone(), commits.clone());
                runtime.spawn(writer)
            })
            .collect();
        Self { stop, tasks, commits }
    }

    pub(crate) fn stop(self, runtime: &Runtime) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            runtime.block_on(task).unwrap();
        }
        self.commits.load(Ordering::Relaxed)
    }
}

async fn write(url: String, mut seed: u64, truncate: bool, stop: Arc<AtomicBool>, commits: Arc<AtomicU64>) {
    let mut client: Option<Client> = None;
    let mut again = tokio::time::interval(Duration::from_millis(20));
    while !stop.load(Ordering::Relaxed) {
        let Some(connected) = client.as_ref().filter(|client| !client.is_closed()) else {
            // The server may be away for the moment.
            again.tick().await;
            client = connect(&url).await;
            continue;
        };
        let sql = transaction(&mut seed, truncate);
        // Deadlocks and duplicate keys roll back, which is part of the game.
        match connected.batch_execute(&sql).await {
            Ok(()) => _ = commits.fetch_add(1, Ordering::Relaxed),
            Err(_) => _ = connected.batch_execute("ROLLBACK").await,
        }
    }
}

async fn connect(url: &str) -> Option<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    tokio::spawn(async move {
        let _ended_with_the_server = connection.await;
    });
    Some(client)
}

/// The next number of a fixed sequence (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn transaction(seed: &mut u64, truncate: bool) -> String {
    let mut sql = "BEGIN;".to_owned();
    if truncate && next(seed).is_multiple_of(400) {
        sql.push_str("TRUNCATE t;");
    }
    for _ in 0..1 + next(seed) % 4 {
        let (key, value) = (next(seed) % 3000, next(seed) % 1_000_000);
        sql.push_str(&match next(seed) % 8 {
            0 | 1 => {
                format!("INSERT INTO t VALUES ({key}, 'new {value}') ON CONFLICT (id) DO NOTHING;")
            }
            2..=4 => format!("UPDATE t SET x = 'set {value}' WHERE id = {key};"),
            5 => format!("DELETE FROM t WHERE id = {key};"),
            6 => format!("UPDATE t SET id = {} WHERE id = {key};", 3000 + value),
            _ => format!("SAVEPOINT s; UPDATE t SET x = 'undone' WHERE id = {key}; ROLLBACK TO s;"),
        });
    }
    if next(seed).is_multiple_of(3) {
        sql.push_str("SELECT pg_sleep(0.002);");
    }
    sql.push_str(if next(seed).is_multiple_of(10) { "ROLLBACK" } else { "COMMIT" });
    sql
}
