//! A server with three regions, whose health a test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use tw_dns::{Counters, Known, Options, Regions, Server};
use tw_plan::routing::{self, Observed, Plan};
use tw_types::RegionId;

/// What the server is told of the regions.
pub(crate) struct Told(Mutex<Option<Arc<Known>>>);

impl Regions for Told {
    fn known(&self) -> Option<Arc<Known>> {
        self.0.lock().unwrap().clone()
    }
}

/// A running server.
pub(crate) struct World {
    runtime: Runtime,
    server: Option<Server>,
    pub(crate) address: SocketAddr,
    told: Arc<Told>,
}

/// Options of a zone with three regions, on a free port.
pub(crate) fn options() -> Options {
    toml::from_str(
        r#"
listen = "127.0.0.1:0"
zone = "tw.example"
service = "api.tw.example"
name_servers = [{ name = "ns1.tw.example", ipv4 = ["192.0.2.53"] }]
contact = "hostmaster@example.com"
regions = [
    { id = 1, name = "eu", ipv4 = ["192.0.2.1"], ipv6 = ["2001:db8:1::1"] },
    { id = 2, name = "us", ipv4 = ["192.0.2.2"] },
    { id = 3, name = "sg", ipv4 = ["192.0.2.3"] },
]
networks = [
    { cidr = "198.51.100.0/22", place = { lat = 52.5, lon = 13.4 } },
    { cidr = "203.0.113.0/24", place = { lat = 40.7, lon = -74.0 } },
    { cidr = "2001:db8:f::/48", place = { lat = 13.8, lon = 100.5 } },
]
"#,
    )
    .unwrap()
}

/// Frankfurt, Virginia and Singapore, of which nothing was heard.
pub(crate) fn known() -> Known {
    let region = |id: u16, lat: f64, lon: f64| routing::Region {
        id: RegionId(id),
        weight: routing::WEIGHT_MAX,
        drained: false,
        capacity_per_s: 1,
        place: Some(routing::Place::new(lat, lon).unwrap()),
        addresses: vec![format!("region-{id}.example")],
        given: Vec::new(),
    };
    let regions = vec![region(1, 50.1, 8.7), region(2, 38.9, -77.4), region(3, 1.3, 103.8)];
    Known {
        plan: Plan::first(regions).unwrap(),
        observed: Observed::default(),
        options: routing::Options::default(),
        now_ms: 1,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = options();
        change(&mut options);
        let runtime = Runtime::new().unwrap();
        let told = Arc::new(Told(Mutex::new(Some(Arc::new(known())))));
        let server = runtime.block_on(Server::start(options, told.clone())).unwrap();
        Self { address: server.address(), runtime, server: Some(server), told }
    }

    pub(crate) fn tell(&self, known: Option<Known>) {
        *self.told.0.lock().unwrap() = known.map(Arc::new);
    }

    /// From now on these regions look down, the others up.
    pub(crate) fn down(&self, regions: &[u16]) {
        let mut known = known();
        for region in 1..=3 {
            known.observed.tell(RegionId(region), !regions.contains(&region), 1);
        }
        self.tell(Some(known));
    }

    pub(crate) fn counters(&self) -> Counters {
        self.server.as_ref().unwrap().counters()
    }

    pub(crate) fn shutdown(&mut self) {
        self.runtime.block_on(self.server.take().unwrap().shutdown());
    }

    pub(crate) fn drop_server(&mut self) {
        self.server = None;
    }
}
