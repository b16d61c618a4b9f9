//! The system under test as a program: its settings are its command line.

use std::process::ExitCode;

use clap::Parser;
use tck_sut::Settings;

const NAME: &str = "tck-sut";

#[derive(Debug, Parser)]
#[command(name = NAME, version, about = "An A2A agent for conformance kits")]
struct Args {
    #[command(flatten)]
    settings: Settings,
    #[arg(long, value_enum, default_value_t)]
    log_format: service::LogFormat,
}

fn main() -> ExitCode {
    let Args { settings, log_format } = Args::parse();
    match service::run_with(NAME, settings, log_format, tck_sut::start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
