//! When to look again at what was said in a stream of the platform: at once when something is said in it, and not with each write
//! to any other stream, of which there may be thousands a second.

use std::sync::Arc;
use std::time::Duration;
use tw_log::{Log, Signal};
use tw_types::{PartitionId, StreamPartition};

/// How long writes to other streams are not looked at after a look.
const PAUSE: Duration = Duration::from_millis(5);

/// A stream of one partition, and everything else.
pub(super) struct News {
    log: Arc<dyn Log>,
    stream: &'static str,
}

/// What there was when it was looked at.
pub(super) struct Seen {
    said: Option<(Arc<Signal>, u64)>,
    commits: u64,
}

impl News {
    pub(super) fn of(log: &Arc<dyn Log>, stream: &'static str) -> Self {
        Self { log: log.clone(), stream }
    }

    /// What there is now: to be asked before the look.
    pub(super) fn seen(&self) -> Seen {
        let streams = self.log.streams();
        let at = streams.get(self.stream).map(|def| StreamPartition::new(def.id, PartitionId(0)));
        // One that is not defined yet is looked for with the others.
        let end = at.and_then(|at| self.log.end_signal(at)).ok();
        Seen { said: end.map(|end| (end.clone(), end.get())), commits: self.log.commits().get() }
    }

    /// Waits until there is more.
    pub(super) async fn after(&self, seen: Seen) {
        let said = async {
            match &seen.said {
                Some((end, known)) => drop(end.over(*known).await),
                None => std::future::pending().await,
            }
        };
        let any = async {
            tokio::time::sleep(PAUSE).await;
            self.log.commits().over(seen.commits).await;
        };
        tokio::select! {
            () = said => {}
            () = any => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use tw_log::{Append, MemoryLog, NewStream};
    use tw_types::{Compression, Event, StreamName};
    use tw_wire::BatchBuilder;

    async fn append(log: &Arc<dyn Log>, stream: &str) {
        let at = StreamPartition::new(log.streams().get(stream).unwrap().id, PartitionId(0));
        let mut builder = BatchBuilder::new();
        builder
            .push(&Event { id: "1".into(), source: "s".into(), ty: "t".into(), ..Event::default() }.as_ref());
        let batch = builder.finish(Compression::None).unwrap();
        let permit = log.reserve(batch.bytes()).await.unwrap();
        log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }]).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_said_is_heard_at_once_and_other_writes_after_a_pause() {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new(tw_env::Env::real()));
        for name in ["said", "other"] {
            log.create_stream(NewStream::plain(StreamName::new(name).unwrap(), 1)).await.unwrap();
        }
        let news = News::of(&log, "said");
        let seen = news.seen();
        append(&log, "said").await;
        assert!(news.after(seen).now_or_never().is_some());
        let seen = news.seen();
        append(&log, "other").await;
        let mut after = std::pin::pin!(news.after(seen));
        assert!(after.as_mut().now_or_never().is_none());
        after.await;
        let none = News::of(&log, "later");
        let seen = none.seen();
        append(&log, "other").await;
        none.after(seen).await;
    }
}
