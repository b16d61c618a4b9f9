//! `query`, `query_range`, `snapshot` and `rank`. Signals that fail do not hide those that answer.

use std::sync::Arc;
use std::time::Duration;

use a2a_types::mcp::TimeRange;
use a2a_types::mcp::metrics::{
    Deviation, QueryInput, QueryOutput, QueryRangeInput, QueryRangeOutput, RankInput, RankOutput,
    Signal, SnapshotInput, SnapshotOutput,
};
use futures::StreamExt;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use rpc::mcp::server::{CallContext, ToolError};
use service::Process;

use super::catalogue::{Catalogue, SignalQuery};
use super::prometheus::{Prometheus, timestamp};
use super::rank::{deviation, suspect};
use super::selectors::selectors;

/// Metrics of one query whose freshness is asked for; of more, only the first.
const FRESHNESS_QUERIES: usize = 8;
/// Prometheus refuses more points per series.
const POINTS: f64 = 11_000.0;
/// Ranges of `rank` when none are asked for.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);
const BASELINE: SignedDuration = SignedDuration::from_mins(30);

#[derive(Clone, Debug)]
pub(super) struct Monitor {
    backend: Prometheus,
    catalogue: Arc<Catalogue>,
    parallel: usize,
    process: Process,
}

/// One catalogued signal of one target.
struct Wanted<'a> {
    target: &'a str,
    name: &'a str,
    signal: &'a SignalQuery,
    query: String,
}

impl Monitor {
    pub(super) fn new(
        backend: Prometheus,
        catalogue: Catalogue,
        parallel: usize,
        process: Process,
    ) -> Self {
        Self { backend, catalogue: Arc::new(catalogue), parallel, process }
    }

    pub(super) async fn query(
        self,
        input: QueryInput,
        call: CallContext,
    ) -> Result<QueryOutput, ToolError> {
        let time = input.time.unwrap_or_else(|| self.process.now());
        let (answer, newest) = tokio::join!(
            self.backend.query(&input.query, time, call.timeout),
            self.newest(&input.query, time, call.timeout)
        );
        let answer = answer?;
        Ok(QueryOutput {
            query: input.query,
            range: TimeRange { start: time, end: time },
            samples: answer.result,
            newest,
            warnings: answer.warnings,
        })
    }

    pub(super) async fn query_range(
        self,
        input: QueryRangeInput,
        call: CallContext,
    ) -> Result<QueryRangeOutput, ToolError> {
        let QueryRangeInput { query, start, end, step_seconds } = input;
        if start > end {
            return Err(ToolError::refused("start", format!("{start} is after the end {end}")));
        }
        if end.duration_since(start).as_secs_f64() / step_seconds > POINTS {
            let message = format!("gives more than {POINTS} points: make it larger");
            return Err(ToolError::refused("step_seconds", message));
        }
        let (answer, newest) = tokio::join!(
            self.backend.query_range(&query, start, end, step_seconds, call.timeout),
            self.newest(&query, end, call.timeout)
        );
        let answer = answer?;
        Ok(QueryRangeOutput {
            query,
            range: TimeRange { start, end },
            step_seconds,
            series: answer.result,
            newest,
            warnings: answer.warnings,
        })
    }

    pub(super) async fn snapshot(
        self,
        input: SnapshotInput,
        call: CallContext,
    ) -> Result<SnapshotOutput, ToolError> {
        self.check_target("target", &input.target)?;
        self.check_signals(&input.signals)?;
        let time = input.time.unwrap_or_else(|| self.process.now());
        let wanted = self.wanted(&input.target, &input.signals);
        let reads: Vec<_> =
            wanted.iter().map(|wanted| self.signal(wanted, time, call.timeout)).collect();
        let signals: Vec<Signal> =
            futures::stream::iter(reads).buffered(self.parallel).collect().await;
        let newest = signals.iter().filter_map(|signal| signal.newest).max();
        let range = TimeRange { start: time, end: time };
        Ok(SnapshotOutput { target: input.target, range, signals, newest })
    }

