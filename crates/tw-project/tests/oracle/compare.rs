//! One history, all its queries, and whether the answers are the same.

use crate::driver::{Driver, table_name};
use crate::history::{Change, Table};
use crate::queries::Query;
use crate::random::Random;
use crate::server::Server;
use tw_project::Request;
use tw_types::Timestamp;

/// What became of the cases.
#[derive(Debug, Default)]
pub struct Outcome {
    /// All answers were the same.
    pub equal: usize,
    /// We refuse the query, and say why.
    pub refused: usize,
    /// PostgreSQL has no answer: a division by zero, an overflow.
    pub failed: usize,
    /// We had to reject a row for which an expression has no value, as PostgreSQL would have failed.
    pub rejected: usize,
    /// The answers differ.
    pub wrong: Vec<String>,
    /// A reason for each kind of refusal.
    pub reasons: std::collections::BTreeSet<String>,
}

impl Outcome {
    pub fn all(&self) -> usize {
        self.equal + self.refused + self.failed + self.rejected + self.wrong.len()
    }

    pub fn add(&mut self, other: Self) {
        self.equal += other.equal;
        self.refused += other.refused;
        self.failed += other.failed;
        self.rejected += other.rejected;
        self.wrong.extend(other.wrong);
        self.reasons.extend(other.reasons);
    }
}

type Rows = Vec<Vec<Option<String>>>;

/// Plays a history.
pub fn history(
    server: &mut Server,
    table: &Table,
    changes: &[Change],
    queries: &[Query],
    random: &mut Random,
    number: u64,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut driver = Driver::new(table);
    let mut open = Vec::new();
    for (index, query) in queries.iter().enumerate() {
        let ours = query.ours.replace("{table}", table_name(table));
        match driver.create(&format!("p{index}"), &ours) {
            Ok(()) => open.push((index, query)),
            Err(error) => {
                outcome.refused += 1;
                outcome.reasons.insert(format!("{error}: {ours}"));
            }
        }
    }
    driver.start();
    server.begin(table);
    let middle = random.below(changes.len() + 1);
    for (from, to) in [(0, middle), (middle, changes.len())] {
        server.change(table, &changes[from..to], from);
        driver.change(table, &changes[from..to]);
        driver.advance(random);
        open.retain(|(index, query)| match check(server, &driver, table, *index, query) {
            Verdict::Equal if to < changes.len() => true,
            Verdict::Equal => {
                outcome.equal += 1;
                false
            }
            Verdict::Failed => {
                outcome.failed += 1;
                false
            }
            Verdict::Rejected(reason) => {
                outcome.rejected += 1;
                outcome.reasons.insert(reason);
                false
            }
            Verdict::Wrong(what) => {
                outcome.wrong.push(format!("history {number}, after {to} changes: {what}"));
                false
            }
        });
        if to == changes.len() {
            // A history that ends in the middle has been checked there.
            outcome.equal += if from == to { open.len() } else { 0 };
            break;
        }
    }
    server.end();
    outcome
}

enum Verdict {
    Equal,
    Failed,
    Rejected(String),
    Wrong(String),
}

fn check(server: &mut Server, driver: &Driver, table: &Table, index: usize, query: &Query) -> Verdict {
    let sql = query.postgres.replace("{table}", "t");
    let theirs = server.query(&sql);
    if let Some(reason) = driver.rejected(&format!("p{index}")) {
        let reason = format!("{reason}: {}", query.ours);
        // A row that has gone by now may have been what it failed for.
        let ever = theirs.and_then(|_| server.query(&query.postgres.replace("{table}", "t_ever")));
        return match ever {
            Err(_) => Verdict::Rejected(reason),
            Ok(_) => Verdict::Wrong(format!(
                "{:?}\n  rejected, although PostgreSQL never fails: {reason}",
                table.columns
            )),
        };
    }
    let mut asked = vec![format!("SELECT * FROM p{index}")];
    if query.ad_hoc {
        asked.push(query.ours.replace("{table}", table_name(table)));
    }
    for ours_sql in asked {
        let ours = ours(driver, &ours_sql);
        match (&theirs, ours) {
            (Err(_), _) => return Verdict::Failed,
            (Ok(theirs), Ok(ours)) if normal(theirs) == normal(&ours) => {}
            (Ok(theirs), Ok(ours)) => {
                let (theirs, ours) = (normal(theirs), normal(&ours));
                let only = |a: &Rows, b: &Rows| {
                    a.iter().filter(|row| !b.contains(row)).take(3).cloned().collect::<Vec<_>>()
                };
                return Verdict::Wrong(format!(
                    "{:?} {:?}\n  {ours_sql}\n  {sql}\n  theirs ({}): {:?}\n  ours ({}): {:?}",
                    table.kind,
                    table.columns,
                    theirs.len(),
                    only(&theirs, &ours),
                    ours.len(),
                    only(&ours, &theirs)
                ));
            }
            (Ok(_), Err(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                return Verdict::Wrong(format!(
                    "{:?}\n  {ours_sql}\n  {sql}\n  error: {error} {cause}",
                    table.columns
                ));
            }
        }
    }
    Verdict::Equal
}

fn ours(driver: &Driver, sql: &str) -> Result<Rows, tw_project::Error> {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    }
    let batches = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            driver.engine.run(sql, Request::new(Timestamp::from_millis(0))).await?.collect().await
        })
    })?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|column| tw_project::text(column, row)).collect());
        }
    }
    Ok(rows)
}

/// Rows in one order, with numbers in one form: how many zeros follow the last decimal is not compared.
fn normal(rows: &Rows) -> Rows {
    let mut rows: Rows = rows
        .iter()
        .map(|row| row.iter().map(|value| value.as_deref().map(without_zeros)).collect())
        .collect();
    rows.sort();
    rows
}

fn without_zeros(text: &str) -> String {
    let part = |part: &str| {
        // Our floats have one zero.
        let part = if part == "-0" { "0" } else { part };
        let is_number =
            part.contains('.') && part.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-'));
        if is_number { part.trim_end_matches('0').trim_end_matches('.').to_owned() } else { part.to_owned() }
    };
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(items) => format!("{{{}}}", items.split(',').map(part).collect::<Vec<_>>().join(",")),
        None => part(text),
    }
}
