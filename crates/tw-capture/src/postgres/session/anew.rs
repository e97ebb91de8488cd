//! Tables whose rows are read again from the start.

use super::Session;
use crate::Error;
use crate::cursor::Phase;

impl Session {
    /// Reads a table again from the start, after telling everybody that its rows are gone.
    pub(super) async fn read_again(&mut self, id: u32, why: &str) -> Result<(), Error> {
        self.reset(id, why)?;
        self.restart_reading(id).await
    }

    async fn restart_reading(&mut self, id: u32) -> Result<(), Error> {
        self.beside.stop(id);
        self.copying = self.copying.filter(|copying| copying.table != id);
        self.copies.roll_back(id, id)?;
        let keyed = self.tables.by_id(id).is_some_and(crate::postgres::tables::Table::is_keyed);
        if keyed {
            self.window.watch(id);
        }
        if let Some(table) = self.tables.by_id_mut(id) {
            table.reading_failed = None;
            table.enter(Phase::Pending);
        }
        self.submit_and_settle().await?;
        self.beside.start_next(&mut self.tables);
        self.tell_tables();
        Ok(())
    }

    /// The owner wants all rows of a table again.
    pub(super) async fn resnapshot(&mut self, name: &str) -> Result<(), Error> {
        let found = self
            .tables
            .iter()
            .find(|table| table.label == name || table.def.name.as_str() == name || table.name.table == name);
        match found.map(|table| table.id) {
            Some(id) => self.restart_reading(id).await,
            None => Err(Error::refused(
                format!("`{name}` is no table of source `{}`", self.options.name),
                "name one of its tables as `schema.table`",
            )),
        }
    }

    /// A table has taken the place of another of the same name.
    pub(super) async fn replaced(&mut self, old: u32, new: u32, why: &str) -> Result<(), Error> {
        self.publish(new).await?;
        self.beside.stop(old);
        self.window.unwatch(old);
        self.tables.renumber(old, new);
        self.window.watch(new);
        self.start_probing();
        self.reset(new, why)?;
        if let Some(table) = self.tables.by_id_mut(new) {
            table.is_settled = false;
            table.problem = None;
            table.enter(Phase::Pending);
        }
        self.submit_and_settle().await?;
        self.beside.start_next(&mut self.tables);
        self.tell_tables();
        Ok(())
    }
}
