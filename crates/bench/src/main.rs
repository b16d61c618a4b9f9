//! What the system costs, measured from outside: its A2A server (`a2a`), the whole pipeline
//! (`pipeline`), its start (`start`).

mod a2a;
mod fill;
mod ground;
mod ingest;
mod pipeline;
mod start;
mod storm;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures servers against one another in one run")]
enum Bench {
    /// Our A2A server against a bare one and the official Python SDK's
    A2a(a2a::Args),
    /// From a webhook to a closed incident through all programs
    Pipeline(pipeline::Args),
    /// From the start of ingress until it serves, with an empty database and with a full one
    Start(start::Args),
    /// Webhooks a second through ingress beside a bare server with a group commit
    Ingest(ingest::Args),
    /// Webhooks that come by the clock, whether or not the ones before are answered
    Storm(storm::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Bench::parse() {
        Bench::A2a(args) => a2a::run(args).await,
        Bench::Pipeline(args) => pipeline::run(args).await,
        Bench::Start(args) => start::run(args).await,
        Bench::Ingest(args) => ingest::run(args).await,
        Bench::Storm(args) => storm::run(args).await,
    }
}
