//! Tables whose rows are read again from the start.

use super::Session;
use crate::Error;
use crate::cursor::Phase;

impl Session {
    /// Reads a table from the start, whatever has been read of it. `reset` tells everybody who follows its stream that all
    /// rows are gone, and why.
    pub(super) async fn read_again(&mut self, id: u32, reset: Option<&str>) -> Result<(), Error> {
        self.start_over(id, reset)?;
        self.submit_and_settle().await?;
        self.beside.start_next(&mut self.tables);
        self.tell_tables();
        Ok(())
    }

    /// The same, but that it is neither made durable nor begun yet.
    pub(super) fn start_over(&mut self, id: u32, reset: Option<&str>) -> Result<(), Error> {
        if let Some(why) = reset {
            self.reset(id, why)?;
        }
        self.beside.stop(id);
        self.drop_copy(id)?;
        let Some(table) = self.tables.by_id_mut(id) else { return Ok(()) };
        table.reading_failed = None;
        table.enter(Phase::Pending);
        if table.is_keyed() {
            self.window.watch(id);
        }
        Ok(())
    }

    /// Forgets a copy of the table, and the changes that wait for it.
    pub(super) fn drop_copy(&mut self, id: u32) -> Result<(), Error> {
        self.copying = self.copying.filter(|copying| copying.table != id);
        if let Some(relation) = self.relations.get_mut(&id) {
            relation.waits = false;
        }
        self.copies.roll_back(id, id)
    }

    /// The owner wants all rows of a table again.
    pub(super) async fn resnapshot(&mut self, name: &str) -> Result<(), Error> {
        let found = self.tables.iter().find(|table| table.name.is_meant_by(name, table.def.name.as_str()));
        match found.map(|table| table.id) {
            Some(id) => self.read_again(id, None).await,
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
        self.drop_copy(old)?;
        self.window.unwatch(old);
        self.tables.renumber(old, new);
        self.start_probing();
        if let Some(table) = self.tables.by_id_mut(new) {
            table.is_settled = false;
            table.problem = None;
        }
        self.read_again(new, Some(why)).await
    }
}
