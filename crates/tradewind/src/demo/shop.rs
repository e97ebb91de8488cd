//! The shop: what happens in it, as a pure function of a seed and the number of a tick.
//!
//! Nothing is remembered from one tick to the next. Order `n` is placed in tick `n`; what becomes of it, and when, follows
//! from its number. So a demo that is started again needs only to know how far it was, and whatever it says twice is the
//! same both times.

/// In how many ticks after its placing an order is paid or cancelled, and after that shipped or refunded: at least, at most.
const DECIDED: (u64, u64) = (10, 60);
const SETTLED: (u64, u64) = (20, 120);
/// How many customers there are at first, and after how many ticks one more comes.
const CUSTOMERS: u64 = 200;
const CUSTOMER_EVERY: u64 = 20;
/// About how many facts one tick has: to turn a rate of events into one of ticks.
pub(super) const FACTS_PER_TICK: f64 = 7.5;

/// The pages of the shop, those that are looked at most at first.
pub(super) const PAGES: [&str; 16] = [
    "/", "/sale", "/cart", "/new", "/shoes", "/shirts", "/coats", "/hats", "/socks", "/belts", "/scarves",
    "/gloves", "/bags", "/help", "/returns", "/imprint",
];
const COUNTRIES: [&str; 8] = ["de", "fr", "nl", "it", "es", "pl", "se", "pt"];
const NAMES: [&str; 16] = [
    "Ada", "Bela", "Carla", "Dmitri", "Emma", "Femke", "Greta", "Hugo", "Ines", "Jan", "Klara", "Luca",
    "Marta", "Nils", "Olga", "Pablo",
];

/// What an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum State {
    Placed,
    Paid,
    Shipped,
    Cancelled,
    Refunded,
}

