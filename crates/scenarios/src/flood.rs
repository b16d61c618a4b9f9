//! Real Alertmanagers that post to a real ingress as fast as they can: alerts begin and end in
//! hundreds of groups, each of which tells of every change within a twentieth of a second. Counted at
//! both ends: what the Alertmanagers say they delivered, ingress says it acknowledged, and every alert
//! is a row that says how it stands.
//!
//! `cargo xtask bench flood` runs this for a minute, with one Alertmanager and with three.

mod alertmanager;
mod ingress;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::future::try_join_all;

use alertmanager::Alertmanager;
use ingress::Ingress;

/// How long everything may take to be told after the last change.
const SETTLE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, clap::Parser)]
pub struct Args {
    /// Directory of the program `ingress`
    #[arg(long)]
    pub binaries: PathBuf,
    /// Alertmanagers that post at once; several numbers are several runs
    #[arg(long, value_delimiter = ',', default_value = "1,3")]
    pub alertmanagers: Vec<usize>,
    /// Groups of each Alertmanager, each of which posts for itself. More at once than ingress has places
    /// in its queue are told to come again, and an Alertmanager counts what it could not tell within
    /// 10 s as failed, although it tells it later
    #[arg(long, default_value_t = 300)]
    pub groups: usize,
    /// Alerts of each group
    #[arg(long, default_value_t = 3)]
    pub alerts: usize,
    /// How long their states change
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
}

/// What an alert is to be at last, by its label `id`.
type Expected = BTreeMap<String, bool>;

/// Plays every run and says whether nothing was lost.
pub fn run(args: &Args) -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let played = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            for count in &args.alertmanagers {
                Box::pin(play(args, *count)).await?;
            }
            anyhow::Ok(())
        })
    });
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the programs of other projects are there that a flood needs.
pub fn is_installed() -> bool {
    alertmanager::program().is_some()
}

async fn play(args: &Args, count: usize) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let ingress = Ingress::start(&args.binaries, scratch.path()).await?;
    let start = |index| Alertmanager::start(index, scratch.path(), &ingress.webhook);
    let sources = try_join_all((0..count).map(start)).await?;
    let begun = Instant::now();
    let until = begun + Duration::from_secs(args.seconds);
    let changes = try_join_all(sources.iter().map(|one| one.flood(args, until))).await?;
    let told = delivered(&sources).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let changes: usize = changes.iter().sum();
    println!(
        "{count} Alertmanager(s): {changes} changes in {seconds:.1} s, told by {:.0} webhooks/s",
        told.notifications / seconds
    );
    // Everything fires once more, so that everything was told of; then half of it ends.
    for ends in [false, true] {
        let put = sources.iter().map(|one| one.put_all(args, ends));
        let expected: Expected = try_join_all(put).await?.into_iter().flatten().collect();
        settle(&ingress, &sources, &expected).await?;
    }
    Ok(())
}

/// What the Alertmanagers say of their webhooks.
async fn delivered(sources: &[Alertmanager]) -> anyhow::Result<alertmanager::Told> {
    let told = try_join_all(sources.iter().map(Alertmanager::told)).await?;
    Ok(told.into_iter().sum())
}

/// Waits until every alert stands as expected and both ends have counted the same.
async fn settle(
    ingress: &Ingress,
    sources: &[Alertmanager],
    expected: &Expected,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let rows = ingress.alerts().await?;
        let wrong = differences(expected, &rows);
        let (told, taken) = (delivered(sources).await?, ingress.deliveries().await?);
        let is_even = (told.notifications - taken.acknowledged).abs() < 0.5;
        if wrong.is_empty() && is_even {
            println!(
                "  {} alerts stand as they should; {} webhooks told, {} acknowledged, {} refused, \
                 {} failed, {} tried again",
                rows.len(),
                told.notifications,
                taken.acknowledged,
                taken.refused,
                told.failed,
                told.requests_failed
            );
            ensure!(told.failed == 0.0, "an Alertmanager gave a webhook up");
            return Ok(());
        }
        ensure!(
            begun.elapsed() < SETTLE,
            "{} of {} alerts are not as they should be, such as {:?}; {told:?}, {taken:?}",
            wrong.len(),
            expected.len(),
            wrong.first()
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// Alerts that are not there, or not as they should be, or that nobody has sent.
fn differences(expected: &Expected, rows: &Expected) -> Vec<String> {
    let wrong = expected.iter().filter(|(id, fires)| rows.get(*id) != Some(*fires));
    let invented = rows.iter().filter(|(id, _)| !expected.contains_key(*id));
    wrong.chain(invented).map(|(id, _)| id.clone()).collect()
}

/// The sum of the samples of a metric whose labels hold all of some texts.
fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let of_name = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    };
    let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
    metrics.lines().filter(of_name).filter_map(value).sum()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    use anyhow::Context;
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
