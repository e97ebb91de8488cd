//! The links between regions: each pair of them has two lines, one for each region that connects to the other.

use super::line::Line;
use crate::crew::free_port;
use crate::error::Result;
use std::collections::BTreeMap;
use std::time::Duration;

/// All lines between the regions, whose numbers are 1 and up.
#[derive(Debug)]
pub(super) struct Mesh {
    /// Where each region listens for others, by its number.
    ports: BTreeMap<u16, u16>,
    /// By the region that connects, and the one that it connects to.
    lines: BTreeMap<(u16, u16), Line>,
    /// The pairs, the lower number first, and whether each is cut.
    links: Vec<(Pair, bool)>,
}

/// Two regions, the lower number first.
pub(super) type Pair = (u16, u16);

impl Mesh {
    /// Opens the lines of so many regions; each way takes `delay`. The regions themselves may come later.
    ///
    /// # Errors
    /// When there are no free ports.
    pub(super) async fn open(count: u16, delay: Duration) -> Result<Self> {
        let mut mesh = Self { ports: BTreeMap::new(), lines: BTreeMap::new(), links: Vec::new() };
        for number in 1..=count {
            mesh.ports.insert(number, free_port()?);
        }
        for one in 1..=count {
            for (other, port) in mesh.ports.iter().filter(|(other, _)| **other != one) {
                mesh.lines.insert((one, *other), Line::open(*port, delay).await?);
            }
            mesh.links.extend((one + 1..=count).map(|other| ((one, other), false)));
        }
        Ok(mesh)
    }

    /// The numbers of the regions.
    pub(super) fn numbers(&self) -> Vec<u16> {
        self.ports.keys().copied().collect()
    }

    /// Where a region listens for others.
    pub(super) fn port(&self, number: u16) -> u16 {
        self.ports.get(&number).copied().unwrap_or_default()
    }

    /// The regions to which one connects, and the port at which it does.
    pub(super) fn peers(&self, number: u16) -> impl Iterator<Item = (u16, u16)> + '_ {
        let own = self.lines.iter().filter(move |((from, _), _)| *from == number);
        own.map(|((_, to), line)| (*to, line.port()))
    }

    /// The links, in the order of their keys, and whether each is cut.
    pub(super) fn links(&self) -> &[(Pair, bool)] {
        &self.links
    }

    /// Cuts or heals every link for which `which` says so, both ways; returns those that were changed.
    pub(super) fn cut(&mut self, is_cut: bool, which: impl Fn(Pair) -> bool) -> Vec<Pair> {
        let mut changed = Vec::new();
        for (pair, was_cut) in &mut self.links {
            if which(*pair) && *was_cut != is_cut {
                *was_cut = is_cut;
                let (one, other) = *pair;
                for way in [(one, other), (other, one)] {
                    self.lines.get(&way).into_iter().for_each(|line| line.cut(is_cut));
                }
                changed.push(*pair);
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_pair_is_one_link_and_every_region_reaches_each_other_one() {
        let mut mesh = Mesh::open(4, Duration::ZERO).await.unwrap();
        let pairs: Vec<Pair> = mesh.links().iter().map(|(pair, _)| *pair).collect();
        assert_eq!(pairs, [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]);
        for number in mesh.numbers() {
            let peers: Vec<u16> = mesh.peers(number).map(|(peer, _)| peer).collect();
            assert_eq!(peers, (1..=4).filter(|peer| *peer != number).collect::<Vec<_>>());
        }
        assert_eq!(mesh.cut(true, |(one, _)| one == 1), [(1, 2), (1, 3), (1, 4)]);
        assert_eq!(mesh.cut(true, |pair| pair == (1, 2)), [], "it is cut already");
        assert_eq!(mesh.cut(false, |_| true).len(), 3);
    }
}
