//! Election: at most one leader, with a fencing token, and everybody can see who it is.

use crate::line::{Line, Place, first};
use crate::mirror::Mirror;
use crate::{Coordination, Guard, Key, Lease, Result, Revision, Waiter};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// An election, by its name, such as `planner`.
#[derive(Debug, Clone)]
pub struct Election {
    line: Line,
    coordination: Arc<dyn Coordination>,
}

impl Election {
    /// The election of this name.
    ///
    /// # Errors
    /// [`crate::Error::InvalidKey`].
    pub fn new(coordination: Arc<dyn Coordination>, name: &str) -> Result<Self> {
        let line = Line::new(coordination.clone(), Key::new(["elections", name])?);
        Ok(Self { line, coordination })
    }

    /// Stands for election under the lease, and waits until it is won. Candidates win in the order in which they stood.
    /// Dropping the future withdraws.
    ///
    /// # Errors
    /// [`crate::Error::NoLease`], [`crate::Error::Unavailable`], [`crate::Error::Unknown`], [`crate::Error::Refused`].
    pub async fn campaign(&self, lease: &Lease, who: &str) -> Result<Leadership> {
        let place = self.line.enter(lease, who).await?;
        place.turn().await?;
        Ok(Leadership { place })
    }

    /// Who leads now, if anybody.
    ///
    /// # Errors
    /// Those of [`Coordination::read`].
    pub async fn leader(&self) -> Result<Option<Waiter>> {
        let read = self.coordination.read(self.line.parent().below(), None).await?;
        Ok(first(&read.entries))
    }

    /// Follows who leads.
    pub fn observe(&self) -> Observer {
        Observer { mirror: Mirror::new(self.coordination.clone(), self.line.parent().below()), told: None }
    }
}

/// Leadership that was won. It is resigned when it is dropped, in the background; [`Leadership::resign`] waits for it.
#[derive(Debug)]
pub struct Leadership {
    place: Place,
}

impl Leadership {
    /// The fencing token: higher than that of every leader before.
    pub fn token(&self) -> Revision {
        self.place.token()
    }

    /// What a transaction demands that only this leader may carry out: what a leader writes after another was elected fails.
    pub fn guard(&self) -> Guard {
        self.place.guard()
    }

    /// Until when it leads for certain, as of now: the lease's [deadline](Lease::deadline).
    pub fn deadline(&self) -> Option<Duration> {
        self.place.lease().deadline()
    }

    /// Waits until it leads no longer: the lease is lost, or somebody has deposed it. Cancel-safe.
    pub async fn lost(&self) {
        self.place.lost().await;
    }

    /// Lets the next candidate lead.
    ///
    /// # Errors
    /// Those of [`Coordination::commit`]; then it is tried again in the background for as long as the lease is held.
    pub async fn resign(self) -> Result<()> {
        self.place.leave().await
    }
}

/// Follows who leads.
pub struct Observer {
    mirror: Mirror,
    /// What was told last.
    told: Option<Option<Waiter>>,
}

impl Observer {
    /// Who leads, at first; later waits until it is somebody else, or nobody. Leaders that were followed by another before
    /// anybody looked may be left out. Cancel-safe.
    ///
    /// # Errors
    /// Those of [`Coordination::read`]; it can be called again.
    pub async fn next(&mut self) -> Result<Option<Waiter>> {
        loop {
            self.mirror.next().await?;
            let leader = first(self.mirror.entries().values());
            if self.told.as_ref() != Some(&leader) {
                self.told = Some(leader.clone());
                return Ok(leader);
            }
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("told", &self.told).finish_non_exhaustive()
    }
}
