//! `bench start`: how long ingress takes from its start until it serves, with an empty database and
//! with a full one, and until an incident that a `kill -9` interrupted is taken up again.

use std::path::PathBuf;
use std::time::Instant;

use bench::hanging::HangingAgent;
use bench::stats::{Latencies, millis};

use crate::fill::fill;
use crate::ground::{Ground, serves};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of the release binaries
    #[arg(long)]
    binaries: PathBuf,
    /// Closed incidents in the full database
    #[arg(long, default_value_t = 1_000_000)]
    incidents: u64,
    /// Starts of each kind
    #[arg(long, default_value_t = 11)]
    starts: usize,
}

/// # Errors
/// Ingress does not start, or takes nothing up.
pub(crate) async fn run(mut args: Args) -> anyhow::Result<()> {
    args.binaries = std::path::absolute(&args.binaries)?;
    let directory = tempfile::Builder::new().prefix("firebreak-bench-").tempdir()?;
    let agent = HangingAgent::start().await?;
    let ground = Ground::new(&args.binaries, directory.path(), agent.address)?;
    let starts = Starts { count: args.starts, ground: &ground, agent: &agent };
    println!("Ingress on SQLite, from its start:");
    let ready = starts.starts("empty.db").await?.0;
    starts.tell("until it serves, empty database", &ready);

    ground.interrupt(&agent, "one.db").await?;
    let (_, resumed) = starts.starts("one.db").await?;
    starts.tell("until an interrupted incident is taken up", &resumed);

    let filled = Instant::now();
    ground.interrupt(&agent, "full.db").await?;
    let stored = fill(&ground.path("full.db"), args.incidents).await?;
    println!("  ({stored} incidents written in {:.0} s)", filled.elapsed().as_secs_f64());
    let (ready, resumed) = starts.starts("full.db").await?;
    starts.tell("until it serves, full database", &ready);
    starts.tell("until an interrupted incident is taken up, full database", &resumed);
    Ok(())
}

struct Starts<'a> {
    count: usize,
    ground: &'a Ground<'a>,
    agent: &'a HangingAgent,
}

impl Starts<'_> {
    /// Starts ingress over a database again and again, ended by `kill -9` each time: how long until
    /// it serves, and until it asks the agent, where there is something to ask.
    async fn starts(&self, database: &str) -> anyhow::Result<(Latencies, Latencies)> {
        let (mut ready, mut resumed) = (Vec::new(), Vec::new());
        let is_interrupted = database != "empty.db";
        for _ in 0..self.count {
            let before = self.agent.asked();
            let started = Instant::now();
            let server = self.ground.ingress_over(database)?;
            serves(server.address).await?;
            ready.push(started.elapsed());
            if is_interrupted {
                let at = self.agent.asked_again(before).await?;
                resumed.push(at.saturating_duration_since(started));
            }
        }
        Ok((Latencies::new(ready), Latencies::new(resumed)))
    }

    fn tell(&self, what: &str, latencies: &Latencies) {
        let (median, most) = (latencies.quantile(0.5), latencies.quantile(1.0));
        let starts = latencies.count();
        println!(
            "  {what:<58} median {:>10}  worst of {starts} {:>10}",
            millis(median),
            millis(most)
        );
    }
}
