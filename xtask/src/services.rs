//! `cargo xtask services`: the real servers that tests need.
//!
//! Tests start private instances of them, in temporary folders and on free ports, and stop them; all that they need from
//! here is programs. Each service is a module with one function, and one line in [`SERVICES`].

mod bundles;
pub(crate) mod debian;
mod dig;
mod etcd;
mod kafka;
mod maven;
pub(crate) mod postgres;
mod s3proxy;
mod toolchain;

use anyhow::{Context as _, Result};

/// A server, or another program, that tests need.
struct Service {
    name: &'static str,
    /// Makes it available, and returns the variables that tests find it by.
    provide: fn() -> Result<Vec<Variable>>,
}

const SERVICES: &[Service] = &[
    Service { name: "C and C++ compilers, OpenSSL", provide: toolchain::provide },
    Service { name: "PostgreSQL", provide: postgres::provide },
    Service { name: "etcd", provide: etcd::provide },
    Service { name: "dig", provide: dig::provide },
    Service { name: "Java", provide: maven::java },
    Service { name: "Kafka", provide: kafka::provide },
    Service { name: "S3Proxy", provide: s3proxy::provide },
];

/// An environment variable for the tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) value: String,
}

/// Makes every service available, and returns the variables that point to them.
pub(crate) fn provide() -> Result<Vec<Variable>> {
    let mut variables = Vec::new();
    for service in SERVICES {
        variables.extend((service.provide)().with_context(|| format!("{} cannot be had", service.name))?);
    }
    Ok(variables)
}

/// Does that, and prints the variables so that a shell can take them over: `eval "$(cargo xtask services)"`.
pub(crate) fn run() -> Result<()> {
    for Variable { name, value } in provide()? {
        println!("export {name}='{}'", value.replace('\'', r"'\''"));
    }
    Ok(())
}
