//! Answers that are kept, and given again as long as the log has nothing new for them.
//!
//! A statement fixes what it reads before it reads it: every node that has a part of it holds a snapshot, and says what that is
//! ([`crate::engine`]). An answer that the same statement got from *exactly that* is the answer: nothing is fetched, planned or computed.
//! It is as fresh as a computed one, because what is read was fixed after the reader's token was waited for (PRJ-2), and what the log
//! says next of a partition that was read makes it another state. Nothing has to be told to anybody, and nothing expires.
//!
//! What this rests on:
//!
//! - **The same statement**: its text, the values of its parameters, and the definitions of the tables that it names ([`Source`]). One that
//!   has another value each time (`now()`, `random()` and their like) is not kept. How many rows it may have is not part of it: an
//!   answer with more rows than this reader may have is computed, so that the error comes as it would have.
//! - **The same state** ([`State`]). The end of a partition is not enough. An event that could not be processed counts as seen, and can change
//!   the state later, when it is tried again or a person drops it (PRO-3); nodes, and generations of a view, may have decided differently
//!   about it. So a state has a number, which its node computes of every partition of every view that is read: its end, and the
//!   span of time for which the partition has been at work in this process, in this generation. Within a span the state is a
//!   function of the end (PRO-1, PRO-2), *unless* events wait: then there is no number, and the answer is not kept. A partition that
//!   moves, a view that is rebuilt and a node that starts anew have other numbers.
//! - **Histories** are kept of streams of which nothing is ever removed: their events between the start and the end are always the same.
//!   With retention or compaction, what is gone is gone at once for whoever reads, and other nodes need not know it yet.
//!
//! An answer whose order the statement leaves open comes in the order in which it was computed; so it may be the same one of several right
//! answers each time. Only whole answers are kept: not one that failed, was too large, or was not taken to its end. What took little
//! work and read nothing of other nodes is not worth it. Memory is bounded, answers on their way into the cache included ([`Room`]).

mod collect;
mod state;

pub(crate) use collect::{Collecting, Making, collected};
pub(crate) use state::{Fingerprint, Source, State};

use crate::Param;
use crate::query::Answer;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use quick_cache::{Weighter, unsync::Cache};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tw_types::{PartitionId, Token};

/// One answer takes at most this part of the memory.
const ANSWER_PART: u64 = 16;
/// Answers that are still being taken have at most this part of the memory, all together.
const COLLECTING_PART: u64 = 4;
/// What an answer takes beside its rows and its statement, at least; in bytes.
const ENTRY_BYTES: u64 = 1 << 10;
/// Statements with longer texts and parameters, in bytes, are not asked twice.
const QUESTION_BYTES_MAX: usize = 16 << 10;
/// About how many answers there are: it says how many that were let go are remembered by their hashes.
const ANSWERS_ABOUT: usize = 1_000;

/// How many answers are kept, and how often that was of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptAnswers {
    /// Statements that were answered by what was kept.
    pub hits: u64,
    /// Statements that could have been, and were computed.
    pub misses: u64,
    /// How many are kept now.
    pub answers: usize,
    /// Their bytes in memory, and those of answers that are still being taken.
    pub bytes: u64,
}

/// A statement as it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    sql: String,
    params: Vec<Param>,
}

/// An answer, and what it was made of.
pub(crate) struct Answered {
    /// What the statement's tables are.
    pub(crate) sources: Vec<Source>,
    /// Of each view, the partitions that are read.
    pub(crate) needs: Vec<Vec<PartitionId>>,
    /// What was read.
    pub(crate) state: State,
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) rows: u64,
    bytes: u64,
}

/// See the module's text.
pub(crate) struct Answers {
    kept: Mutex<Kept>,
    hits: AtomicU64,
    misses: AtomicU64,
    /// No other process has it, nor another engine of this one.
    process: u64,
}

struct Kept {
    cache: Cache<Question, Arc<Answered>, Weigh>,
    bytes_max: u64,
    /// The bytes of answers that are still being taken.
    collecting: u64,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Question, Arc<Answered>> for Weigh {
    fn weight(&self, question: &Question, answer: &Arc<Answered>) -> u64 {
        question.bytes() as u64 + answer.bytes
    }
}

impl Answered {
    /// Whether it is the answer to a statement that reads `state` and may have so many rows.
    pub(crate) fn holds(&self, state: Option<&State>, rows_max: u64) -> bool {
        state == Some(&self.state) && self.rows <= rows_max
    }

