//! Bytes of strangers, read as settings say. The first line may be other settings, which an operator
//! would have written.
#![no_main]

mod check;

use std::sync::LazyLock;

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use webhooks::{Format, JsonMapping};

static USUAL: LazyLock<Format> = LazyLock::new(|| {
    let settings = json!({
        "alerts": "/problems", "fingerprint": ["/id", "/host"],
        "status": {"at": "/state", "firing": ["open", 1], "resolved": ["closed", 0]},
        "name": "/title", "severity": {"at": "/priority", "values": {"p1": "critical"}},
        "labels": {"all": ["/tags"], "each": {"server": "/host"}},
        "annotations": {"all": ["/details"], "each": {"description": "/text"}},
        "starts_at": "/since", "ends_at": "/until", "generator_url": "/link",
    });
    Format::Json(Box::new(serde_json::from_value(settings).expect("the settings are right")))
});

fuzz_target!(|bytes: &[u8]| {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or_default();
    match serde_json::from_slice::<JsonMapping>(&bytes[..line]) {
        Ok(mapping) => {
            check::check(&Format::Json(Box::new(mapping)), &HeaderMap::new(), &bytes[line + 1..]);
        }
        Err(_) => check::check(&USUAL, &HeaderMap::new(), bytes),
    }
});
