//! Apache Kafka: the broker's jars from Maven Central.
//!
//! `TRADEWIND_TEST_KAFKA_LIBS` is their folder. A broker of this version needs Java 17 (KIP-750, KIP-1013).

use super::Variable;
use super::maven::Server;
use anyhow::Result;

/// Not a later one: 4.2 to 4.4 lose the markers of transactions when a broker is killed (KAFKA-20734, see ADR 0009).
const VERSION: &str = "4.1.2";
/// The logging that the broker is compiled against, in the version that it brings.
const LOG4J: &str = "2.25.3";

/// Finds or downloads them.
pub(super) fn provide() -> Result<Vec<Variable>> {
    let server = Server {
        name: "Kafka",
        folder: "kafka",
        version: VERSION,
        variable: "TRADEWIND_TEST_KAFKA_LIBS",
        jar: "kafka_2.",
        instead: "name the folder `libs` of a distribution",
        dependencies: dependencies(),
        sha256: "c15dbfb9b467ce88563a904e698347101ba43ffcb2f5bcb33e51c9a1f38b6dc0",
    };
    Ok(vec![server.provide()?])
}

/// The broker. The interface for its console tools, which it names, is not in the registry and not needed.
fn dependencies() -> String {
    format!(
        "<dependency>\
           <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>\
           <exclusions><exclusion>\
             <groupId>org.apache.kafka</groupId><artifactId>kafka-tools-api</artifactId>\
           </exclusion></exclusions>\
         </dependency>\
         <dependency>\
           <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>\
           <version>{LOG4J}</version>\
         </dependency>"
    )
}
