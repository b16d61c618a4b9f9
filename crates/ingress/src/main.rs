//! The `ingress` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::run("ingress", ingress::start)
}
