//! W3C trace context in a request's `_meta`, so that one trace spans agents and tools.

use opentelemetry::propagation::{Extractor, Injector};
use rmcp::model::RequestMetaObject;
use serde_json::Value;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Writes the context of the current span.
pub(super) fn inject(meta: &mut RequestMetaObject) {
    let context = tracing::Span::current().context();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut Carrier(meta));
    });
}

/// Makes the caller's span the parent of `span`, where the caller named one.
pub(super) fn adopt(meta: &RequestMetaObject, span: &tracing::Span) {
    let context = opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.extract(&ReadCarrier(meta))
    });
    // Fails only when no OpenTelemetry layer is installed, and then there is nothing to link.
    let _ = span.set_parent(context);
}

struct Carrier<'a>(&'a mut RequestMetaObject);

impl Injector for Carrier<'_> {
    fn set(&mut self, key: &str, value: String) {
        self.0.0.0.insert(key.to_owned(), Value::String(value));
    }
}

struct ReadCarrier<'a>(&'a RequestMetaObject);

impl Extractor for ReadCarrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.0.0.get(key).and_then(Value::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.0.0.keys().map(String::as_str).collect()
    }
}
