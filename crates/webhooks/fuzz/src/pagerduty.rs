//! Bytes of strangers, read as an event of PagerDuty's API.
#![no_main]

mod check;

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use webhooks::Format;

fuzz_target!(|body: &[u8]| check::check(&Format::PagerDuty, &HeaderMap::new(), body));
