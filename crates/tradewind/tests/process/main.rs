//! The program as people run it: real processes, signals, a real PostgreSQL.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod alarms;
mod answers;
mod audits;
mod capture;
mod cluster;
mod commands;
mod config;
mod demo;
mod demo_regions;
mod deploy;
mod depots;
mod docs;
mod groups;
mod hashes;
mod homes;
mod linearisable;
mod lines;
mod local;
mod lock;
mod measures;
mod node;
mod parked;
mod regions;
mod secured;
mod shell;
mod sources;
mod standbys;
mod support;
mod traces;
mod versions;
