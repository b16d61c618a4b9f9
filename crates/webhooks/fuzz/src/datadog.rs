//! Bytes of strangers, read as Datadog's webhook.
#![no_main]

mod check;

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use webhooks::Format;

fuzz_target!(|body: &[u8]| check::check(&Format::Datadog, &HeaderMap::new(), body));
