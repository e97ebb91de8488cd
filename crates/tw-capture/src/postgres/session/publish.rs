//! Publications of a running source: tables that come, change their key, or were taken out.

use super::Session;
use crate::cursor::{Gap, Phase};
use crate::postgres::catalog;
use crate::postgres::layout::Layout;
use crate::postgres::provision;
use crate::{Error, Lsn, SnapshotMode};
use tw_types::PartitionId;

impl Session {
    /// Sees to it that the publications of this source have the right members, a table of number `id` among them.
    pub(super) async fn publish(&mut self, id: u32) -> Result<Vec<u32>, Error> {
        if !self.own_publications {
            return Ok(Vec::new());
        }
        let ids: Vec<u32> = self.tables.iter().map(|table| table.id).chain([id]).collect();
        let mut described = catalog::describe(&mut self.catalog, &[], &ids, &self.publications).await?;
        described.retain(|described| described.obstacle.is_none());
        Ok(provision::publish(&mut self.catalog, &self.options, &described).await?.added)
    }

    /// A table has a key now, or has none any more: it is published in another way.
    pub(super) async fn move_between_publications(&mut self, id: u32, layout: &Layout) -> Result<(), Error> {
        let label = layout.identity.label();
        if self.tables.by_id(id).is_some_and(|table| table.cursor.identity == label) {
            return Ok(());
        }
        self.publish(id).await.map(drop)
    }

    /// Somebody has taken a table out of the publication: its changes since then are missing.
    pub(super) async fn is_unpublished(&mut self, id: u32, label: &str) -> Result<(), Error> {
        if !self.own_publications {
            if let Some(table) = self.tables.by_id_mut(id) {
                let name = &self.options.publication();
                table.problem = Some(format!(
                    "publication `{name}` does not cover the table any more: add it again, and read the table again"
                ));
            }
            return Ok(());
        }
        if self.publish(id).await?.contains(&id) {
            let reason = format!("table `{label}` was taken out of the publication");
            self.gap_here(reason, id).await?;
            self.beside.start_next(&mut self.tables);
            return Ok(());
        }
        let has_obstacle = self.tables.by_id(id).is_none_or(|table| table.problem.is_some());
        // It may as well have been dropped, or published again, while the heartbeat asked.
        if has_obstacle || !self.is_part_of_another(id).await? {
            return Ok(());
        }
        self.is_part(id, label).await
    }

    async fn is_part_of_another(&mut self, id: u32) -> Result<bool, Error> {
        let others = self.tables.iter().filter(|table| table.id != id).map(|table| table.id.to_string());
        let others = others.collect::<Vec<_>>().join(",");
        let sql = format!(
            "SELECT EXISTS (SELECT FROM pg_partition_ancestors({id}) of WHERE of::oid = ANY('{{{others}}}'::oid[]))"
        );
        Ok(self.catalog.query_one(&sql).await?.is_true(0))
    }

    /// The table is a member of the publication, and still its changes are not told as its own: it has become a partition
    /// of another member. What it misses meanwhile is read when it is a table again.
    async fn is_part(&mut self, id: u32, label: &str) -> Result<(), Error> {
        let Some(table) = self.tables.by_id_mut(id) else { return Ok(()) };
        table.problem = Some(format!(
            "table `{label}` is a partition of another table of the source now, and its changes are told as those of that \
             table: detach it, or make the source anew without it"
        ));
        let is_news = !std::mem::replace(&mut table.is_part, true) && table.cursor.phase != Phase::Pending;
        if is_news {
            let reason = format!("table `{label}` has become a partition of another table of the source");
            self.gap_here(reason, id).await?;
        }
        Ok(())
    }

    /// Changes of a table are missing up to here.
    async fn gap_here(&mut self, reason: String, id: u32) -> Result<(), Error> {
        let server = (self.cursor.system_id.clone(), self.cursor.lsn);
        self.gap(reason, server, &[id], false).await
    }

    /// Says that changes of these tables are missing, and begins them anew (CAP-3). All of it becomes durable together.
    /// `everything` tells that the stream itself cannot go on.
    pub(crate) async fn gap(
        &mut self,
        reason: String,
        (found_system_id, found_at): (String, Lsn),
        ids: &[u32],
        everything: bool,
    ) -> Result<(), Error> {
        let tables: Vec<_> = self.tables.iter().filter(|table| ids.contains(&table.id)).collect();
        let gap = Gap {
            source: self.options.name.clone(),
            reason,
            known_until: self.cursor.lsn,
            system_id: self.cursor.system_id.clone(),
            found_at,
            found_system_id,
            tables: tables.iter().map(|table| table.label.clone()).collect(),
        };
        tracing::error!(source = gap.source, reason = gap.reason, tables = ?gap.tables, "changes are missing");
        let now_ms = self.env.clock.now_ms();
        let id = format!("gap.{:016x}", self.env.random.next_u64());
        let event = crate::cursor::gap_event(&self.options.name, &gap, id, now_ms);
        for table in tables {
            for partition in 0..table.def.partitions {
                self.sink.push(&table.def, Some(PartitionId(partition)), &event.as_ref())?;
            }
        }
        self.sink.push_to_sources(&event.as_ref())?;
        self.counters.gaps += 1;
        if everything {
            // Nothing of the old stream counts any more.
            self.cursor.system_id.clone_from(&gap.found_system_id);
            (self.cursor.lsn, self.cursor.ordinal) = (Lsn(0), 0);
        }
        // Without a snapshot, nothing can take the place of what is missing.
        if self.options.snapshot == SnapshotMode::Initial {
            for id in ids {
                self.start_over(*id, Some(&gap.reason))?;
            }
        }
        self.submit_and_settle().await
    }
}
