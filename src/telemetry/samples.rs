//! Samples as text: OpenMetrics 1.0, which Prometheus reads. The encoder is the `prometheus-client` crate's.

use super::histogram::Reading;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

/// The media type of what [`render`] gives (OpenMetrics specification, "Protocol Negotiation").
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Labels of a sample: names and values.
pub type Labels<'l> = &'l [(&'static str, &'l str)];

/// Something that has samples to tell.
pub trait Source: Send + Sync {
    /// Tells them, each family once and whole. Reads what is counted; asks nobody and waits for nothing.
    fn tell(&self, samples: &mut Samples<'_>);
}

/// What is being told.
pub struct Samples<'a> {
    encoder: DescriptorEncoder<'a>,
    result: fmt::Result,
}

impl Samples<'_> {
    /// A counter; its name ends with `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str, samples: &[(Labels<'_>, u64)]) {
        // The encoder writes the ending itself.
        let name = name.strip_suffix("_total").unwrap_or(name);
        self.family(name, help, MetricType::Counter, samples, |mut encoder, value| {
            encoder.encode_counter::<NoLabelSet, _, f64>(value, None)
        });
    }

    /// A gauge.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, samples: &[(Labels<'_>, f64)]) {
        self.family(name, help, MetricType::Gauge, samples, |mut encoder, value| encoder.encode_gauge(value));
    }

    /// A histogram of times; its name ends with `_seconds`.
    pub fn histogram(&mut self, name: &'static str, help: &'static str, samples: &[(Labels<'_>, Reading)]) {
        self.family(name, help, MetricType::Histogram, samples, |mut encoder, reading| {
            encoder.encode_histogram::<NoLabelSet>(reading.sum(), reading.count(), &reading.buckets(), None)
        });
    }

    fn family<T>(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        samples: &[(Labels<'_>, T)],
        write: impl Fn(MetricEncoder<'_>, &T) -> fmt::Result,
    ) {
        if self.result.is_ok() && !samples.is_empty() {
            self.result = (|| {
                let mut encoder = self.encoder.encode_descriptor(name, help, None, kind)?;
                for (labels, value) in samples {
                    if labels.is_empty() {
                        // Without labels there is one sample.
                        return write(encoder, value);
                    }
                    write(encoder.encode_family(labels)?, value)?;
                }
                Ok(())
            })();
        }
    }
}

/// All sources as one collector.
struct All(Vec<Arc<dyn Source>>);

impl fmt::Debug for All {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("All").field(&self.0.len()).finish()
    }
}

impl Collector for All {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut samples = Samples { encoder, result: Ok(()) };
        self.0.iter().for_each(|source| source.tell(&mut samples));
        samples.result
    }
}

/// What the sources tell now.
///
/// # Errors
/// When the encoder fails: a defect.
pub fn render(sources: Vec<Arc<dyn Source>>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(All(sources)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Histogram;
    use std::time::Duration;

    struct Some;

    impl Source for Some {
        fn tell(&self, samples: &mut Samples<'_>) {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_millis(3));
            samples.counter("a_total", "As", &[(&[("x", "1")], 2), (&[("x", "q\"\\\n")], 3)]);
            samples.gauge("b", "Bs", &[(&[], 0.5)]);
            samples.gauge("none", "Nothing", &[]);
            samples.histogram("c_seconds", "Cs", &[(&[("y", "z")], histogram.read())]);
        }
    }

    #[test]
    fn families_are_written_as_openmetrics_has_them() {
        let text = render(vec![Arc::new(Some)]).unwrap();
        let begin = "# HELP a As\n# TYPE a counter\na_total{x=\"1\"} 2\na_total{x=\"q\\\"\\\\\\n\"} 3\n\
                     # HELP b Bs\n# TYPE b gauge\nb 0.5\n";
        assert!(text.starts_with(begin), "{text}");
        assert!(
            text.contains("c_seconds_bucket{le=\"0.0025\",y=\"z\"} 0\nc_seconds_bucket{le=\"0.005\",y=\"z\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("c_seconds_bucket{le=\"+Inf\",y=\"z\"} 1\n") && text.ends_with("# EOF\n"), "{text}");
        assert!(!text.contains("none"), "{text}");
    }
}
