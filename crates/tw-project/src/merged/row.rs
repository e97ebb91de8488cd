//! A merged row, for whoever is about to change it: columns of the class `reserve` are asked before a change is accepted.
//!
//! What a view has of a row may be behind, so whoever asks adds the changes that came since ([`MergedRow::take`]), in the order of their versions. Then
//! the row [says](MergedRow::admit) whether this region has the rights that changes need, and if not, which regions do. It decides; it does not wait, ask or
//! append. `docs/adr/0025-asked-before-it-is-accepted.md` says why what it admits holds.

use super::Knowledge;
use super::change::{ChangeOps, read_amount};
use super::value::{Value, slot_text, sum_slot};
use crate::rows::slot::Slot;
use std::sync::Arc;
use tw_log::Log;
use tw_merge::class::{Consumption, Deletion, Reserve};
use tw_merge::subject::{Error as Unfit, Limits, Subject};
use tw_merge::{AMOUNT_MAX, Change, Context, Stamp};
use tw_types::{Data, Hlc, Merge, Origin, RegionId, Sequence, Stored};

/// See the module's text.
pub struct MergedRow {
    ops: ChangeOps,
    log: Arc<dyn Log>,
    knowledge: Arc<dyn Knowledge>,
    row: Subject<Value>,
}

/// What comes of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They may be accepted, if nothing else of the row is before.
    Admitted,
    /// Rights are lacking that other regions have.
    Ask(Lack),
    /// It cannot be said yet; why.
    NotYet(String),
    /// They cannot be accepted; why, and what to do.
    Refused(String),
}

/// Rights that are lacking here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// The column.
    pub column: String,
    /// Who has how much that is needed, in units of the column's scale; of few regions.
    pub of: Vec<(RegionId, u64)>,
    /// What is told if they do not give it.
    pub told: String,
}

/// The rights in a column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnRights {
    /// The column.
    pub column: String,
    /// The quantity, as its type is in JSON.
    pub quantity: serde_json::Value,
    /// What each region may use and give away, where that is not 0.
    pub regions: Vec<(RegionId, serde_json::Value)>,
}

impl MergedRow {
    /// A row as a view has it.
    pub(crate) fn new(
        ops: ChangeOps,
        log: Arc<dyn Log>,
        knowledge: Arc<dyn Knowledge>,
        row: Subject<Value>,
    ) -> Self {
        Self { ops, log, knowledge, row }
    }

    pub(super) fn ops(&self) -> &ChangeOps {
        &self.ops
    }

    pub(super) fn state(&self) -> &Subject<Value> {
        &self.row
    }

    /// Whether the view had this change. Then it had those of earlier versions, too.
    pub fn holds(&self, stored: &Stored) -> bool {
        self.row.holds(&Stamp { hlc: stored.hlc, origin: stored.origin })
    }

    /// Takes a change that the view did not have yet.
    ///
    /// # Errors
    /// The event is not a change of a row, as one that is parked; or what its region had seen cannot be read.
    pub fn take(&mut self, stored: &Stored) -> Result<(), String> {
        let kind = self.ops.read(&stored.event.as_ref().data, false).map_err(|error| error.to_string())?;
        let stamp = Stamp { hlc: stored.hlc, origin: stored.origin };
        let context = self.knowledge.context(stamp).map_err(|error| error.to_string())?;
        self.row.apply(Change { context, kind });
        Ok(())
    }

    /// Whether this region may accept changes of the row with these data now, one after the other. They are taken then.
    pub fn admit(&mut self, changes: &[Data<&[u8]>]) -> Verdict {
        for data in changes {
            let kind = match self.ops.read(data, true) {
                Ok(kind) => kind,
                Err(error) => return Verdict::Refused(error.to_string()),
            };
            let context = match self.next() {
                Ok(context) => context,
                Err(error) => return Verdict::NotYet(error.to_string()),
            };
            let change = Change { context, kind };
            if let Err(unfit) = self.row.admit(&change, &Limits::default()) {
                return self.verdict(unfit, &change);
            }
            self.row.apply(change);
        }
        Verdict::Admitted
    }

    /// What a change would be told with that is accepted now. What is there when it is accepted is no less.
    fn next(&self) -> tw_log::Result<Context> {
        let last = self.row.last().map_or(Hlc::ZERO, |stamp| stamp.hlc).max(self.log.settled());
        let origin =
            Origin { region: self.log.region(), epoch: self.log.epoch(), sequence: Sequence(u64::MAX) };
        self.knowledge.context(Stamp { hlc: Hlc::from_u64(last.as_u64().saturating_add(1)), origin })
    }

    fn verdict(&self, unfit: Unfit, change: &Change<Value>) -> Verdict {
        let told = |told: Unfit| Verdict::Refused(self.told(&told));
        match &unfit {
            Unfit::NotYetSeen { .. } => Verdict::NotYet(unfit.to_string()),
            Unfit::NoRights { field, region, amount, .. } => {
                let seen = self.row.reserve_as_seen(*field, &change.context).unwrap_or_default();
                match seen.may_consume(*region, *amount) {
                    Consumption::Here => Verdict::NotYet(unfit.to_string()),
                    Consumption::Ask(of) => self.lack(*field, of, &unfit),
                    Consumption::Short { .. } => told(unfit),
                }
            }
            Unfit::RightsElsewhere { field, .. } => {
                let seen = self.row.reserve_as_seen(*field, &change.context).unwrap_or_default();
                match seen.may_delete(change.context.stamp.region()) {
                    Deletion::Here => Verdict::NotYet(unfit.to_string()),
                    Deletion::Ask(of) => self.lack(*field, of, &unfit),
                }
            }
            _ => told(unfit),
        }
    }

