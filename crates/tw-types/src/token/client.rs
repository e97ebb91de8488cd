//! Tokens as clients hold them: a cut, the region in whose log it is one, and what it comes to in the others.
//!
//! Inside an installation a [`Token`] says everything. Offsets and numbers of streams mean nothing in another region, so what is handed to
//! clients also says which event of each region has to be there. Whoever takes one from a client makes a [`Token`] of it first.

use super::{InvalidToken, Token};
use crate::{Hlc, RegionId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// A token that a client was given, and sends with its reads.
///
/// `tw1;7=0:120` is a cut of an installation that is no region, or of the region that is asked. `tw2;r1;1@1780000000000.3,3@1780000000000.0;7=0:120`
/// is a cut of region 1, and says for other regions that everything of region 1 and of region 3 has to be there up to these times of
/// acceptance (inclusive), in milliseconds since the Unix epoch and a counter. A token that names other regions but not its own is of
/// streams that stay in their region: `tw2;r1;;9=0:4`.
///
/// `r0` stands for tokens of several regions that were [merged](Self::merge): they have no cut.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientToken {
    region: RegionId,
    demands: BTreeMap<RegionId, Hlc>,
    cut: Token,
}

impl ClientToken {
    /// The most regions of which something is demanded.
    pub const REGIONS_MAX: usize = 64;

    /// A cut of a region's log; nothing is demanded of other regions. Region 0: of an installation that is the only one.
    pub fn new(region: RegionId, cut: Token) -> Self {
        Self { region, demands: BTreeMap::new(), cut }
    }

    /// In whose log it is a cut; region 0: in that of whoever is asked.
    pub fn region(&self) -> RegionId {
        self.region
    }

    /// Its cut.
    pub fn cut(&self) -> &Token {
        &self.cut
    }

    /// Its cut.
    pub fn into_cut(self) -> Token {
        self.cut
    }

    /// The same demands with another cut.
    #[must_use]
    pub fn with_cut(&self, cut: Token) -> Self {
        Self { region: self.region, demands: self.demands.clone(), cut }
    }

    /// Of each region up to when everything has to be there (inclusive), for whoever reads elsewhere; in the order of their numbers.
    pub fn demands(&self) -> impl Iterator<Item = (RegionId, Hlc)> + '_ {
        self.demands.iter().map(|(region, until)| (*region, *until))
    }

    /// Demands everything of `region` up to `until` (inclusive); the later of two demands holds. Nothing more than [`Hlc::ZERO`] of its own region says that it is of
    /// streams that others have, too.
    pub fn demand(&mut self, region: RegionId, until: Hlc) {
        let known = self.demands.entry(region).or_insert(until);
        *known = until.max(*known);
    }

    /// Whether it demands nothing of anybody.
    pub fn is_empty(&self) -> bool {
        self.cut.is_empty() && self.demands.values().all(|until| *until == Hlc::ZERO)
    }

    /// Whether its cut is one of the log of region `here`.
    pub fn is_of(&self, here: RegionId) -> bool {
        if self.region == RegionId(0) { self.demands.is_empty() } else { self.region == here }
    }

    /// Whether it is a cut through streams that no other region has.
    pub fn stays(&self) -> bool {
        !self.cut.is_empty() && !self.demands.contains_key(&self.region)
    }

    /// Demands whatever either of the two demands. Of two regions, the cuts are given up: what is left is what they come to everywhere, and
    /// what stays in one of them is not part of that.
    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() && other.demands.is_empty() {
            return;
        }
        if self.cut.is_empty() && self.demands.is_empty() {
            return self.clone_from(other);
        }
        if self.region == other.region {
            self.cut.merge(&other.cut);
        } else {
            (self.region, self.cut) = (RegionId(0), Token::new());
        }
        other.demands().for_each(|(region, until)| self.demand(region, until));
    }
}

impl fmt::Display for ClientToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.region == RegionId(0) && self.demands.is_empty() {
            return self.cut.fmt(f);
        }
        write!(f, "tw2;r{};", self.region)?;
        for (index, (region, until)) in self.demands().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            write!(f, "{region}@{until}")?;
        }
        self.cut.write_demands(f)
    }
}

