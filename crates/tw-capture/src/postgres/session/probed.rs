//! What the catalogue says at a heartbeat, compared with what the session thinks.

use super::Session;
use crate::Error;
use crate::postgres::layout::Described;
use crate::postgres::name::TableName;
use crate::postgres::probe::Probe;
use crate::postgres::tables::{Flow, Table};

impl Session {
    /// The watermark of a heartbeat has arrived.
    pub(super) async fn use_probe(&mut self, probe: Probe) -> Result<(), Error> {
        // What the stream has told since the question was asked is newer than the answer.
        let is_current = self.beside.layouts() == probe.layouts;
        let ids: Vec<u32> = self.tables.iter().map(|table| table.id).collect();
        for id in ids {
            let described = probe.described.iter().find(|described| described.id == id);
            match described {
                Some(described) => self.look_at(id, described, &probe, is_current).await?,
                None => self.is_gone(id, &probe).await?,
            }
        }
        self.tables.iter_mut().for_each(Table::heartbeat);
        let _prober_is_gone = probe.arrived.send(());
        let is_back = |name: &TableName| {
            probe.described.iter().any(|table| table.name == *name && table.obstacle.is_none())
        };
        self.begin_anew = self.missing.iter().any(|(name, _)| is_back(name));
        self.beside.start_next(&mut self.tables);
        self.tell_tables();
        Ok(())
    }

    /// A table is there: does it look as we think?
    async fn look_at(
        &mut self,
        id: u32,
        described: &Described,
        probe: &Probe,
        is_current: bool,
    ) -> Result<(), Error> {
        let Some(table) = self.tables.by_id_mut(id) else { return Ok(()) };
        let label = table.label.clone();
        table.rows_estimate = described.rows_estimate.or(table.rows_estimate);
        table.problem = described.obstacle.as_ref().map(|(problem, remedy)| format!("{problem}: {remedy}"));
        if described.name != table.name {
            table.problem = Some(format!(
                "the table is called `{}` now; its changes still go to `{}`: rename it back, or make the source anew",
                described.name, table.def.name
            ));
        }
        let lost = probe.written_over.get(&id).copied().unwrap_or_default();
        table.look_at_lost(lost);
        table.is_part &= !probe.published.contains(&id);
        let is_current = is_current && table.flow != Flow::Wait;
        if is_current {
            self.adopt(id, described.layout.clone(), Some(described)).await?;
        }
        if !probe.published.contains(&id) {
            return self.is_unpublished(id, &label).await;
        }
        // Otherwise a layout is on its way that has to find these changed, or its rows are not read again.
        if is_current { self.look_at_storage(id, described).await } else { Ok(()) }
    }

    /// A table looks as we think: were its rows written anew all the same?
    async fn look_at_storage(&mut self, id: u32, described: &Described) -> Result<(), Error> {
        let Some(table) = self.tables.by_id_mut(id).filter(|table| table.is_done()) else { return Ok(()) };
        let same_columns = table.cursor.columns.as_ref() == Some(&described.columns);
        if same_columns && table.cursor.storage == described.storage {
            return Ok(());
        }
        let anew = described.anew(table.def.schema.as_ref(), &table.cursor);
        table.cursor.storage.clone_from(&described.storage);
        table.cursor.columns = Some(described.columns.clone());
        table.cursor_changed = true;
        match anew {
            Some(anew) => self.read_again(id, anew.reset()).await,
            None => Ok(()),
        }
    }

    /// A table is gone; another may have its name.
    async fn is_gone(&mut self, id: u32, probe: &Probe) -> Result<(), Error> {
        let Some(table) = self.tables.by_id(id) else { return Ok(()) };
        let again = probe.described.iter().find(|described| described.name == table.name);
        if let Some(again) = again.filter(|again| again.obstacle.is_none()) {
            return self.replaced(id, again.id, "the table was dropped and made again").await;
        }
        let problem =
            format!("table `{}` does not exist any more: make the source anew without it", table.label);
        self.beside.stop(id);
        if let Some(table) = self.tables.by_id_mut(id) {
            table.problem = Some(problem);
        }
        Ok(())
    }
}
