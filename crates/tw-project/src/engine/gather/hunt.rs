//! Getting what a statement reads from whoever has it.
//!
//! Each partition is asked of the candidate that is chosen for it. One that refuses is followed by the next, and so is one that is silent
//! for a while; but that one is not given up, because it may only be waiting for what the token demands: whoever answers first
//! counts. So nothing fails here that its owner would have answered in time.

use super::candidates::Group;
use super::{Answered, Wanted, demanded, merged, moving};
use crate::Error;
use crate::engine::Engine;
use crate::gather::choice::Choice;
use crate::gather::fetch::{Asking, Refusal};
use crate::gather::gathering::Gathering;
use crate::gather::request::ViewPart;
use crate::gather::{Candidate, Place};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, join_all, select};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tw_process::View as _;
use tw_types::{NodeId, Token};

/// Every question has a deadline of its own.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// A statement that is looking for what it reads.
pub(super) struct Hunt<'a, F> {
    pub(super) engine: &'a Engine,
    pub(super) views: &'a [Arc<Gathering>],
    pub(super) token: &'a Token,
    pub(super) asking: &'a Asking,
    /// What it is about, by which it may be sent to the same nodes again.
    pub(super) about: Option<&'a str>,
    /// Asks a node, as owner or as a standby.
    pub(super) ask: F,
}

/// What was found, and what was not.
pub(super) struct Found<T> {
    /// What nodes have answered about partitions.
    pub(super) answers: Vec<(NodeId, Wanted, Token, T)>,
    /// What is here, and has what the token demands; whether it is owned.
    pub(super) here: Vec<(Wanted, bool)>,
    /// Who has done that.
    pub(super) choices: Vec<Choice>,
    /// What nobody gives now.
    pub(super) refused: Wanted,
    pub(super) why: Vec<Why>,
}

/// Why something was not given.
pub(super) struct Why {
    pub(super) wanted: Wanted,
    pub(super) by_owner: bool,
    pub(super) refusal: Refusal,
}

/// What one gives who was asked.
enum Reply<T> {
    There(NodeId, Token, T),
    Here,
}

impl Why {
    /// Whether it is useless to ask again.
    pub(super) fn is_final(&self) -> bool {
        self.by_owner && !self.refusal.may_have_moved()
    }
}

impl<T> Found<T> {
    fn nothing(refused: Wanted) -> Self {
        Self { answers: Vec::new(), here: Vec::new(), choices: Vec::new(), refused, why: Vec::new() }
    }

    fn one(asked: &Candidate, wanted: &Wanted, reply: Reply<T>, mut choice: Choice) -> Self {
        choice.answered();
        let mut found = Self::nothing(Vec::new());
        match reply {
            Reply::There(node, end, answer) => found.answers.push((node, wanted.clone(), end, answer)),
            Reply::Here => found.here.push((wanted.clone(), asked.owns)),
        }
        found.choices.push(choice);
        found
    }

    fn add(&mut self, other: Self) {
        self.answers.extend(other.answers);
        self.here.extend(other.here);
        self.choices.extend(other.choices);
        self.refused.extend(other.refused);
        self.why.extend(other.why);
    }
}

