//! Whether the promises are kept, as a running node sees it ([`tw_plan::ownership::invariants`]).

use super::record::{About, Keys, decode_claim};
use super::{Known, Owners, Shared};
use crate::Result;
use std::collections::{BTreeMap, BTreeSet};
use tw_plan::ownership::Owner;
use tw_plan::ownership::invariants::{Broken, Look, Told};
use tw_plan::placement::Unit;
use tw_types::NodeId;

/// How many breaches are kept for whoever asks.
const BROKEN_MAX: usize = 1_000;

impl Owners {
    /// The promises that this node has found broken since this was asked last: by what it was told all along, and by audits. At most
    /// 1,000; an audit says what has not changed once more.
    pub fn take_broken(&self) -> Vec<Broken> {
        std::mem::take(&mut self.shared.known.write().broken)
    }

    /// Reads what coordination has, and looks whether it fits what this node does and says.
    ///
    /// # Errors
    /// Those of [`crate::Coordination::read`].
    pub async fn audit(&self) -> Result<()> {
        let shared = &self.shared;
        let (before, unowned_before) = (shared.open_here(), shared.unowned());
        let meddled = before.keys().filter(|unit| shared.units.is_meddled_with(unit)).cloned().collect();
        let keys = Keys::new()?;
        let read = shared.coordination.read(keys.root.below(), None).await?;
        let mut claims = BTreeMap::new();
        for entry in &read.entries {
            let Some(About::Claim(unit)) = keys.about(&entry.key) else { continue };
            match decode_claim(entry) {
                Ok(claim) => drop(claims.insert(unit, claim)),
                Err(error) => {
                    // Of a later version: those who know it look at it.
                    tracing::debug!(%error, "claims are not looked at");
                    return Ok(());
                }
            }
        }
        // After the claims: who was registered then and is not any more is not counted on.
        let (at, members) = shared.members.list().await?;
        let member =
            |(node, member): (&String, &crate::Member)| Some((NodeId::new(node).ok()?, member.epoch.0));
        let look = Look { claims, members: members.iter().filter_map(member).collect(), members_at: at.0 };
        let now = shared.open_here();
        let open = before.into_iter().filter(|(unit, epoch)| now.get(unit) == Some(epoch)).collect();
        let unowned = unowned_before.union(&shared.unowned()).cloned().collect();
        let mut known = shared.known.write();
        let Known { core, witness, .. } = &mut *known;
        let told =
            Told { me: core.me(), open: &open, meddled: &meddled, plan: core.plan(), unowned: &unowned };
        let broken = witness.looked(&look, told);
        known.note_broken(broken);
        Ok(())
    }
}

impl Shared {
    /// What takes writes here for certain, and in which epoch.
    fn open_here(&self) -> BTreeMap<Unit, u64> {
        let known = self.known.read();
        let open = known.core.plan().iter().filter_map(|(unit, _)| match known.core.owner(unit) {
            Owner::Here(epoch) => Some((unit.clone(), epoch)),
            Owner::Node(_) | Owner::Nobody => None,
        });
        let open: BTreeMap<Unit, u64> = open.collect();
        // After the look: it was held all the while.
        if known.membership.lease().is_held() { open } else { BTreeMap::new() }
    }

    /// The units that this node tells to have no owner.
    fn unowned(&self) -> BTreeSet<Unit> {
        let now_ms = self.now_ms();
        self.known.write().core.unowned(now_ms).into_keys().collect()
    }
}

impl Known {
    /// Keeps breaches for whoever asks.
    pub(super) fn note_broken(&mut self, broken: impl IntoIterator<Item = Broken>) {
        let room = BROKEN_MAX.saturating_sub(self.broken.len());
        self.broken.extend(broken.into_iter().take(room));
    }
}
