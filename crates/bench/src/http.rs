//! The least HTTP/1.1 a load generator needs: it must cost less than what it measures.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A kept-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// How a body ends.
enum Framing {
    Length(usize),
    Chunked,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10) })
    }

    /// Sends a request and reads its whole answer, whose body must hold `expected`.
    pub async fn call(&mut self, request: &[u8], expected: &str) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.stream.write_all(request).await?;
        self.buffer.clear();
        self.finish(expected).await?;
        Ok(started.elapsed())
    }

    /// Sends a request, and returns the body of its answer.
    pub async fn text(&mut self, request: &[u8]) -> anyhow::Result<String> {
        self.call(request, "").await?;
        let text = String::from_utf8_lossy(&self.buffer);
        let (_, body) = text.split_once("\r\n\r\n").context("an answer without a head")?;
        Ok(body.to_owned())
    }

    /// Sends a request for a stream; the time until its first event is here. Reads to the end.
    pub async fn first_event(&mut self, request: &[u8]) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.stream.write_all(request).await?;
        self.buffer.clear();
        while find(&self.buffer, b"data:").is_none() {
            self.read().await?;
        }
        let first = started.elapsed();
        self.finish("data:").await?;
        Ok(first)
    }

    async fn finish(&mut self, expected: &str) -> anyhow::Result<()> {
        let head = loop {
            match find(&self.buffer, b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.read().await?,
            }
        };
        let framing = parse_head(&self.buffer[..head])?;
        match framing {
            Framing::Length(length) => {
                while self.buffer.len() < head + length {
                    self.read().await?;
                }
            }
            Framing::Chunked => {
                while !self.buffer.ends_with(b"\r\n0\r\n\r\n") {
                    self.read().await?;
                }
            }
        }
        let body = &self.buffer[head..];
        ensure!(
            expected.is_empty() || find(body, expected.as_bytes()).is_some(),
            "no {expected:?} in the answer {:?}",
            String::from_utf8_lossy(&body[..body.len().min(300)])
        );
        Ok(())
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        let count = self.stream.read_buf(&mut self.buffer).await?;
        ensure!(count > 0, "the server closed the connection in mid-answer");
        Ok(())
    }
}

/// A request as it goes over the wire.
pub fn post(host: SocketAddr, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

pub fn get(host: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

fn parse_head(head: &[u8]) -> anyhow::Result<Framing> {
    let head = std::str::from_utf8(head).context("an answer's head is no text")?;
    let head = head.to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 2"), "status {:?}", head.lines().next());
    if head.starts_with("http/1.1 204") {
        return Ok(Framing::Length(0));
    }
    for line in head.lines() {
        if let Some(length) = line.strip_prefix("content-length:") {
            return Ok(Framing::Length(length.trim().parse()?));
        }
        if line.starts_with("transfer-encoding:") && line.contains("chunked") {
            return Ok(Framing::Chunked);
        }
    }
    bail!("an answer without a length");
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
