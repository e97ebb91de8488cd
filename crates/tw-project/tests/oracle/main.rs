//! PRJ-1: a projection equals PostgreSQL's own answer, for random tables, histories and queries, across restarts and rebuilds.
//!
//! Each case is one random SELECT over a random table with a random history. The same changes go into a table of a real
//! PostgreSQL and, as events, through the processors of the SELECT's projection; at several points of the history the
//! projection, and the same SELECT over the table of latest rows, must have PostgreSQL's rows. `TRADEWIND_CASES` and
//! `TRADEWIND_SEED` ask for more, or for other ones.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "these are tests"
)]

mod compare;
mod driver;
mod expressions;
mod history;
mod queries;
mod random;
mod server;

use compare::Outcome;
use random::Random;
use tw_testing::{asked, cases};

/// How many SELECTs share a history.
const QUERIES: usize = 8;

#[test]
fn prj_1_projections_equal_postgresqls_answers() {
    let cases = cases(2_000) as usize;
    let seed = asked("TRADEWIND_SEED").unwrap_or(1);
    let histories = cases.div_ceil(QUERIES);
    let mut server = server::Server::start();
    let mut tally = Outcome::default();
    for number in 0..histories {
        let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let table = history::Table::random(&mut random);
        let changes = history::changes(&table, &mut random);
        let queries: Vec<_> = (0..QUERIES).map(|_| queries::query(&table, &mut random)).collect();
        tally.add(compare::history(&mut server, &table, &changes, &queries, &mut random, number as u64));
    }
    println!("{tally:?}");
    // Most cases must say something: neither refused, nor an error of PostgreSQL's.
    assert!(tally.equal * 10 >= tally.all() * 8, "{tally:?}");
    assert!(tally.wrong.is_empty(), "{} wrong:\n{}", tally.wrong.len(), tally.wrong.join("\n\n"));
}
