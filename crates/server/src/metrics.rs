//! Counters and histograms in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets, in seconds.
const BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How long something took, in buckets.
#[derive(Debug, Clone, Default)]
struct Histogram {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Histogram {
    fn observe(&mut self, seconds: f64) {
        for (bucket, bound) in self.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum += seconds;
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            line(out, format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {bucket}"));
        }
        line(out, format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", self.count));
        line(out, format_args!("{name}_sum{{{labels}}} {}", self.sum));
        line(out, format_args!("{name}_count{{{labels}}} {}", self.count));
    }
}

/// What the service counts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    tables: Mutex<Tables>,
    /// Open connections.
    pub(crate) connections: AtomicI64,
    /// Bytes of bodies in memory.
    pub(crate) body_bytes: AtomicU64,
    pub(crate) thumbnail_hits: AtomicU64,
    pub(crate) thumbnail_misses: AtomicU64,
    pub(crate) watched: AtomicU64,
}

#[derive(Debug, Default)]
struct Tables {
    /// By route, method and status.
    requests: BTreeMap<(String, &'static str, u16), u64>,
    durations: BTreeMap<String, Histogram>,
    /// Of requests with an error as their answer: most take no time at all.
    refusals: BTreeMap<String, Histogram>,
    stages: BTreeMap<&'static str, Histogram>,
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request; `route` is its template, so that there are few of them.
    pub(crate) fn request(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let mut tables = self.lock();
        *tables.requests.entry((route.to_owned(), method, status)).or_default() += 1;
        let table = if status < 400 { &mut tables.durations } else { &mut tables.refusals };
        table.entry(route.to_owned()).or_default().observe(took.as_secs_f64());
    }

    /// Counts a stage of a query.
    pub(crate) fn stage(&self, stage: &'static str, seconds: f64) {
        self.lock().stages.entry(stage).or_default().observe(seconds);
    }

    /// Counters and histograms; `gauges` are what is so now: name, labels, what it is, value.
    pub(crate) fn text(&self, gauges: &[(&str, String, &str, f64)]) -> String {
        let mut out = String::new();
        let tables = self.lock();
        head(&mut out, "r2former_http_requests_total", "counter", "Requests by route, method and status.");
        for ((route, method, status), count) in &tables.requests {
            let labels = format!("route=\"{route}\",method=\"{method}\",status=\"{status}\"");
            line(&mut out, format_args!("r2former_http_requests_total{{{labels}}} {count}"));
        }
        for (name, what, table) in [
            (
                "r2former_http_request_duration_seconds",
                "Time from the head of a request to its answer, where that is no error.",
                &tables.durations,
            ),
            (
                "r2former_http_error_duration_seconds",
                "Time from the head of a request to an error (status 400 and more).",
                &tables.refusals,
            ),
        ] {
            head(&mut out, name, "histogram", what);
            for (route, histogram) in table {
                histogram.write(&mut out, name, &format!("route=\"{route}\""));
            }
        }
        let name = "r2former_stage_duration_seconds";
        head(&mut out, name, "histogram", "Stages of a query; queue is the time before its turn.");
        for (stage, histogram) in &tables.stages {
            histogram.write(&mut out, name, &format!("stage=\"{stage}\""));
        }
        drop(tables);
        for (name, what, value) in [
            ("r2former_thumbnail_hits_total", "Thumbnails from the cache.", &self.thumbnail_hits),
            ("r2former_thumbnail_misses_total", "Thumbnails that were made.", &self.thumbnail_misses),
            ("r2former_watched_total", "Photographs added from watched folders.", &self.watched),
        ] {
            head(&mut out, name, "counter", what);
            line(&mut out, format_args!("{name} {}", value.load(Ordering::Relaxed)));
        }
        let mut last = "";
        for (name, labels, what, value) in gauges {
            if *name != last {
                head(&mut out, name, "gauge", what);
                last = name;
            }
            let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            line(&mut out, format_args!("{name}{labels} {value}"));
        }
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, what: &str) {
    line(out, format_args!("# HELP {name} {what}"));
    line(out, format_args!("# TYPE {name} {kind}"));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

/// A label's value between quotes.
pub(crate) fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::default();
        for ms in [2, 30, 30, 20_000] {
            metrics.request("/v1/locate", "POST", 200, Duration::from_millis(ms));
        }
        // Those that were refused at once make no answer faster.
        for _ in 0..9 {
            metrics.request("/v1/locate", "POST", 400, Duration::from_millis(1));
        }
        metrics.stage("decode", 0.02);
        let text = metrics.text(&[("r2former_queue_waiting", String::new(), "Waiting.", 3.0)]);
        for line in [
            "r2former_http_requests_total{route=\"/v1/locate\",method=\"POST\",status=\"200\"} 4",
            "r2former_http_request_duration_seconds_bucket{route=\"/v1/locate\",le=\"0.05\"} 3",
            "r2former_http_request_duration_seconds_bucket{route=\"/v1/locate\",le=\"+Inf\"} 4",
            "r2former_http_error_duration_seconds_bucket{route=\"/v1/locate\",le=\"0.001\"} 9",
            "r2former_stage_duration_seconds_count{stage=\"decode\"} 1",
            "# TYPE r2former_queue_waiting gauge",
            "r2former_queue_waiting 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(label("a\"b\\\n"), "a\\\"b\\\\\\n");
    }
}
