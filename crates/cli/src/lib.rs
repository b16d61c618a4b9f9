//! The command line: everything in one process on a laptop, and a look at incidents and their record.

mod arguments;
mod audit;
mod dead_letters;
mod shipped;
mod show;
mod up;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Audit, Command};

/// Runs the command that was asked for.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(async {
            match arguments.command {
                Command::Up(up) => up::up(*up).await,
                Command::Incidents(show) => show::incidents(show).await,
                Command::Timeline(show) => show::timeline(show).await,
                Command::Audit(Audit::Verify(verify)) => audit::verify(verify).await,
                Command::DeadLetters(letters) => dead_letters::dead_letters(letters).await,
            }
        });
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("firebreak: {error:#}");
            ExitCode::FAILURE
        }
    }
}
