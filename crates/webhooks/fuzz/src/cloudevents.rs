//! Bytes of strangers, read as a request with CloudEvents: `name: value` lines up to an empty one are
//! headers, the rest is the body.
#![no_main]

mod check;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use webhooks::Format;

fuzz_target!(|request: &[u8]| {
    let (headers, body) = parts(request);
    check::check(&Format::CloudEvents, &headers, body);
});

fn parts(request: &[u8]) -> (HeaderMap, &[u8]) {
    let mut headers = HeaderMap::new();
    let Some(end) = request.windows(2).position(|two| two == b"\n\n") else {
        return (headers, request);
    };
    for line in request[..end].split(|byte| *byte == b'\n') {
        let Some(colon) = line.windows(2).position(|two| two == b": ") else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(&line[colon + 2..]);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    (headers, &request[end + 2..])
}
