//! The two text formats of metrics: Prometheus 0.0.4 and OpenMetrics 1.0.0, chosen by `Accept`.
//! They differ in the name a counter's family has, in `# UNIT`, and in the closing `# EOF`.

use std::fmt::{Display, Write};

use crate::fleet::{BUCKETS, Histogram};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// The format the client likes best; plain text where it does not say.
    pub(crate) fn negotiate(accept: &str) -> Self {
        let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts
                .find_map(|part| part.strip_prefix("q="))
                .map_or(1.0, |q| q.parse().unwrap_or(0.0));
            match media.as_str() {
                "application/openmetrics-text" => open_metrics = open_metrics.max(quality),
                "text/plain" | "text/*" | "*/*" => text = text.max(quality),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Labels of one sample.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page of metrics being written.
#[derive(Debug)]
pub(crate) struct Exposition {
    format: Format,
    text: String,
}

impl Exposition {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, text: String::with_capacity(8192) }
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauges(name, help, &[(&[], value)]);
    }

    pub(crate) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        samples: &[(Labels<'_>, impl Display)],
    ) {
        self.family(name, "gauge", help);
        for (labels, value) in samples {
            self.sample(name, labels, value);
        }
    }

    /// `name` is the family's, without `_total`.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.counters(name, help, &[(&[], value)]);
    }

    pub(crate) fn counters(
        &mut self,
        name: &str,
        help: &str,
        samples: &[(Labels<'_>, impl Display)],
    ) {
        let total = format!("{name}_total");
        let family = if self.format == Format::OpenMetrics { name } else { total.as_str() };
        self.family(family, "counter", help);
        for (labels, value) in samples {
            self.sample(&total, labels, value);
        }
    }

    pub(crate) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(histogram.counts) {
            below += count;
            self.sample(&bucket, &[("le", &format!("{bound:?}"))], below);
        }
        self.sample(&bucket, &[("le", "+Inf")], histogram.count);
        self.sample(&format!("{name}_sum"), &[], histogram.sum);
        self.sample(&format!("{name}_count"), &[], histogram.count);
    }

    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let text = &mut self.text;
        let unit = name.rsplit('_').next().filter(|unit| ["seconds", "bytes"].contains(unit));
        let _ = writeln!(text, "# TYPE {name} {kind}");
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(text, "# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        let text = &mut self.text;
        text.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(text, "{open}{label}=\"{value}\"");
        }
        text.push_str(if labels.is_empty() { " " } else { "} " });
        let _ = writeln!(text, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_quality_wins_and_silence_means_text() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::negotiate(prometheus), Format::OpenMetrics);
        assert_eq!(Format::negotiate(""), Format::Text);
        assert_eq!(Format::negotiate("*/*"), Format::Text);
        let rather_text = "application/openmetrics-text;q=0.2, text/plain;q=0.8";
        assert_eq!(Format::negotiate(rather_text), Format::Text);
    }

    #[test]
    fn a_counter_family_is_named_as_its_format_wants() {
        let page = |format| {
            let mut page = Exposition::new(format);
            page.counter("process_cpu_seconds", "CPU time.", 1.5);
            page.finish()
        };
        assert_eq!(
            page(Format::OpenMetrics),
            "# TYPE process_cpu_seconds counter\n# UNIT process_cpu_seconds seconds\n\
             # HELP process_cpu_seconds CPU time.\nprocess_cpu_seconds_total 1.5\n# EOF\n"
        );
        assert_eq!(
            page(Format::Text),
            "# TYPE process_cpu_seconds_total counter\n\
             # HELP process_cpu_seconds_total CPU time.\nprocess_cpu_seconds_total 1.5\n"
        );
    }

    #[test]
    fn label_values_are_escaped() {
        let mut page = Exposition::new(Format::Text);
        page.gauges("up", "Up.", &[(&[("a", "x\"\\\n")] as Labels<'_>, 1)]);
        assert!(page.finish().ends_with("up{a=\"x\\\"\\\\\\n\"} 1\n"));
    }
}