    async fn signal(
        &self,
        wanted: &Wanted<'_>,
        time: Timestamp,
        timeout: Option<Duration>,
    ) -> Signal {
        let (answer, newest) = tokio::join!(
            self.backend.query(&wanted.query, time, timeout),
            self.newest(&wanted.query, time, timeout)
        );
        let (samples, error) = match answer {
            Ok(answer) => (answer.result, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Signal {
            name: wanted.name.to_owned(),
            query: wanted.query.clone(),
            unit: wanted.signal.unit.clone(),
            samples,
            newest,
            error,
        }
    }

    pub(super) async fn rank(
        self,
        input: RankInput,
        call: CallContext,
    ) -> Result<RankOutput, ToolError> {
        let (window, baseline) = self.ranges(&input)?;
        let step = input.step_seconds.unwrap_or_else(|| (seconds(window) / 20.0).max(1.0));
        let start = window.start.min(baseline.start);
        let end = window.end.max(baseline.end);
        if end.duration_since(start).as_secs_f64() / step > POINTS {
            let message = format!("gives more than {POINTS} points: make it larger");
            return Err(ToolError::refused("step_seconds", message));
        }
        let targets =
            if input.targets.is_empty() { &self.catalogue.targets } else { &input.targets };
        for target in targets {
            self.check_target("targets", target)?;
        }
        self.check_signals(&input.signals)?;
        let wanted: Vec<_> =
            targets.iter().flat_map(|target| self.wanted(target, &input.signals)).collect();
        let monitor = &self;
        let timeout = call.timeout;
        let read = |wanted: &Wanted<'_>| {
            let query = wanted.query.clone();
            async move {
                let range = monitor.backend.query_range(&query, start, end, step, timeout);
                tokio::join!(range, monitor.newest(&query, end, timeout))
            }
        };
        let reads: Vec<_> = wanted.iter().map(read).collect();
        let answers: Vec<_> = futures::stream::iter(reads).buffered(self.parallel).collect().await;
        let measured = wanted
            .iter()
            .zip(answers)
            .map(|(wanted, (answer, newest))| (measure(wanted, answer, baseline, window), newest))
            .collect();
        Ok(collect(targets, &wanted, measured, window, baseline))
    }

    fn ranges(&self, input: &RankInput) -> Result<(TimeRange, TimeRange), ToolError> {
        let earlier = |time: Timestamp, by| time.checked_sub(by).unwrap_or(Timestamp::MIN);
        let end = input.end.unwrap_or_else(|| self.process.now());
        let start = input.start.unwrap_or_else(|| earlier(end, WINDOW));
        let baseline_end = input.baseline_end.unwrap_or(start);
        let baseline_start =
            input.baseline_start.unwrap_or_else(|| earlier(baseline_end, BASELINE));
        for (field, start, end) in
            [("start", start, end), ("baseline_start", baseline_start, baseline_end)]
        {
            if start >= end {
                let message = format!("{start} is not before the end {end}");
                return Err(ToolError::refused(field, message));
            }
        }
        let baseline = TimeRange { start: baseline_start, end: baseline_end };
        Ok((TimeRange { start, end }, baseline))
    }

    /// How fresh the samples behind `query` are: of each metric its newest, the oldest of these.
    /// `None` also when it cannot be told: freshness is claimed only where it was seen.
    async fn newest(
        &self,
        query: &str,
        time: Timestamp,
        timeout: Option<Duration>,
    ) -> Option<Timestamp> {
        let ask = |selector: String| async move {
            let query = format!("max(timestamp({selector}))");
            let answer = self.backend.query(&query, time, timeout).await.ok()?;
            timestamp(answer.result.first()?.value?)
        };
        let newest = join_all(selectors(query).into_iter().take(FRESHNESS_QUERIES).map(ask)).await;
        // A metric without any sample is not part of the answer's data.
        newest.into_iter().flatten().min()
    }

    fn wanted<'a>(&'a self, target: &'a str, names: &[String]) -> Vec<Wanted<'a>> {
        let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
        self.catalogue
            .signals
            .iter()
            .filter(|(name, signal)| is_wanted(name) && signal.exists_for(target))
            .map(|(name, signal)| Wanted { target, name, signal, query: signal.for_target(target) })
            .collect()
    }

    fn check_target(&self, field: &str, target: &str) -> Result<(), ToolError> {
        if self.catalogue.targets.iter().any(|known| known == target) {
            return Ok(());
        }
        let known = self.catalogue.targets.join(", ");
        Err(ToolError::refused(field, format!("no target {target:?}; there are: {known}")))
    }

    fn check_signals(&self, names: &[String]) -> Result<(), ToolError> {
        match names.iter().find(|name| !self.catalogue.signals.contains_key(*name)) {
            None => Ok(()),
            Some(unknown) => {
                let known: Vec<_> = self.catalogue.signals.keys().map(String::as_str).collect();
                let known = known.join(", ");
                Err(ToolError::refused(
                    "signals",
                    format!("no signal {unknown:?}; there are: {known}"),
                ))
            }
        }
    }
}

/// The worst series of a signal, or why there is none.
fn measure(
    wanted: &Wanted<'_>,
    answer: Result<super::prometheus::Answer<a2a_types::mcp::metrics::Series>, ToolError>,
    baseline: TimeRange,
    window: TimeRange,
) -> Result<Deviation, String> {
    let Wanted { target, name, signal, query } = wanted;
    let answer = answer.map_err(|error| format!("{target} {name}: {error}"))?;
    answer
        .result
        .iter()
        .filter_map(|series| deviation(name, query, signal, &series.points, baseline, window))
        .max_by(|one, other| one.score.total_cmp(&other.score))
        .ok_or_else(|| format!("{target} {name}: too few samples"))
}

fn collect(
    targets: &[String],
    wanted: &[Wanted<'_>],
    measured: Vec<(Result<Deviation, String>, Option<Timestamp>)>,
    range: TimeRange,
    baseline: TimeRange,
) -> RankOutput {
    let newest = measured.iter().filter_map(|(_, newest)| *newest).max();
    let mut missing = Vec::new();
    let mut of_target: Vec<Vec<Deviation>> = vec![Vec::new(); targets.len()];
    for (wanted, (outcome, _)) in wanted.iter().zip(measured) {
        let Some(position) = targets.iter().position(|target| target == wanted.target) else {
            continue;
        };
        match outcome {
            Ok(deviation) => of_target[position].push(deviation),
            Err(reason) => missing.push(reason),
        }
    }
    let mut suspects: Vec<_> = targets
        .iter()
        .zip(of_target)
        .filter_map(|(target, deviations)| suspect(target, deviations))
        .collect();
    suspects.sort_by(|one, other| other.score.total_cmp(&one.score));
    RankOutput { range, baseline, suspects, missing, newest }
}

fn seconds(range: TimeRange) -> f64 {
    range.end.duration_since(range.start).as_secs_f64()
}
