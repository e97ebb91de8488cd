//! What is kept, and how much memory that takes.

use super::*;
use crate::Error;
use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use proptest::prelude::*;
use std::time::Duration;
use tw_types::Offset;

fn state(end: u64) -> State {
    State { nodes: vec![end], histories: vec![(Offset(0), Offset(end))] }
}

fn batch(rows: usize) -> RecordBatch {
    let schema =
        Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]);
    let numbers: ArrayRef = Arc::new((0..rows as i64).collect::<Int64Array>());
    let texts: ArrayRef = Arc::new((0..rows).map(|row| Some(row.to_string())).collect::<StringArray>());
    RecordBatch::try_new(Arc::new(schema), vec![numbers, texts]).unwrap()
}

fn question(number: usize) -> Question {
    Question { sql: "SELECT * FROM t WHERE x = $1".into(), params: vec![Param::Number(number.to_string())] }
}

fn making(end: u64) -> Making {
    Making {
        sources: Vec::new(),
        needs: Vec::new(),
        state: state(end),
        schema: batch(0).schema(),
        work: Duration::ZERO,
        work_min: Duration::ZERO,
        is_there: Box::new(|_| true),
    }
}

/// An answer of some batches, that is to be kept.
fn answer(
    answers: &Arc<Answers>,
    number: usize,
    making: Making,
    batches: Vec<Result<RecordBatch, Error>>,
) -> BoxStream<'static, Result<RecordBatch, Error>> {
    let collecting = Collecting::new(answers, question(number), making);
    collected(stream::iter(batches).boxed(), collecting)
}

fn take_all(mut answer: BoxStream<'static, Result<RecordBatch, Error>>) -> usize {
    pollster::block_on(async {
        let mut rows = 0;
        while let Some(batch) = answer.next().await {
            rows += batch.map_or(0, |batch| batch.num_rows());
        }
        rows
    })
}

fn find(answers: &Answers, number: usize, end: u64) -> Option<Arc<Answered>> {
    answers.find(&question(number), &[]).filter(|found| found.holds(Some(&state(end)), u64::MAX))
}

#[test]
fn an_answer_that_was_taken_to_its_end_holds_for_its_state_alone() {
    let answers = Answers::new(1 << 20);
    assert_eq!(take_all(answer(&answers, 1, making(5), vec![Ok(batch(10)), Ok(batch(3))])), 13);
    let found = find(&answers, 1, 5).unwrap();
    assert_eq!(found.batches, [batch(10), batch(3)]);
    assert!(found.holds(Some(&state(5)), 13) && !found.holds(Some(&state(5)), 12) && !found.holds(None, 13));
    assert!(find(&answers, 1, 6).is_none() && find(&answers, 2, 5).is_none());
    let other =
        [Source::View { table: "t".into(), view: "projection/t".into(), definition: 1, partitions: 4 }];
    assert!(answers.find(&question(1), &other).is_none());
    // The next one takes its place.
    take_all(answer(&answers, 1, making(6), vec![]));
    assert!(find(&answers, 1, 5).is_none() && find(&answers, 1, 6).unwrap().batches.is_empty());
    assert_eq!(answers.count().answers, 1);
}

#[test]
fn a_part_of_an_answer_is_never_kept() {
    let answers = Answers::new(1 << 20);
    let failed = || Err(Error::Timeout { timeout_ms: 1 });
    take_all(answer(&answers, 1, making(5), vec![Ok(batch(10)), failed()]));
    take_all(answer(&answers, 1, making(5), vec![failed(), Ok(batch(10))]));
    let mut half = answer(&answers, 1, making(5), vec![Ok(batch(10)), Ok(batch(10))]);
    for _ in 0..2 {
        assert!(pollster::block_on(half.next()).is_some());
    }
    assert!(answers.count().bytes > 0);
    drop(half);
    take_all(answer(&answers, 1, Making { is_there: Box::new(|_| false), ..making(5) }, vec![Ok(batch(1))]));
    take_all(answer(
        &answers,
        1,
        Making { work_min: Duration::from_secs(60), ..making(5) },
        vec![Ok(batch(1))],
    ));
    assert_eq!(answers.count(), KeptAnswers::default());
}