    fn lack(&self, field: u16, of: Vec<(RegionId, u64)>, unfit: &Unfit) -> Verdict {
        let column = self.name(field).to_owned();
        Verdict::Ask(Lack { column, of, told: self.told(unfit) })
    }

    /// What is wrong, with the names and the numbers that whoever wrote it knows.
    fn told(&self, unfit: &Unfit) -> String {
        match unfit {
            Unfit::NoRights { field, region, available, amount } => {
                let total = self.row.reserve(*field).map_or(0, Reserve::value);
                let [available, amount, total] =
                    [i128::try_from(*available).unwrap_or(i128::MAX), i128::from(*amount), total]
                        .map(|units| self.text(*field, units));
                format!(
                    "column `{}` has {total}, of which region {region} may use {available}, not {amount}: take less, or put more in first",
                    self.name(*field)
                )
            }
            Unfit::RightsElsewhere { field, holder } => format!(
                "region {holder} may use some of column `{}`, so the row cannot be deleted without it: delete it there, or try again when that region answers",
                self.name(*field)
            ),
            Unfit::TransferToSelf { field, region } => format!(
                "column `{}`: the rights are to go to region {region}, which has them: name another one",
                self.name(*field)
            ),
            other => other.to_string(),
        }
    }

    fn name(&self, field: u16) -> &str {
        self.ops.columns().nth(field.into()).map_or("", |column| column.name.as_str())
    }

    /// The rights in each column that has some.
    pub fn rights(&self) -> Vec<ColumnRights> {
        let fields = (0u16..).zip(self.ops.columns());
        let reserves = fields.filter_map(|(field, column)| Some((field, column, self.row.reserve(field)?)));
        reserves
            .map(|(field, column, reserve)| ColumnRights {
                column: column.name.clone(),
                quantity: self.json(field, reserve.value()),
                regions: reserve.iter().map(|(region, units)| (region, self.json(field, units))).collect(),
            })
            .collect()
    }

    /// What gives rights to another region: the data of a change, and how much that is, which is `amount`, or what this region has, if that is less,
    /// and no less than `least`. Both are as the column's type is in JSON.
    ///
    /// # Errors
    /// What is wrong with the request, or how much this region may give.
    pub fn transfer(
        &self,
        column: &str,
        to: RegionId,
        amount: &str,
        least: &str,
    ) -> Result<(Vec<u8>, serde_json::Value), String> {
        let found = self.ops.column(column).filter(|(_, found, _)| found.merge == Some(Merge::Reserve));
        let (field, _, reader) =
            found.ok_or_else(|| format!("column `{column}` is not of the class `reserve`"))?;
        let read = |raw: &str| read_amount(reader, raw).map_err(|why| format!("column `{column}`: {why}"));
        let (amount, least) = (read(amount)?, read(least)?);
        let context = self.next().map_err(|error| error.to_string())?;
        let me = context.stamp.region();
        let seen = self.row.reserve_as_seen(field, &context).unwrap_or_default();
        let available = u64::try_from(seen.available(me)).unwrap_or(u64::MAX).min(AMOUNT_MAX);
        let given = amount.min(available);
        if given < least {
            let [available, least] = [available, least].map(|units| self.text(field, i128::from(units)));
            return Err(format!(
                "region {me} may give {available} of column `{column}`, and at least {least} is asked for"
            ));
        }
        let given = self.json(field, i128::from(given));
        let data = serde_json::json!({ column: { "transfer": &given, "to": to.0 } });
        Ok((serde_json::to_vec(&data).unwrap_or_default(), given))
    }

    /// How much to ask another region for that is to give `least`: half of what it has beyond that, too, so that it is not asked for each change.
    pub fn ask(&self, column: &str, of: RegionId, least: u64) -> (serde_json::Value, serde_json::Value) {
        let Some((field, ..)) = self.ops.column(column) else { return Default::default() };
        let has = self.row.reserve(field).map_or(0, |reserve| reserve.available(of));
        let beyond = u64::try_from(has).unwrap_or(AMOUNT_MAX).saturating_sub(least) / 2;
        let most = least.saturating_add(beyond).min(AMOUNT_MAX);
        (self.json(field, most.into()), self.json(field, least.min(1).into()))
    }

    /// A number of units as the column's type is in JSON: one that has digits after the point is a text.
    fn json(&self, field: u16, units: i128) -> serde_json::Value {
        let Some(column) = self.ops.columns().nth(field.into()) else { return serde_json::Value::Null };
        match sum_slot(units, &column.ty) {
            Slot::Int(number) => number.into(),
            _ => self.text(field, units).into(),
        }
    }

    fn text(&self, field: u16, units: i128) -> String {
        let column = self.ops.columns().zip(self.ops.types()).nth(field.into());
        column.map_or_else(String::new, |(column, ty)| slot_text(&sum_slot(units, &column.ty), ty))
    }
}
