//! `bench a2a`: durable SendMessage, the first event of a stream, and memory, of our server, of the
//! limit, and of the official Python SDK's server, one after the other in one run.

mod a2a;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures servers against one another in one run")]
enum Bench {
    /// Our A2A server against a bare one and the official Python SDK's
    A2a(a2a::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Bench::parse() {
        Bench::A2a(args) => a2a::run(args).await,
    }
}
