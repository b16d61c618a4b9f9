//! `search` and `patterns` over the log files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use a2a_types::mcp::TimeRange;
use a2a_types::mcp::logs::{
    Level, LogLine, LogTemplate, PatternsInput, PatternsOutput, SearchInput, SearchOutput,
};
use jiff::{SignedDuration, Timestamp};
use regex::{Regex, RegexBuilder};
use rpc::mcp::server::{CallContext, ToolError};
use service::Process;

use super::Config;
use super::files::{read_tail, sources};
use super::line::{cut, parse};
use super::templates::Miner;

/// A range when none is asked for.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);
/// Reading when the caller sets no deadline.
const LONGEST_CALL: Duration = Duration::from_secs(30);
/// Of a line shown as a template's sample.
const SAMPLE_BYTES: usize = 500;

#[derive(Clone)]
pub(super) struct Analyzer {
    config: Arc<Config>,
    process: Process,
}

/// What one call reads.
struct Scan {
    source: Option<String>,
    pattern: Option<Regex>,
    min_level: Option<Level>,
    range: TimeRange,
    until: Instant,
}

/// What is known after reading, whatever was asked.
#[derive(Default)]
struct Read {
    sources: Vec<String>,
    scanned_bytes: u64,
    newest: Option<Timestamp>,
    truncated_reason: Option<String>,
}

impl Analyzer {
    pub(super) fn new(config: Config, process: Process) -> Self {
        Self { config: Arc::new(config), process }
    }

    pub(super) async fn search(
        self,
        input: SearchInput,
        call: CallContext,
    ) -> Result<SearchOutput, ToolError> {
        let range = self.range(input.start, input.end)?;
        let scan = self.scan(&input.source, &input.pattern, input.min_level, range, &call)?;
        let limit = input.limit.unwrap_or(100) as usize;
        blocking(move || self.search_files(&input, &scan, limit)).await
    }

    fn search_files(
        &self,
        input: &SearchInput,
        scan: &Scan,
        limit: usize,
    ) -> Result<SearchOutput, ToolError> {
        let mut lines: Vec<(Timestamp, LogLine)> = Vec::new();
        let mut read = self.read(scan, |source, time, line| {
            lines.push((time, parse(line).to_line(source, self.config.line_bytes)));
            // Bounds memory without forgetting any line that could be among the newest.
            if lines.len() > 4 * limit + 1000 {
                keep_newest(&mut lines, limit + 1);
            }
        })?;
        keep_newest(&mut lines, limit + 1);
        if lines.len() > limit {
            keep_newest(&mut lines, limit);
            read.truncated_reason.get_or_insert_with(|| {
                format!("more than {limit} lines match; these are the newest")
            });
        }
        Ok(SearchOutput {
            query: describe(&input.source, &input.pattern, input.min_level),
            range: scan.range,
            lines: lines.into_iter().map(|(_, line)| line).collect(),
            truncated: read.truncated_reason.is_some(),
            truncated_reason: read.truncated_reason,
            sources: read.sources,
            scanned_bytes: read.scanned_bytes,
            newest: read.newest,
        })
    }

    pub(super) async fn patterns(
        self,
        input: PatternsInput,
        call: CallContext,
    ) -> Result<PatternsOutput, ToolError> {
        let range = self.range(input.start, input.end)?;
        let baseline = baseline(&input, range)?;
        let both =
            TimeRange { start: range.start.min(baseline.start), end: range.end.max(baseline.end) };
        let scan = self.scan(&input.source, &input.pattern, input.min_level, both, &call)?;
        blocking(move || self.mine_files(&input, &scan, range, baseline)).await
    }

    fn mine_files(
        &self,
        input: &PatternsInput,
        scan: &Scan,
        range: TimeRange,
        baseline: TimeRange,
    ) -> Result<PatternsOutput, ToolError> {
        let mut miner = Miner::new();
        let mut counts: BTreeMap<usize, Count> = BTreeMap::new();
        let mut uncounted = 0u64;
        let mut read = self.read(scan, |source, time, line| {
            let parsed = parse(line);
            let is_during = contains(range, time);
            if !is_during && !contains(baseline, time) {
                return;
            }
            let kind = (source.to_owned(), parsed.level);
            let Some(group) = miner.add(kind, parsed.message) else {
                uncounted += 1;
                return;
            };
            let count = counts.entry(group).or_insert_with(|| Count::new(source, parsed.level));
            if is_during {
                count.during += 1;
            } else {
                count.before += 1;
            }
            count.sample = cut(parsed.message, SAMPLE_BYTES);
        })?;
        let scale = seconds(range) / seconds(baseline).max(f64::MIN_POSITIVE);
        let mut templates: Vec<_> = counts
            .into_iter()
            .map(|(group, count)| count.into_template(miner.template(group), scale))
            .collect();
        templates.sort_by(|one, other| {
            other.change.abs().total_cmp(&one.change.abs()).then(other.count.cmp(&one.count))
        });
        let limit = input.limit.unwrap_or(50) as usize;
        if uncounted > 0 {
            read.truncated_reason = Some(format!("{uncounted} lines fit no template kept"));
        } else if templates.len() > limit {
            let reason = format!("{} templates, the {limit} that changed most", templates.len());
            read.truncated_reason.get_or_insert(reason);
        }
        templates.truncate(limit);
        Ok(PatternsOutput {
            query: describe(&input.source, &input.pattern, input.min_level),
            range,
            baseline,
            templates,
            truncated: read.truncated_reason.is_some(),
            truncated_reason: read.truncated_reason,
            sources: read.sources,
            scanned_bytes: read.scanned_bytes,
            newest: read.newest,
        })
    }