impl<T, R, F> Hunt<'_, F>
where
    T: Send + 'static,
    R: Future<Output = Answered<T>> + Send,
    F: Fn(NodeId, bool, Token, Vec<ViewPart>) -> R + Sync,
{
    /// Asks for everything that is wanted, without those who were tried; of these, some are silent.
    pub(super) fn obtain(
        &self,
        wanted: Wanted,
        tried: Vec<Candidate>,
        silent: Vec<Candidate>,
    ) -> BoxFuture<'_, Found<T>> {
        async move {
            let (groups, left) = self.engine.choose(self.views, &wanted, self.about, &tried);
            let mut found = Found::nothing(left);
            for one in join_all(groups.into_iter().map(|group| self.attempt(group, &tried, &silent))).await {
                found.add(one);
            }
            found.refused = merged(found.refused);
            found
        }
        .boxed()
    }

    /// Asks one, and others if that does not answer, or not soon.
    async fn attempt(&self, group: Group, tried: &[Candidate], silent: &[Candidate]) -> Found<T> {
        let Group { asked, wanted, mut choice } = group;
        let with = |others: &[Candidate]| [others, std::slice::from_ref(&asked)].concat();
        let mut first = self.ask_one(&asked, &wanted).boxed();
        let mut without = with(tried);
        loop {
            match timeout(self.pause(), &mut first).await {
                Ok(Ok(reply)) => return Found::one(&asked, &wanted, reply, choice),
                Ok(Err(refusal)) => {
                    choice.refused(&refusal);
                    drop(choice);
                    let has_others = self.engine.has_others(self.views, &wanted, &without);
                    let others = || self.obtain(wanted.clone(), without, silent.to_vec());
                    return self.instead(&asked, &wanted, refusal, has_others.then(others)).await;
                }
                Err(_silent) => {}
            }
            if !self.engine.has_others(self.views, &wanted, &without) {
                // Whoever has refused may have it by now, or somebody else.
                without = with(silent);
                if !self.engine.has_others(self.views, &wanted, &without) {
                    continue;
                }
            }
            match select(first, self.obtain(wanted.clone(), without, with(silent))).await {
                Either::Left((Ok(reply), _)) => return Found::one(&asked, &wanted, reply, choice),
                Either::Left((Err(refusal), others)) => {
                    choice.refused(&refusal);
                    drop(choice);
                    return self.instead(&asked, &wanted, refusal, Some(others)).await;
                }
                Either::Right((found, _)) if found.refused.is_empty() => {
                    choice.outrun();
                    return found;
                }
                Either::Right((found, _)) if found.why.iter().any(Why::is_final) => return found,
                Either::Right((_, silent)) => first = silent,
            }
            without = with(silent);
        }
    }

    /// What others give when one has refused.
    async fn instead(
        &self,
        asked: &Candidate,
        wanted: &Wanted,
        refusal: Refusal,
        others: Option<BoxFuture<'_, Found<T>>>,
    ) -> Found<T> {
        let why = Why { wanted: wanted.clone(), by_owner: asked.owns, refusal };
        let mut found = Found::nothing(wanted.clone());
        if let Some(others) = others {
            // What the owner says holds, unless somebody knows better at once.
            let limit = if why.is_final() { self.pause() } else { FOR_EVER };
            found = timeout(limit, others).await.unwrap_or(found);
        }
        if !found.refused.is_empty() {
            found.why.push(why);
        }
        found
    }

    async fn ask_one(&self, asked: &Candidate, wanted: &Wanted) -> Result<Reply<T>, Refusal> {
        match &asked.place {
            Place::Node(node) => {
                let parts = wanted.iter().map(|(view, of)| Some(self.views.get(*view)?.part(of.clone())));
                let parts = parts.flatten().collect();
                let token = demanded(self.token, self.views, wanted);
                let (end, answer) = (self.ask)(node.clone(), !asked.owns, token, parts).await?;
                Ok(Reply::There(node.clone(), end, answer))
            }
            Place::Here => self.ready(wanted, asked.owns).await.map(|()| Reply::Here),
            Place::Nowhere => Err(Refusal::Here(Error::NoOwner {
                name: self.views.first().map(|view| view.table.clone()).unwrap_or_default(),
                reason: "nobody has its partitions".into(),
            })),
        }
    }

    /// Waits until what is here has what the token demands.
    async fn ready(&self, wanted: &Wanted, owns: bool) -> Result<(), Refusal> {
        let engine = self.engine;
        for (number, partitions) in wanted {
            let Some(view) = self.views.get(*number) else { continue };
            if view.next {
                // It is read as far as it is, and by its owner.
                if owns {
                    continue;
                }
                return Err(Refusal::Unreachable(moving(view)));
            }
            let demanded = demanded(self.token, self.views, &vec![(*number, partitions.clone())]);
            if !owns {
                let reading = engine.reading(view.view.name()).map_err(Refusal::Here)?;
                let is_same = reading.view.definition() == view.view.definition();
                let are_here = is_same
                    && engine.are_here(view, &reading, partitions, false).map_err(Refusal::Here)?
                    && engine
                        .is_near(&reading, partitions.iter().map(|one| view.at(*one)), &demanded)
                        .map_err(Refusal::Here)?;
                if !are_here {
                    return Err(Refusal::Unreachable(moving(view)));
                }
            }
            if demanded.is_empty() {
                continue;
            }
            let left = self.asking.bounds.deadline.saturating_duration_since(Instant::now());
            if let Err(error) = engine.0.views.wait_for(view.view.name(), &demanded, left).await {
                let reading = engine.reading(view.view.name()).map_err(Refusal::Here)?;
                let kept = engine.are_here(view, &reading, partitions, owns).map_err(Refusal::Here)?;
                return Err(if kept { Refusal::Here(error) } else { Refusal::Unreachable(moving(view)) });
            }
        }
        Ok(())
    }

    /// How long one may be silent before others are asked: at most half of the time that is left, so that they have some.
    fn pause(&self) -> Duration {
        let left = self.asking.bounds.deadline.saturating_duration_since(Instant::now());
        let hedge = Duration::from_millis(self.engine.options().hedge_ms);
        hedge.min(left / 2).max(Duration::from_millis(1))
    }
}
