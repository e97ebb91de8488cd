//! What the tests of everything above the engines share.

use std::sync::Arc;
use std::time::Duration;
use tw_cluster::conformance::Engine;
use tw_cluster::{Coordination, Lease, LeaseOptions};

/// How long leases last whose end is waited for: long enough for a busy machine, short enough to wait for.
pub(crate) const TTL: Duration = Duration::from_secs(4);

/// Makes a test on each engine of each function.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod in_memory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(&crate::engines::Memory::simulated()).await;
                }
            )+
        }

        mod on_etcd {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(&crate::engines::EtcdServer::start()).await;
                }
            )+
        }
    };
}
pub(crate) use on_both_engines;

/// A lease that will end in the course of a test: of [`TTL`], given up half-way.
pub(crate) async fn dying(on: Arc<dyn Coordination>) -> Lease {
    Lease::new(on, &LeaseOptions { ttl_ms: TTL.as_millis() as u64, margin_percent: 50 }).await.unwrap()
}

/// A lease that lasts as long as the test.
pub(crate) async fn lasting(on: &Arc<dyn Coordination>) -> Lease {
    Lease::new(on.clone(), &LeaseOptions { ttl_ms: 30_000, margin_percent: 10 }).await.unwrap()
}

/// Lets time pass, whichever time it is, until that comes about.
pub(crate) async fn in_time<T>(engine: &dyn Engine, what: impl Future<Output = T>) -> T {
    let mut what = std::pin::pin!(what);
    let patience = std::time::Instant::now() + tw_testing::PATIENCE;
    while std::time::Instant::now() < patience {
        if let Ok(done) = tokio::time::timeout(Duration::from_millis(2), &mut what).await {
            return done;
        }
        engine.pass(TTL / 200);
    }
    panic!("it does not come about");
}

/// Waits until that holds, however long it takes.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(1));
    while !holds() {
        looks.tick().await;
    }
}

/// Whether that does not come about while some time passes.
pub(crate) async fn not_in<T>(engine: &dyn Engine, time: Duration, what: impl Future<Output = T>) -> bool {
    let mut what = std::pin::pin!(what);
    let step = Duration::from_millis(2);
    for _ in 0..time.as_millis() / step.as_millis() {
        if tokio::time::timeout(step, &mut what).await.is_ok() {
            return false;
        }
        engine.pass(step);
    }
    true
}