    /// Calls `each` for every line that is asked for, source by source, oldest first.
    fn read(
        &self,
        scan: &Scan,
        mut each: impl FnMut(&str, Timestamp, &str),
    ) -> Result<Read, ToolError> {
        let directory = self.config.directory.display();
        let mut files = sources(&self.config.directory).map_err(|error| {
            ToolError::Unavailable(format!("log directory {directory}: {error}"))
        })?;
        if let Some(wanted) = &scan.source {
            let known = files.keys().cloned().collect::<Vec<_>>().join(", ");
            let of_source = files.remove(wanted).ok_or_else(|| {
                ToolError::refused("source", format!("no log of {wanted:?}; there are: {known}"))
            })?;
            files = BTreeMap::from([(wanted.clone(), of_source)]);
        }
        let mut read = Read::default();
        for (source, files) in files {
            let tail = read_tail(&files, scan.range.start, self.config.scan_bytes, scan.until)
                .map_err(|error| ToolError::Unavailable(format!("log of {source}: {error}")))?;
            read.scanned_bytes += tail.text.len() as u64;
            if let Some(reason) = tail.truncated {
                read.truncated_reason = Some(format!("{source}: {reason}"));
            }
            let newest = scan_lines(scan, &tail.text, |time, line| each(&source, time, line));
            read.newest = read.newest.max(newest);
            read.sources.push(source);
        }
        Ok(read)
    }

    fn range(
        &self,
        start: Option<Timestamp>,
        end: Option<Timestamp>,
    ) -> Result<TimeRange, ToolError> {
        let end = end.unwrap_or_else(|| self.process.now());
        let start = match start {
            Some(start) => start,
            None => end.checked_sub(WINDOW).unwrap_or(Timestamp::MIN),
        };
        ordered("start", start, end)
    }

    fn scan(
        &self,
        source: &Option<String>,
        pattern: &Option<String>,
        min_level: Option<Level>,
        range: TimeRange,
        call: &CallContext,
    ) -> Result<Scan, ToolError> {
        let compile = |pattern: &String| {
            RegexBuilder::new(pattern)
                .size_limit(1 << 20)
                .build()
                .map_err(|error| ToolError::refused("pattern", error.to_string()))
        };
        let timeout = call.timeout.unwrap_or(LONGEST_CALL).min(LONGEST_CALL);
        Ok(Scan {
            source: source.clone(),
            pattern: pattern.as_ref().map(compile).transpose()?,
            min_level,
            range,
            // A little is left for the answer itself.
            until: Instant::now() + timeout.mul_f64(0.9),
        })
    }
}

/// Passes on the lines that fit, and returns the newest time seen among all. A line without a time
/// has that of the line before it, as the lines of a stack trace do.
fn scan_lines(
    scan: &Scan,
    text: &[u8],
    mut each: impl FnMut(Timestamp, &str),
) -> Option<Timestamp> {
    let mut newest = None;
    let mut current = None;
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches('\r');
        let parsed = parse(line);
        current = parsed.time.or(current);
        newest = newest.max(parsed.time);
        let Some(time) = current.filter(|time| contains(scan.range, *time)) else { continue };
        if scan.min_level.is_some_and(|least| parsed.level.is_none_or(|level| level < least)) {
            continue;
        }
        if scan.pattern.as_ref().is_none_or(|pattern| pattern.is_match(line)) {
            each(time, line);
        }
    }
    newest
}

struct Count {
    source: String,
    level: Option<Level>,
    during: u64,
    before: u64,
    sample: String,
}

impl Count {
    fn new(source: &str, level: Option<Level>) -> Self {
        Self { source: source.to_owned(), level, during: 0, before: 0, sample: String::new() }
    }

    fn into_template(self, template: String, scale: f64) -> LogTemplate {
        let expected = self.before as f64 * scale;
        LogTemplate {
            template: cut(&template, SAMPLE_BYTES),
            source: self.source,
            level: self.level,
            count: self.during,
            baseline_count: self.before,
            change: ((self.during as f64 + 1.0) / (expected + 1.0)).log2(),
            sample: self.sample,
        }
    }
}

fn baseline(input: &PatternsInput, range: TimeRange) -> Result<TimeRange, ToolError> {
    let end = input.baseline_end.unwrap_or(range.start);
    let length = range.end.duration_since(range.start);
    let start = match input.baseline_start {
        Some(start) => start,
        None => end.checked_sub(length).unwrap_or(Timestamp::MIN),
    };
    ordered("baseline_start", start, end)
}

fn ordered(field: &str, start: Timestamp, end: Timestamp) -> Result<TimeRange, ToolError> {
    if start >= end {
        return Err(ToolError::refused(field, format!("{start} is not before the end {end}")));
    }
    Ok(TimeRange { start, end })
}

fn contains(range: TimeRange, time: Timestamp) -> bool {
    range.start <= time && time <= range.end
}

fn seconds(range: TimeRange) -> f64 {
    range.end.duration_since(range.start).as_secs_f64()
}

fn keep_newest(lines: &mut Vec<(Timestamp, LogLine)>, keep: usize) {
    // Stable, so lines of one time stay in the order of their file.
    lines.sort_by_key(|(time, _)| *time);
    lines.drain(..lines.len().saturating_sub(keep));
}

fn describe(source: &Option<String>, pattern: &Option<String>, min_level: Option<Level>) -> String {
    let source = source.as_deref().unwrap_or("*");
    let mut text = format!("source={source}");
    if let Some(level) = min_level {
        text.push_str(&format!(" level>={}", format!("{level:?}").to_lowercase()));
    }
    if let Some(pattern) = pattern {
        text.push_str(&format!(" pattern={pattern:?}"));
    }
    text
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(ToolError::Failed(format!("reading logs: {error}"))))
}
