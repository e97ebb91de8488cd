//! `tradewind up`: a node, until it is told to end.

use crate::cli::Context;
use crate::error::Result;
use crate::local;
use crate::output::Format;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  tradewind up
  tradewind up --data /var/lib/tradewind --listen 127.0.0.1:7071
  tradewind up --config /etc/tradewind.toml --log info,tw_capture=debug

The node says on standard output where it serves once it does. Ctrl-C or SIGTERM ends it in order,
with exit code 0; a second signal ends it at once.";

/// Start a node
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    node: local::NodeOptions,
}

/// Runs the command.
///
/// # Errors
/// Why the node does not start, or did not end in order.
pub(crate) fn run(options: &Options, context: &Context) -> Result<()> {
    let config = options.node.config()?;
    options.node.log_to_stderr("info")?;
    let data = config.node.data.display().to_string();
    let runtime = local::runtime()?;
    let outcome = runtime.block_on(async {
        let mut node = local::start(config.clone()).await?;
        let url = format!("http://{}", node.address());
        let mut out = context.output();
        match out.format {
            Format::Table | Format::Csv => {
                out.line(format!("serving {url}, data in {data}; Ctrl-C ends it"))?;
            }
            Format::Json | Format::Ndjson => out.line(json!({ "url": url, "data": data }))?,
        }
        out.flush()?;
        loop {
            tokio::select! {
                asked = local::asked_to_end() => asked?,
                why = node.outlived() => {
                    crate::output::note(format!("{why}: the node starts anew"));
                    // Where it was reached it is reached again.
                    let mut again = config.clone();
                    again.http.listen = node.address();
                    node = tokio::select! {
                        asked = local::asked_to_end() => return asked,
                        again = local::start_again(node, again) => again?,
                    };
                    continue;
                }
            }
            return local::end(node).await;
        }
    });
    runtime.shutdown_timeout(local::LINGER);
    outcome
}
