//! S3Proxy: the interface of Amazon S3 over a folder; its jars from Maven Central.
//!
//! `TRADEWIND_TEST_S3PROXY_LIBS` is their folder. S3Proxy 4 needs Java 17.

use super::Variable;
use super::maven::Server;
use anyhow::Result;
use std::fmt::Write as _;

const VERSION: &str = "4.1.0";
/// What its version of Jackson needs. Maven would choose an older one, which others ask for.
const JACKSON_ANNOTATIONS: &str = "2.21";
/// For keeping objects in other clouds, in Swift or behind SSH: half of all that it names, and not needed for a folder.
const NOT_NEEDED: [&str; 5] = [
    "com.azure",
    "com.google.cloud",
    "com.github.openstack4j.core",
    "com.github.openstack4j.core.connectors",
    "org.apache.sshd",
];

/// Finds or downloads them.
pub(super) fn provide() -> Result<Vec<Variable>> {
    let server = Server {
        name: "S3Proxy",
        folder: "s3proxy",
        version: VERSION,
        variable: "TRADEWIND_TEST_S3PROXY_LIBS",
        jar: "s3proxy-",
        instead: "name a folder with its jar and those that it needs",
        dependencies: dependencies(),
        sha256: "abb8c853d39c2d372da6769d5fcc4999af338815805df57e115d8df7ee0a9419",
    };
    Ok(vec![server.provide()?])
}

fn dependencies() -> String {
    let mut exclusions = String::new();
    for group in NOT_NEEDED {
        let _infallible =
            write!(exclusions, "<exclusion><groupId>{group}</groupId><artifactId>*</artifactId></exclusion>");
    }
    // The nearest version counts, and of those as near the first.
    format!(
        "<dependency>\
           <groupId>com.fasterxml.jackson.core</groupId><artifactId>jackson-annotations</artifactId>\
           <version>{JACKSON_ANNOTATIONS}</version>\
         </dependency>\
         <dependency>\
           <groupId>org.gaul</groupId><artifactId>s3proxy</artifactId><version>{VERSION}</version>\
           <exclusions>{exclusions}</exclusions>\
         </dependency>"
    )
}
