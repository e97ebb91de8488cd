//! `tradewind region ca`: an authority of one's own for the certificates with which regions prove who they are.

use crate::cli::Context;
use crate::error::Result;
use crate::output::record;
use serde_json::json;
use std::path::{Path, PathBuf};
use tw_region::tls::{Authority, Issued};
use tw_types::RegionId;

const EXAMPLES: &str = "\
Examples:
  tradewind region ca init                                     makes ./ca; keep its key where no node is
  tradewind region ca issue 1 eu --into eu/region              region.pem, region.key and ca.pem for region 1
  tradewind region ca issue 1 eu --into eu/region --renew      another one in its place, before it expires
  tradewind region ca rotate                                   another key for the authority; the old one is trusted still
  tradewind region ca rotate --finish                          when every region has a new certificate: not any more

Nodes take new certificates without a restart.";

/// Make certificates for regions, without a node
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
    /// The folder of the authority
    #[arg(long, global = true, default_value = "ca")]
    ca: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an authority
    Init {
        /// Its name, as it is shown to people
        #[arg(long, default_value = "tradewind")]
        name: String,
        /// How long it is valid, in days
        #[arg(long, default_value_t = 3_650)]
        days: u32,
    },
    /// Make a certificate for a region
    Issue {
        /// The number of the region
        region: u16,
        /// Its name: lower-case letters, digits and `-`
        name: String,
        /// The folder to put it into, which the region's configuration names as `certificates`
        #[arg(long)]
        into: PathBuf,
        /// A name or an address under which it is reached; may be given several times
        #[arg(long = "host")]
        hosts: Vec<String>,
        /// How long it is valid, in days
        #[arg(long, default_value_t = 365)]
        days: u32,
        /// Replace the one that is there
        #[arg(long)]
        renew: bool,
    },
    /// Give the authority another key, or end the time in which the old one is trusted, too
    Rotate {
        /// How long the new one is valid, in days
        #[arg(long, default_value_t = 3_650)]
        days: u32,
        /// Trust the old one no more
        #[arg(long, conflicts_with = "days")]
        finish: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// Those of the authority.
pub(crate) fn run(options: &Options, context: &Context) -> Result<()> {
    let ca = options.ca.as_path();
    match &options.command {
        Command::Init { name, days } => {
            Authority::init(ca, name, *days)?;
            context.output().done(&format!(
                "there is an authority in `{}`: whoever has `ca.key` can make regions, so keep it where no node is",
                ca.display()
            ))
        }
        Command::Issue { region, name, into, hosts, days, renew } => {
            let authority = Authority::open(ca)?;
            let region = RegionId(*region);
            let issued = if *renew {
                authority.renew(region, name, hosts, *days, into)?
            } else {
                authority.issue(region, name, hosts, *days, into)?
            };
            show(&issued, name, into, context)
        }
        Command::Rotate { finish: true, .. } => {
            Authority::retire(ca)?;
            context.output().done("the old key is trusted no more: give each region the new `ca.pem`, by renewing its certificate")
        }
        Command::Rotate { days, .. } => {
            Authority::rotate(ca, *days)?;
            context.output().done(
                "the authority has a new key, and both are trusted: renew the certificate of each region, in any order, and then run \
                 `tradewind region ca rotate --finish`",
            )
        }
    }
}

fn show(issued: &Issued, name: &str, into: &Path, context: &Context) -> Result<()> {
    let value = json!({
        "region": issued.region,
        "name": name,
        "folder": into.display().to_string(),
        "expires_at_ms": issued.expires_at_ms,
    });
    let days = issued.expires_at_ms.saturating_sub(now_ms()) / 86_400_000;
    let lines = [
        ("region", format!("{} ({name})", issued.region)),
        ("folder", into.display().to_string()),
        ("expires in", format!("{days} days")),
    ];
    record(&lines, &value, &mut context.output())
}

fn now_ms() -> u64 {
    tw_env::Env::real().clock.now_ms()
}
