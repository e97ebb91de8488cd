//! Both engines: under the conformance suite, compared with each other, and what is special about etcd.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod agreement;
mod engines;
mod etcd;
mod faulty;
mod leases;
mod locks;
mod members;
mod ownership;
mod sessions;
mod support;

mod memory_conformance {
    //! The engine in process, in simulated time.

    use crate::engines::Memory;
    tw_cluster::conformance!(Memory::simulated());
}

mod memory_in_real_time_conformance {
    //! The same by the machine's clock.

    use crate::engines::Memory;
    tw_cluster::conformance!(Memory::real());
}

mod etcd_conformance {
    //! A real etcd for each check.

    use crate::engines::EtcdServer;
    tw_cluster::conformance!(EtcdServer::start());
}
