//! Both engines, as the tests use them.

use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tw_cluster::conformance::{Disturbance, Engine};
use tw_cluster::{
    Coordination, EtcdCoordination, EtcdOptions, MemoryCoordination, MemoryOptions, SimTime, SystemTime, Time,
};
use tw_env::{Env, sim::Sim};
use tw_testing::Etcd;

/// The machine's time.
pub(crate) fn real_time() -> Arc<dyn Time> {
    Arc::new(SystemTime::new(&Env::real()))
}

/// The engine in process; it is made within the test's runtime.
pub(crate) struct Memory {
    made: OnceLock<Arc<MemoryCoordination>>,
    simulated: Option<Arc<SimTime>>,
}

impl Memory {
    pub(crate) fn simulated() -> Self {
        let time = SimTime::new(Sim::new(1).clock);
        Self { made: OnceLock::new(), simulated: Some(Arc::new(time)) }
    }

    pub(crate) fn real() -> Self {
        Self { made: OnceLock::new(), simulated: None }
    }
}

impl Engine for Memory {
    fn connect(&self) -> Arc<dyn Coordination> {
        let time = || match &self.simulated {
            Some(time) => time.clone(),
            None => real_time(),
        };
        let make = || Arc::new(MemoryCoordination::new(time(), &MemoryOptions::default()).unwrap());
        self.made.get_or_init(make).clone()
    }

    fn disturb(&self, _: Disturbance) {}

    fn pass(&self, time: Duration) {
        if let Some(simulated) = &self.simulated {
            simulated.advance(time.as_millis() as u64);
        }
    }
}

/// A real etcd.
pub(crate) struct EtcdServer(Mutex<Etcd>);

impl EtcdServer {
    pub(crate) fn start() -> Self {
        Self(Mutex::new(Etcd::start()))
    }

    pub(crate) fn options(&self) -> EtcdOptions {
        EtcdOptions { endpoints: vec![self.0.lock().endpoint()], page_entries: 100, ..EtcdOptions::default() }
    }
}

impl Engine for EtcdServer {
    fn connect(&self) -> Arc<dyn Coordination> {
        Arc::new(EtcdCoordination::new(real_time(), &self.options()).unwrap())
    }

    fn disturb(&self, disturbance: Disturbance) {
        let mut server = self.0.lock();
        match disturbance {
            Disturbance::Pause => server.pause(),
            Disturbance::Resume => server.resume(),
            Disturbance::Restart => {
                server.stop();
                server.start_again();
            }
            Disturbance::Kill => {
                server.kill();
                server.start_again();
            }
        }
    }

    fn pass(&self, _: Duration) {}
}