impl FromStr for ClientToken {
    type Err = InvalidToken;

    fn from_str(s: &str) -> Result<Self, InvalidToken> {
        parse(s).ok_or_else(|| InvalidToken::of(s))
    }
}

fn parse(s: &str) -> Option<ClientToken> {
    if s.len() > Token::BYTES_MAX {
        return None;
    }
    let Some(rest) = s.strip_prefix("tw2;r") else {
        return Some(ClientToken::new(RegionId(0), s.parse().ok()?));
    };
    let (region, rest) = rest.split_once(';')?;
    let (demands, cut) = rest.split_once(';').map_or((rest, None), |(demands, cut)| (demands, Some(cut)));
    let cut = cut.map_or(Some(Token::new()), super::parse_demands)?;
    let mut token = ClientToken::new(RegionId(region.parse().ok()?), cut);
    for demand in demands.split(',').filter(|_| !demands.is_empty()) {
        let (region, until) = demand.split_once('@')?;
        token.demand(RegionId(region.parse().ok()?), parse_hlc(until)?);
    }
    let is_cut_of_nobody = token.region == RegionId(0) && !token.cut.is_empty();
    (token.demands.len() <= ClientToken::REGIONS_MAX && !is_cut_of_nobody).then_some(token)
}

/// Milliseconds and counter, as [`Hlc`] is displayed.
fn parse_hlc(text: &str) -> Option<Hlc> {
    let (millis, counter) = text.split_once('.')?;
    let (millis, counter) = (millis.parse().ok()?, counter.parse().ok()?);
    let hlc = Hlc::new(millis, counter);
    (hlc.millis() == millis).then_some(hlc)
}

