//! HTTP to programs on this machine. HTTP/1.0, one connection a request: no chunks, no pool, no
//! TLS, and so no dependency. Not for anything beyond loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::de::DeserializeOwned;

const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);

/// An answer with its whole body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Whether the program answers `path` with a 2xx.
pub(crate) fn is_ok(address: SocketAddr, path: &str) -> bool {
    request(address, "GET", path, "").is_ok_and(|response| response.status / 100 == 2)
}

/// Fetches JSON and reads it into `T`.
///
/// # Errors
/// No connection, a status that is not 2xx, or a body that is not a `T`.
pub(crate) fn get_json<T: DeserializeOwned>(address: SocketAddr, path: &str) -> anyhow::Result<T> {
    let response = request(address, "GET", path, "")?;
    let place = || format!("GET http://{address}{path}");
    ensure!(response.status / 100 == 2, "{} answered {}", place(), response.status);
    serde_json::from_str(&response.body).with_context(place)
}

/// Sends a JSON body.
///
/// # Errors
/// No connection, or a status that is not 2xx.
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> anyhow::Result<String> {
    let Response { status, body } = request(address, "POST", path, body)?;
    ensure!(status / 100 == 2, "POST http://{address}{path} answered {status}: {}", body.trim());
    Ok(body)
}

fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<Response> {
    let place = || format!("{method} http://{address}{path}");
    let mut stream = TcpStream::connect_timeout(&address, CONNECT).with_context(place)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).with_context(place)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(place)?;
    parse(&answer).with_context(place)
}

fn parse(answer: &[u8]) -> anyhow::Result<Response> {
    let text = std::str::from_utf8(answer).context("the answer is not UTF-8")?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { bail!("the answer breaks off") };
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("the answer has no status")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    if let Some(length) = length {
        ensure!(body.len() == length, "the answer breaks off at {} of {length} bytes", body.len());
    }
    Ok(Response { status, body: body.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server that gives one answer, and the request it was given.
    fn serve_once(answer: &'static str) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        (address, server)
    }

    #[test]
    fn post_sends_body_and_reads_answer() {
        let (address, server) = serve_once("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(post(address, "/trigger/x", "{}").unwrap(), "ok");
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /trigger/x HTTP/1.0\r\n"), "{request}");
        assert!(request.ends_with("Content-Length: 2\r\nConnection: close\r\n\r\n{}"), "{request}");
    }

    #[test]
    fn refusal_shows_status_and_reason() {
        let (address, _) = serve_once("HTTP/1.1 404 Not Found\r\n\r\n{\"error\":\"no fault x\"}");
        let error = post(address, "/trigger/x", "").unwrap_err().to_string();
        assert!(error.contains("answered 404: {\"error\":\"no fault x\"}"), "{error}");
    }

    #[test]
    fn truncated_answer_is_an_error() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1,2";
        assert!(parse(answer).unwrap_err().to_string().contains("4 of 9"));
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_err());
    }
}
