//! The streams in which values are claimed: one beside each stream with unique columns, the same in every region.

use tw_log::{NewStream, Streams};
use tw_types::{Merge, StreamDef, StreamMode, StreamName, StreamOptions};

/// What is to be done so that they are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is none yet.
    Create(NewStream),
    /// The stream that it belonged to is gone.
    Drop(StreamName),
}

/// The stream of claims that a stream needs. Every region comes to the same one, so that they exchange it.
fn wanted(def: &StreamDef) -> Option<NewStream> {
    if !def.has_merge(&Merge::Unique) {
        return None;
    }
    let options = StreamOptions {
        mode: StreamMode::HomeRegion,
        home: Some(def.options.home?),
        replaces: def.options.replaces,
        ..StreamOptions::default()
    };
    Some(NewStream { options, ..NewStream::plain(def.name.of_claims().ok()?, def.partitions) })
}

/// What is to be done with what is defined.
pub(crate) fn steps(streams: &Streams) -> Vec<Step> {
    let mut steps = Vec::new();
    for def in streams.iter() {
        if let Some(of) = def.name.as_str().strip_prefix(StreamName::OF_CLAIMS) {
            let wanted = streams.get(of).ok().and_then(|of| wanted(of));
            if !wanted.is_some_and(|wanted| wanted.options == def.options) {
                steps.push(Step::Drop(def.name.clone()));
            }
        } else if let Some(new) = wanted(def)
            && streams.get(new.name.as_str()).is_err()
        {
            steps.push(Step::Create(new));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_types::{Column, RegionId, Schema};

    fn unique(name: &str, replaces: Option<u64>) -> NewStream {
        let column = Column {
            name: "email".into(),
            ty: "text".parse().unwrap(),
            nullable: true,
            class: Default::default(),
            merge: Some(Merge::Unique),
        };
        let schema = Schema { version: 1, columns: vec![column], key: vec![Schema::SUBJECT.into()] };
        let (mode, home) = (StreamMode::ActiveActive, Some(RegionId(2)));
        let options = StreamOptions { mode, home, replaces, ..StreamOptions::default() };
        NewStream { schema: Some(schema), options, ..NewStream::plain(StreamName::new(name).unwrap(), 3) }
    }

    fn apply(streams: &mut Streams, step: &Step) {
        let change = match step {
            Step::Create(new) => streams.create(new.clone()),
            Step::Drop(name) => streams.drop_stream(name),
        };
        streams.apply(change.unwrap());
    }

    #[test]
    fn claims_come_and_go_with_their_stream() {
        let mut streams = Streams::new();
        let plain = NewStream::plain(StreamName::new("orders").unwrap(), 1);
        streams.apply(streams.create(plain).unwrap());
        assert_eq!(steps(&streams), []);
        streams.apply(streams.create(unique("users", None)).unwrap());
        let found = steps(&streams);
        assert!(
            matches!(&found[..], [Step::Create(new)] if new.name.as_str() == "$claims.users" && new.partitions == 3)
        );
        found.iter().for_each(|step| apply(&mut streams, step));
        assert_eq!(steps(&streams), [], "they are there");
        let claims = streams.get("$claims.users").unwrap();
        assert_eq!((claims.options.mode, claims.options.home), (StreamMode::HomeRegion, Some(RegionId(2))));
        // Dropped, and created anew before this was looked at.
        let name = StreamName::new("users").unwrap();
        streams.apply(streams.drop_stream(&name).unwrap());
        streams.apply(streams.create(unique("users", Some(7))).unwrap());
        for expected in ["Drop", "Create"] {
            let found = steps(&streams);
            assert!(format!("{found:?}").starts_with(&format!("[{expected}")), "{found:?}");
            found.iter().for_each(|step| apply(&mut streams, step));
        }
        assert_eq!(streams.get("$claims.users").unwrap().options.replaces, Some(7));
        streams.apply(streams.drop_stream(&name).unwrap());
        assert_eq!(steps(&streams), [Step::Drop(StreamName::new("$claims.users").unwrap())]);
    }
}