impl Serialize for ClientToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClientToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Offset, PartitionId, StreamId, StreamPartition};
    use proptest::prelude::*;

    fn token(text: &str) -> ClientToken {
        text.parse().unwrap()
    }

    #[test]
    fn the_text_of_a_token_is_the_same_for_ever() {
        let at = |stream, partition| StreamPartition::new(StreamId(stream), PartitionId(partition));
        let cut = [(at(7, 0), Offset(120)), (at(7, 3), Offset(88)), (at(9, 0), Offset(4))];
        let mut golden = ClientToken::new(RegionId(1), cut.into_iter().collect());
        assert_eq!(golden.to_string(), "tw2;r1;;7=0:120,3:88;9=0:4");
        golden.demand(RegionId(3), Hlc::new(1_780_000_000_000, 0));
        golden.demand(RegionId(1), Hlc::new(1_780_000_000_000, 3));
        let text = "tw2;r1;1@1780000000000.3,3@1780000000000.0;7=0:120,3:88;9=0:4";
        assert_eq!(golden.to_string(), text);
        assert_eq!(token(text), golden);
        assert_eq!(token("tw1;7=0:120"), ClientToken::new(RegionId(0), "tw1;7=0:120".parse().unwrap()));
        assert_eq!(token("tw1;7=0:120").to_string(), "tw1;7=0:120");
        assert_eq!(ClientToken::new(RegionId(2), Token::new()).to_string(), "tw2;r2;");
    }

    #[test]
    fn a_token_means_something_where_it_was_given() {
        let one = RegionId(1);
        assert!(token("tw1;7=0:1").is_of(one) && token("tw1;7=0:1").is_of(RegionId(0)));
        assert!(token("tw2;r1;;7=0:1").is_of(one) && !token("tw2;r1;;7=0:1").is_of(RegionId(0)));
        assert!(!token("tw2;r0;1@5.0").is_of(one) && !token("tw2;r0;1@5.0").is_of(RegionId(0)));
        assert!(token("tw2;r1;;7=0:1").stays() && token("tw2;r1;3@5.0;7=0:1").stays());
        assert!(!token("tw2;r1;1@0.0;7=0:1").stays() && !token("tw2;r1;").stays());
        assert!(token("tw2;r1;1@0.0").is_empty() && !token("tw2;r1;1@0.1").is_empty());
    }

    #[test]
    fn merging_takes_the_later_demand_and_gives_up_cuts_of_different_regions() {
        let mut a = token("tw2;r1;1@5.0,2@7.0;7=0:5");
        a.merge(&token("tw2;r1;1@6.0;7=0:4,1:3"));
        assert_eq!(a.to_string(), "tw2;r1;1@6.0,2@7.0;7=0:5,1:3");
        a.merge(&token("tw1"));
        assert_eq!(a.to_string(), "tw2;r1;1@6.0,2@7.0;7=0:5,1:3");
        a.merge(&token("tw2;r2;1@2.0,2@9.0;7=0:99"));
        assert_eq!(a.to_string(), "tw2;r0;1@6.0,2@9.0");
        a.merge(&token("tw2;r3;3@1.0;7=0:99"));
        assert_eq!(a.to_string(), "tw2;r0;1@6.0,2@9.0,3@1.0");
        let mut first = ClientToken::default();
        first.merge(&token("tw2;r1;1@5.0;7=0:5"));
        assert_eq!(first.to_string(), "tw2;r1;1@5.0;7=0:5");
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        let many: Vec<String> = (1..66).map(|region| format!("{region}@1.0")).collect();
        let long = format!("tw2;r1;;7=0:1{}", ",0:1".repeat(20_000));
        let many = format!("tw2;r1;{}", many.join(","));
        for text in [
            "",
            "tw2",
            "tw2;",
            "tw2;r",
            "tw2;r1",
            "tw2;1;",
            "tw2;r70000;",
            "tw2;r1;1",
            "tw2;r1;1@",
            "tw2;r1;1@5",
            "tw2;r1;1@5.70000",
            "tw2;r1;1@281474976710656.0",
            "tw2;r1;1@5.0,",
            "tw2;r1;1@5.0;",
            "tw2;r1;;7",
            "tw2;r1;;7=0:1;",
            "tw2;r0;1@5.0;7=0:1",
            "tw2;r0;;7=0:1",
            "tw3;r1;",
            "tw1;",
            &many,
            &long,
        ] {
            assert!(text.parse::<ClientToken>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_form_reads_back(
            region in any::<u16>(),
            demands in proptest::collection::vec((any::<u16>(), any::<u64>()), 0..20),
            cut in proptest::collection::vec((0u32..9, 0u32..9, any::<u64>()), 0..20),
        ) {
            let cut = cut.into_iter().filter(|_| region != 0);
            let at = |(s, p, end)| (StreamPartition::new(StreamId(s), PartitionId(p)), Offset(end));
            let mut token = ClientToken::new(RegionId(region), cut.map(at).collect());
            demands.into_iter().for_each(|(region, until)| token.demand(RegionId(region), Hlc::from_u64(until)));
            prop_assert_eq!(token.to_string().parse::<ClientToken>().unwrap(), token);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(tw[123];?)?[r0-9;@.,:=]{0,40}") {
            if let Ok(token) = text.parse::<ClientToken>() {
                prop_assert_eq!(token.to_string().parse::<ClientToken>().unwrap(), token);
            }
        }

        #[test]
        fn what_merged_tokens_demand_each_of_them_demands_at_most(
            a in proptest::collection::btree_map(1u16..5, 0u64..9, 0..4),
            b in proptest::collection::btree_map(1u16..5, 0u64..9, 0..4),
            regions in (1u16..4, 1u16..4),
        ) {
            let make = |region, demands: &BTreeMap<u16, u64>| {
                let mut token = ClientToken::new(RegionId(region), "tw1;7=0:5".parse().unwrap());
                demands.iter().for_each(|(of, until)| token.demand(RegionId(*of), Hlc::from_u64(*until)));
                token
            };
            let (a, b) = (make(regions.0, &a), make(regions.1, &b));
            let (mut merged, mut other) = (a.clone(), b.clone());
            merged.merge(&b);
            other.merge(&a);
            prop_assert_eq!(&merged, &other);
            let mut expected: BTreeMap<RegionId, Hlc> = a.demands().collect();
            for (region, until) in b.demands() {
                let known = expected.entry(region).or_default();
                *known = until.max(*known);
            }
            prop_assert_eq!(merged.demands().collect::<BTreeMap<_, _>>(), expected);
        }
    }
}
