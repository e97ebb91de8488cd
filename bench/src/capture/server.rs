//! A PostgreSQL server with changes that wait in a slot.

use anyhow::{Context, bail, ensure};
use std::cell::Cell;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tw_testing::Postgres;

/// The table that is written to.
pub(crate) const TABLE: &str = "orders";
/// What publishes it.
pub(crate) const PUBLICATION: &str = "bench";

/// A server of its own.
pub(crate) struct Server {
    postgres: Postgres,
    slots: Cell<u32>,
}

/// Changes between two places of the write-ahead log.
pub(crate) struct Filled {
    /// A slot at the first place, to be copied.
    slot: String,
    /// The second place.
    pub(crate) end: String,
}

impl Server {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let postgres = Postgres::builder()
            .setting("shared_buffers", "512MB")
            .setting("max_wal_size", "16GB")
            .setting("checkpoint_timeout", "1h")
            .start();
        let server = Self { postgres, slots: Cell::new(0) };
        let columns =
            "id bigserial PRIMARY KEY, customer int NOT NULL, total numeric(10,2), note text, at timestamptz";
        server.sql(&[
            &format!("CREATE TABLE {TABLE} ({columns})"),
            &format!(
                "CREATE PUBLICATION {PUBLICATION} FOR TABLE {TABLE} WITH (publish_via_partition_root = true)"
            ),
        ])?;
        Ok(server)
    }

    pub(crate) fn major(&self) -> u32 {
        self.postgres.install().major()
    }

    pub(crate) fn url(&self) -> String {
        self.postgres.url("postgres")
    }

    /// Runs statements of one session, and returns the lines that they print.
    fn sql(&self, statements: &[&str]) -> anyhow::Result<String> {
        let mut command = self.postgres.command("psql");
        command.args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-d", &self.url()]);
        for statement in statements {
            command.args(["-c", statement]);
        }
        let output = command.output().context("run psql")?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Inserts rows, in transactions of `step` rows, behind a new slot.
    pub(crate) fn fill(&self, rows: u64, step: u64) -> anyhow::Result<Filled> {
        let slot = format!("from_{step}");
        let create = format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
        let insert = format!(
            "DO $$ BEGIN FOR i IN 1..{} LOOP
               INSERT INTO {TABLE} (customer, total, note, at)
                 SELECT g::bigint * 7919 % 50000, (g % 100000) / 100.0, 'order number ' || g, now()
                 FROM generate_series(i, i + {step} - 1) g;
               COMMIT; END LOOP; END $$",
            rows / step
        );
        // The last transaction is on the disk, and so are all before it.
        let told = self.sql(&[
            &create,
            "SET synchronous_commit = off",
            &insert,
            "SET synchronous_commit = on",
            "SELECT pg_logical_emit_message(true, 'bench', 'end')",
            "SELECT pg_current_wal_flush_lsn()",
        ])?;
        let end = told.lines().last().unwrap_or_default().to_owned();
        Ok(Filled { slot, end })
    }

    /// A fresh slot that holds what `filled` holds.
    pub(crate) fn copy_slot(&self, filled: &Filled) -> anyhow::Result<String> {
        self.slots.set(self.slots.get() + 1);
        let name = format!("copy_{}", self.slots.get());
        self.sql(&[&format!("SELECT pg_copy_logical_replication_slot('{}', '{name}')", filled.slot)])?;
        Ok(name)
    }

    pub(crate) fn drop_slot(&self, name: &str) -> anyhow::Result<()> {
        self.sql(&[&format!("SELECT pg_drop_replication_slot('{name}')")]).map(drop)
    }

    /// How long `pg_recvlogical` takes to receive what `filled` holds.
    pub(crate) fn drain(&self, filled: &Filled) -> anyhow::Result<Duration> {
        let slot = self.copy_slot(filled)?;
        let mut command = self.postgres.command("pg_recvlogical");
        command.args(["--dbname", &self.url(), "--slot", &slot, "--start", "--no-loop", "--file", "-"]);
        command.args([
            "--endpos",
            &filled.end,
            "-o",
            "proto_version=2",
            "-o",
            "streaming=on",
            "-o",
            "messages=true",
        ]);
        command.args(["-o", &format!("publication_names={PUBLICATION}")]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let began = Instant::now();
        let output = command.output().context("run pg_recvlogical")?;
        let took = began.elapsed();
        if !output.status.success() {
            bail!("pg_recvlogical: {}", String::from_utf8_lossy(&output.stderr));
        }
        self.drop_slot(&slot)?;
        Ok(took)
    }

    /// How many changes a second the Debezium engine receives of what `filled` holds, once it has begun.
    pub(crate) fn debezium(&self, filled: &Filled, python: &Path, rows: u64) -> anyhow::Result<f64> {
        let slot = self.copy_slot(filled)?;
        let output = Command::new(python)
            .args([
                "-c",
                include_str!("debezium.py"),
                &self.postgres.port().to_string(),
                &slot,
                PUBLICATION,
                TABLE,
            ])
            .arg(rows.to_string())
            .output()
            .context("run Python")?;
        let told = String::from_utf8_lossy(&output.stdout);
        let numbers = told.lines().last().and_then(|line| line.split_once(' '));
        let (seen, seconds) = numbers.with_context(|| {
            format!("the Debezium engine: {told} {}", String::from_utf8_lossy(&output.stderr))
        })?;
        // The server may not have noticed yet that it is gone.
        let gone = Instant::now() + Duration::from_secs(10);
        while let Err(error) = self.drop_slot(&slot) {
            ensure!(Instant::now() < gone, error);
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(seen.parse::<f64>()? / seconds.parse::<f64>()?)
    }
}
