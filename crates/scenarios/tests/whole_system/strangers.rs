//! Clients that others wrote: the official Python SDKs of A2A and MCP, and the MCP inspector.

use std::path::{Path, PathBuf};
use std::process::Command;

use scenarios::{Program, Setup, World, alert, secs};

const MCP: [Program; 3] = [Program::LogAnalyzer, Program::SystemMonitor, Program::DeploymentSystem];
const INSPECTOR: &str = "@modelcontextprotocol/inspector@2.12.0";

#[tokio::test]
async fn official_a2a_sdk_reads_every_card_and_runs_tasks_on_every_agent() {
    let Some(python) = python() else { return };
    let Some(mut world) = World::start(&Setup::default()).await.unwrap() else { return };
    let agents = [
        Program::Ingress,
        Program::DiagnosticAgent,
        Program::ResolutionAgent,
        Program::TicketingAgent,
    ];
    let urls = agents.map(|agent| world.url(agent));
    check(&mut world, Command::new(&python).arg(script("a2a_check.py")).arg("tasks").args(urls));
    // A frozen tool keeps the diagnosis waiting for its evidence.
    world.pause(Program::SystemMonitor).unwrap();
    let url = world.url(Program::DiagnosticAgent);
    check(&mut world, Command::new(&python).arg(script("a2a_check.py")).arg("cancel").arg(url));
    world.resume(Program::SystemMonitor).unwrap();
}

#[tokio::test]
async fn official_mcp_sdk_and_inspector_list_and_call_the_tools() {
    let (python, has_inspector) = (python(), has_inspector());
    if python.is_none() && !has_inspector {
        return;
    }
    // Nobody repairs what the clients look at.
    let setup = Setup { without: vec![Program::ResolutionAgent], ..Setup::default() };
    let Some(mut world) = World::start(&setup).await.unwrap() else { return };
    world.trigger("database_timeout", secs(600)).await.unwrap();
    world.wait_for(&alert("DatabaseConnectionTimeout").is_firing()).await.unwrap();
    let urls = MCP.map(|server| format!("{}/mcp", world.url(server)));
    if let Some(python) = python {
        check(&mut world, Command::new(&python).arg(script("mcp_check.py")).args(&urls));
    }
    if has_inspector {
        inspect(&mut world, &urls);
    }
}

fn inspect(world: &mut World, [logs, metrics, deployment]: &[String; 3]) {
    for (url, tool) in [(logs, "search"), (metrics, "query_range"), (deployment, "run_playbook")] {
        let listed = check(world, inspector(url).args(["--method", "tools/list"]));
        assert!(listed.contains(tool), "{url} does not list {tool}: {listed}");
    }
    for (url, tool, argument, expected) in [
        (logs, "search", "source=db-server-01", "scanned_bytes"),
        (metrics, "snapshot", "target=db-server-01", "connection_pool_size"),
        (deployment, "status", "target=db-server-01", "healthy"),
    ] {
        let call = ["--method", "tools/call", "--tool-name", tool, "--tool-arg", argument];
        let answer = check(world, inspector(url).args(call));
        assert!(answer.contains(expected), "{tool}: {answer}");
    }
}

fn inspector(url: &str) -> Command {
    let mut command = Command::new("npx");
    command.args(["-y", INSPECTOR, "--cli", url, "--transport", "http"]);
    command
}

/// Runs a client to its end and returns what it printed.
fn check(world: &mut World, command: &mut Command) -> String {
    let output = command.output().expect("the client can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, complaints) = (text(&output.stdout), text(&output.stderr));
    if !output.status.success() {
        panic!("{command:?}: {}\n{printed}{complaints}\n{}", output.status, world.account());
    }
    printed
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

/// The Python of the environment that has both SDKs.
fn python() -> Option<PathBuf> {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv");
    let directory = std::env::var_os("FIREBREAK_VENV").map_or(usual, PathBuf::from);
    let python = directory.join("bin/python");
    if !python.is_file() {
        println!("skipped: no Python with the SDKs in {} (FIREBREAK_VENV)", directory.display());
        return None;
    }
    Some(python)
}

/// Whether the inspector can be had: npx is there, and its registry answers or its cache has it.
fn has_inspector() -> bool {
    let asked = Command::new("npx").args(["-y", INSPECTOR, "--help"]).output();
    let why = match asked {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    println!("skipped: the MCP inspector cannot be had: {why}");
    false
}