#[test]
fn what_is_kept_of_a_slice_is_the_slice_alone() {
    let answers = Answers::new(1 << 20);
    let many = batch(100_000);
    assert!(many.get_array_memory_size() > 1 << 20);
    take_all(answer(&answers, 1, making(5), vec![Ok(many.slice(50_000, 2))]));
    assert_eq!(find(&answers, 1, 5).unwrap().batches, [many.slice(50_000, 2)]);
    assert!(answers.count().bytes < 4_000, "{:?}", answers.count());
    // The whole is more than one answer may have.
    take_all(answer(&answers, 2, making(5), vec![Ok(many)]));
    assert!(find(&answers, 2, 5).is_none());
}

#[test]
fn nothing_is_kept_without_memory_and_long_statements_never() {
    let answers = Answers::new(0);
    assert!(answers.question("SELECT 1", &[]).is_none());
    take_all(answer(&answers, 1, making(5), vec![Ok(batch(1))]));
    assert_eq!(answers.count(), KeptAnswers::default());
    answers.resize(1 << 20);
    let text = "x".repeat(QUESTION_BYTES_MAX);
    assert!(answers.question(&text, &[]).is_some() && answers.question(&text, &[Param::Null]).is_none());
    assert!(answers.question("SELECT $1", &[Param::Text(text)]).is_none());
}

#[derive(Debug, Clone)]
enum Step {
    /// Begins an answer with so many batches of so many rows.
    Begin(usize, usize, usize),
    /// Takes a batch of one that was begun.
    Take(proptest::sample::Index),
    /// Gives one up.
    GiveUp(proptest::sample::Index),
    Resize(usize),
    Find(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..20usize, 0..4usize, 0..600usize).prop_map(|(number, batches, rows)| Step::Begin(number, batches, rows)),
        9 => any::<proptest::sample::Index>().prop_map(Step::Take),
        1 => any::<proptest::sample::Index>().prop_map(Step::GiveUp),
        1 => prop_oneof![Just(0), 1..100_000usize, 100_000..1_000_000usize].prop_map(Step::Resize),
        3 => (0..20usize).prop_map(Step::Find),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(tw_testing::cases(200)))]

    #[test]
    fn memory_stays_within_its_bound_whatever_is_asked(steps in steps()) {
        let answers = Answers::new(200_000);
        let (mut bytes_max, mut open, mut end) = (200_000, Vec::new(), 0);
        for step in steps {
            match step {
                Step::Begin(number, batches, rows) => {
                    end += 1;
                    let all = (0..batches).map(|_| Ok(batch(rows))).collect();
                    open.push(answer(&answers, number, making(end), all));
                }
                Step::Take(index) if !open.is_empty() => {
                    let at = index.index(open.len());
                    if pollster::block_on(open[at].next()).is_none() {
                        drop(open.swap_remove(at));
                    }
                }
                Step::GiveUp(index) if !open.is_empty() => drop(open.swap_remove(index.index(open.len()))),
                Step::Take(_) | Step::GiveUp(_) => {}
                Step::Resize(to) => {
                    answers.resize(to);
                    bytes_max = to;
                    // What was begun under another bound ends under it.
                    open.clear();
                }
                Step::Find(number) => {
                    let found = answers.find(&question(number), &[]);
                    prop_assert!(found.is_none_or(|found| found.rows == found.batches.iter().map(|one| one.num_rows() as u64).sum::<u64>()));
                }
            }
            let held: usize = answers.kept.lock().cache.iter().map(|(question, answer)| {
                question.bytes() + answer.batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>()
            }).sum();
            let count = answers.count();
            prop_assert!(count.bytes <= bytes_max as u64, "{count:?} of {bytes_max}");
            prop_assert!(held as u64 <= count.bytes, "{held} of {count:?}");
        }
        drop(open);
        prop_assert_eq!(answers.kept.lock().collecting, 0);
    }
}