    /// The answer once more, with what it reflects.
    pub(crate) fn give(&self, reflects: Token) -> Answer {
        Answer::from_batches(self.schema.clone(), self.batches.clone(), reflects)
    }
}

impl Question {
    fn bytes(&self) -> usize {
        let text = |param: &Param| match param {
            Param::Null | Param::Bool(_) => 0,
            Param::Number(text) | Param::Text(text) => text.len(),
        };
        let params = self.params.iter().map(|param| size_of::<Param>() + text(param));
        self.sql.len() + params.sum::<usize>()
    }
}

impl Answers {
    /// None yet, and no more than `bytes_max` bytes of them; 0: none ever.
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        let bytes_max = bytes_max as u64;
        let cache = Cache::with_weighter(ANSWERS_ABOUT, kept_bytes_max(bytes_max), Weigh);
        Arc::new(Self {
            kept: Mutex::new(Kept { cache, bytes_max, collecting: 0 }),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            process: RandomState::new().hash_one("answers"),
        })
    }

    /// Puts another bound into effect; what is too much goes at once.
    pub(crate) fn resize(&self, bytes_max: usize) {
        let (bytes_max, mut kept) = (bytes_max as u64, self.kept.lock());
        let kept_bytes_max = kept_bytes_max(bytes_max);
        if bytes_max == 0 || kept.bytes_max == 0 {
            // One that had no room would not remember what it let go.
            kept.cache = Cache::with_weighter(ANSWERS_ABOUT, kept_bytes_max, Weigh);
        } else {
            kept.cache.set_capacity(kept_bytes_max);
        }
        kept.bytes_max = bytes_max;
    }

    pub(crate) fn count(&self) -> KeptAnswers {
        let kept = self.kept.lock();
        KeptAnswers {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            answers: kept.cache.len(),
            bytes: kept.cache.weight() + kept.collecting,
        }
    }

    /// The number of a state of this process, of nothing yet.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(self.process)
    }

    /// A statement whose answers may be kept; None if it is too long, or nothing is kept.
    pub(crate) fn question(&self, sql: &str, params: &[Param]) -> Option<Question> {
        if self.kept.lock().bytes_max == 0 || sql.len() > QUESTION_BYTES_MAX {
            return None;
        }
        let question = Question { sql: sql.to_owned(), params: params.to_vec() };
        Some(question).filter(|question| question.bytes() <= QUESTION_BYTES_MAX)
    }

    /// The last answer to a statement that was kept, if its tables are these.
    pub(crate) fn find(&self, question: &Question, sources: &[Source]) -> Option<Arc<Answered>> {
        let found = self.kept.lock().cache.get(question).cloned();
        found.filter(|answer| answer.sources == sources)
    }

    pub(crate) fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    fn keep(&self, question: Question, answer: Answered) {
        let (answer, mut kept) = (Arc::new(answer), self.kept.lock());
        // The bound may be another one since the answer began.
        if Weigh.weight(&question, &answer) <= kept.bytes_max / ANSWER_PART {
            kept.cache.insert(question, answer);
        }
    }
}

/// What answers may take that are kept.
fn kept_bytes_max(bytes_max: u64) -> u64 {
    bytes_max - bytes_max / COLLECTING_PART
}

/// The memory of an answer that is still being taken; it is given back when this is dropped.
struct Room {
    answers: Arc<Answers>,
    bytes: u64,
}

impl Room {
    /// Takes more; false if there is not as much.
    fn take(&mut self, bytes: u64) -> bool {
        let mut kept = self.answers.kept.lock();
        let (all, own) = (kept.collecting.saturating_add(bytes), self.bytes.saturating_add(bytes));
        if all > kept.bytes_max / COLLECTING_PART || own > kept.bytes_max / ANSWER_PART {
            return false;
        }
        (kept.collecting, self.bytes) = (all, own);
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.answers.kept.lock().collecting -= self.bytes;
    }
}

#[cfg(test)]
mod tests;