impl State {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }

    /// The state before it.
    #[cfg(test)]
    pub(super) fn before(self) -> Option<Self> {
        match self {
            Self::Placed => None,
            Self::Paid | Self::Cancelled => Some(Self::Placed),
            Self::Shipped | Self::Refunded => Some(Self::Paid),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// Somebody became a customer.
    Customer { id: u64, name: String, country: &'static str },
    /// An order was placed, or its state changed.
    Order { id: u64, customer: u64, state: State, cents: u64 },
    /// Somebody looked at a page.
    Click { id: u64, customer: u64, page: &'static str },
}

/// The shop of a seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shop {
    seed: u64,
}

impl Shop {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Everything that happens in a tick.
    pub(super) fn tick(self, tick: u64) -> Vec<Fact> {
        let mut facts = Vec::new();
        let first = if tick == 0 { 0 } else { customers(tick - 1) };
        facts.extend((first..customers(tick)).map(|id| self.customer(id)));
        facts.push(self.order(tick, State::Placed));
        // The oldest first, so that of two changes of one order the earlier one comes first.
        for order in tick.saturating_sub(DECIDED.1 + SETTLED.1)..tick {
            let decided = order + self.within(order, "decided", DECIDED);
            let paid = self.number(order, "fate") % 100 >= 8;
            if decided == tick {
                facts.push(self.order(order, if paid { State::Paid } else { State::Cancelled }));
            } else if paid && decided + self.within(order, "settled", SETTLED) == tick {
                let kept = self.number(order, "kept") % 100 >= 4;
                facts.push(self.order(order, if kept { State::Shipped } else { State::Refunded }));
            }
        }
        let clicks = 3 + self.number(tick, "clicks") % 4;
        facts.extend((0..clicks).map(|n| self.click(tick, n)));
        facts
    }

    fn customer(self, id: u64) -> Fact {
        let number = self.number(id, "customer");
        let name = pick(&NAMES, number);
        let country = pick(&COUNTRIES, self.zipf(id, "country", COUNTRIES.len() as u64));
        Fact::Customer { id, name: format!("{name} {id}"), country }
    }

    fn order(self, id: u64, state: State) -> Fact {
        let customer = self.zipf(id, "buyer", customers(id));
        // Many small orders, few large ones: 5 to 500.
        let cents = (500.0 * 100f64.powf(self.unit(id, "total"))) as u64;
        Fact::Order { id, customer, state, cents }
    }

    fn click(self, tick: u64, n: u64) -> Fact {
        let id = tick * 8 + n;
        let customer = self.zipf(id, "visitor", customers(tick));
        Fact::Click { id, customer, page: pick(&PAGES, self.zipf(id, "page", PAGES.len() as u64)) }
    }

    /// A number that looks random and is always the same for these arguments (SplitMix64: Steele, Lea, Flood, 2014).
    fn number(self, n: u64, what: &str) -> u64 {
        let mut state = self.seed;
        for word in what.bytes().map(u64::from).chain([n]) {
            state = mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_add(word));
        }
        state
    }

    /// From 0 up to, but not including, 1.
    fn unit(self, n: u64, what: &str) -> f64 {
        (self.number(n, what) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn within(self, n: u64, what: &str, (least, most): (u64, u64)) -> u64 {
        least + self.number(n, what) % (most - least + 1)
    }

    /// One of `count` ranks from 0, of which the n-th is about n times rarer than the first (Zipf's law with exponent 1):
    /// the density 1/x between 1 and count + 1 has this inverse distribution.
    fn zipf(self, n: u64, what: &str, count: u64) -> u64 {
        let rank = ((count + 1) as f64).powf(self.unit(n, what)) as u64;
        rank.clamp(1, count.max(1)) - 1
    }
}

/// How many customers there are after a tick.
fn customers(tick: u64) -> u64 {
    CUSTOMERS + tick / CUSTOMER_EVERY
}

fn pick<const N: usize>(choices: &[&'static str; N], number: u64) -> &'static str {
    choices.get((number % N as u64) as usize).copied().unwrap_or_default()
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_same_seed_and_tick_give_the_same_facts() {
        for tick in [0, 1, 500, 1_000_000_007] {
            assert_eq!(Shop::new(7).tick(tick), Shop::new(7).tick(tick));
            assert_ne!(Shop::new(7).tick(tick), Shop::new(8).tick(tick));
        }
    }

    #[test]
    fn every_order_goes_through_its_states_in_order_and_ends() {
        let shop = Shop::new(1);
        let ticks = 2_000;
        let mut states: HashMap<u64, State> = HashMap::new();
        for fact in (0..ticks).flat_map(|tick| shop.tick(tick)) {
            if let Fact::Order { id, state, .. } = fact {
                assert_eq!(states.insert(id, state), state.before(), "order {id}");
            }
        }
        assert_eq!(states.len() as u64, ticks);
        let open = states.iter().filter(|(id, state)| {
            **id + DECIDED.1 + SETTLED.1 < ticks && matches!(state, State::Placed | State::Paid)
        });
        assert_eq!(open.count(), 0);
    }

    #[test]
    fn customers_exist_before_they_buy_and_ids_are_unique() {
        let shop = Shop::new(3);
        let (mut known, mut clicks) = (0, std::collections::HashSet::new());
        for fact in (0..3_000).flat_map(|tick| shop.tick(tick)) {
            match fact {
                Fact::Customer { id, .. } => {
                    assert_eq!(id, known);
                    known += 1;
                }
                Fact::Order { customer, .. } => assert!(customer < known),
                Fact::Click { id, customer, .. } => {
                    assert!(customer < known && clicks.insert(id));
                }
            }
        }
    }

    #[test]
    fn a_few_customers_buy_most_and_a_tick_has_about_as_many_facts_as_said() {
        let shop = Shop::new(42);
        let facts: Vec<Fact> = (1_000..5_000).flat_map(|tick| shop.tick(tick)).collect();
        let per_tick = facts.len() as f64 / 4_000.0;
        assert!((per_tick - FACTS_PER_TICK).abs() < 0.2, "{per_tick}");
        let buyers = facts.iter().filter_map(|fact| match fact {
            Fact::Order { customer, state: State::Placed, .. } => Some(*customer),
            _ => None,
        });
        let best = buyers.filter(|customer| *customer < 10).count();
        assert!((1_500..2_100).contains(&best), "the best ten of 400 placed {best} of 4,000 orders");
    }
}
