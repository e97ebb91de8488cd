//! Claims as events: one per claim, with all that has to be known of the value.
//!
//! ```json
//! {"type": "tradewind.value.claimed", "subject": "[\"email\",\"ann@x.org\"]", "data": {"v": 1, "subject": "ann", "regions": [1, 2], "taken_over": false}}
//! ```

use crate::core::Core;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use tw_api::{Code, Problem};
use tw_project::UniqueValue;
use tw_types::{Data, Event, ExpectedVersion, StreamDef, Token, Version};

/// The type of a claim.
const TYPE: &str = "tradewind.value.claimed";

/// Who has a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    v: u32,
    /// Whose row.
    pub(super) subject: String,
    /// The regions that may have given it to the row since no other one had it.
    pub(super) regions: BTreeSet<u16>,
    /// Whether another row had it before.
    pub(super) taken_over: bool,
}

impl Claim {
    /// By a region for a row; of a row that has the value already it is one more.
    pub(super) fn after(before: Option<Self>, subject: &str, region: u16) -> Self {
        let taken_over = before.is_some();
        let mut claim = before.filter(|claim| claim.subject == subject).unwrap_or_else(|| Self {
            v: 1,
            subject: subject.to_owned(),
            regions: BTreeSet::new(),
            taken_over,
        });
        claim.regions.insert(region);
        claim
    }

    fn read(data: &[u8]) -> Option<Self> {
        serde_json::from_slice(data).ok().filter(|claim: &Self| claim.v == 1)
    }
}

/// The subject of claims of a value: columns and values may have any characters.
fn subject_of(value: &UniqueValue) -> String {
    serde_json::json!([value.column, value.value]).to_string()
}

/// What was said of a value last, and the version that it has by that.
///
/// # Errors
/// It cannot be read.
pub(super) async fn last(
    core: &Core,
    claims: &StreamDef,
    value: &UniqueValue,
) -> Result<(Option<Claim>, Version), Problem> {
    let subject = subject_of(value);
    let version = core.events.version(claims.id, &subject).await?;
    if version == Version::NONE {
        return Ok((None, version));
    }
    let page = core.events.history(claims.id, &subject, version, 1).await?;
    let claim = page.first().and_then(|stored| Claim::read(stored.event.as_ref().data.bytes()));
    let claim = claim.ok_or_else(|| {
        let detail = format!(
            "the claim of {subject} in `{}` does not read: a newer version of this program may have written it",
            claims.name
        );
        Problem::new(Code::Internal, detail)
    })?;
    Ok((Some(claim), version))
}

/// Says who has a value, if nothing was said since it had this version; where that is in the log.
///
/// # Errors
/// `version_conflict`, and those of appends.
pub(super) async fn append(
    core: &Core,
    claims: &Arc<StreamDef>,
    value: &UniqueValue,
    version: Version,
    claim: &Claim,
) -> Result<Token, Problem> {
    let (log, subject) = (&core.log, subject_of(value));
    let random = &core.env.random;
    let event = Event {
        // Of two that claim a value at once none may be taken for the other one, sent again.
        id: format!("claim/{}/{:016x}{:016x}", log.region(), random.next_u64(), random.next_u64()),
        source: "tradewind:claims".into(),
        ty: TYPE.into(),
        subject: Some(subject.clone()),
        // Numbers and texts always have a JSON form.
        data: Data::Json(serde_json::to_vec(claim).unwrap_or_default()),
        ..Event::default()
    };
    let mut write = core.events.write();
    let expected =
        if version == Version::NONE { ExpectedVersion::None } else { ExpectedVersion::Exact(version) };
    write.expect(claims, &subject, expected);
    write.push(claims, &event.as_ref())?;
    Ok(core.events.append(write).await?.token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_claim_knows_who_may_have_written_the_value_and_whether_another_row_had_it() {
        let first = Claim::after(None, "ann", 1);
        assert_eq!((first.regions.len(), first.taken_over), (1, false));
        let again = Claim::after(Some(first), "ann", 2);
        assert_eq!((again.regions.clone(), again.taken_over), ([1, 2].into(), false));
        let other = Claim::after(Some(again), "bob", 3);
        assert_eq!(
            (other.subject.as_str(), other.regions.clone(), other.taken_over),
            ("bob", [3].into(), true)
        );
        let again = Claim::after(Some(other), "bob", 1);
        assert!(again.taken_over, "also when it is claimed again");
        assert_eq!(Claim::read(&serde_json::to_vec(&again).unwrap()), Some(again));
    }

    #[test]
    fn no_two_values_have_one_name() {
        let of = |column: &str, value: &str| UniqueValue { column: column.into(), value: value.into() };
        assert_ne!(subject_of(&of("a", "b\",\"c")), subject_of(&of("a\",\"b", "c")));
        assert_eq!(subject_of(&of("email", "ann@x.org")), r#"["email","ann@x.org"]"#);
    }

    proptest! {
        #[test]
        fn any_data_is_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _any = Claim::read(&data);
        }
    }
}
