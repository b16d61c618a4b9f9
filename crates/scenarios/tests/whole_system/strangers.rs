//! Clients that others wrote: the official SDKs of A2A for Python and JavaScript, the linter
//! a2aops, the official Python SDK of MCP, and the MCP inspector.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use scenarios::{Program, Setup, World, alert, secs};

use crate::sut::Sut;

const MCP: [Program; 3] = [Program::LogAnalyzer, Program::SystemMonitor, Program::DeploymentSystem];
const INSPECTOR: &str = "@modelcontextprotocol/inspector@2.12.0";

#[tokio::test]
async fn official_a2a_sdk_for_python_does_all_it_can_with_every_agent() {
    let Some(python) = python() else { return };
    does_all_it_can(&|| {
        let mut check = Command::new(&python);
        check.arg(script("python/a2a_check.py"));
        check
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn official_a2a_sdk_for_javascript_does_all_it_can_with_every_agent() {
    let Some(modules) = javascript() else { return };
    for source in ["a2a_check.mjs", "agents.mjs", "exchange.mjs", "receiver.mjs"] {
        std::fs::copy(script("javascript").join(source), modules.join(source)).unwrap();
    }
    does_all_it_can(&|| {
        let mut check = Command::new("node");
        check.arg(modules.join("a2a_check.mjs"));
        check
    })
    .await
    .unwrap();
}

/// `client` makes the command of a client that knows `sut`, `exchange`, `cancel` and `approval`.
async fn does_all_it_can(client: &impl Fn() -> Command) -> anyhow::Result<()> {
    speaks_to_the_shared_server(client).await?;
    let setup = Setup {
        with_approval: vec!["raise-connection-pool"],
        for_strangers: true,
        ..Setup::default()
    };
    let Some(mut world) = World::start(&setup).await? else { return Ok(()) };
    let token = world.stranger_token();
    let asks = |command: &str| {
        let mut client = client();
        client.args([command, "--push", "--v0.3", "--token-file"]).arg(&token);
        client
    };
    check(&mut world, &mut asks("exchange"), &Program::AGENTS);
    // A frozen tool keeps the diagnosis waiting for its evidence.
    world.pause(Program::SystemMonitor)?;
    check(&mut world, &mut asks("cancel"), &[Program::DiagnosticAgent]);
    world.resume(Program::SystemMonitor)?;
    // Only what is ill gets a plan, and a plan the question.
    world.trigger("database_timeout", secs(600)).await?;
    world.wait_for(&alert("DatabaseConnectionTimeout").is_firing()).await?;
    let asked = [Program::DiagnosticAgent, Program::ResolutionAgent];
    check(&mut world, &mut asks("approval"), &asked);
    Ok(())
}

/// The server of all agents as it is without settings, and with all of them, where every message
/// streams an artifact.
async fn speaks_to_the_shared_server(client: &impl Fn() -> Command) -> anyhow::Result<()> {
    let sut = Sut::start().await?;
    ended_well(client().args(["sut", "--push", &sut.base()]))?;
    let (sut, token) = Sut::start_with_token().await?;
    ended_well(client().args(["sut", "--push", "--v0.3", &sut.base(), "--token-file"]).arg(token))?;
    Ok(())
}

#[tokio::test]
async fn a2aops_finds_cards_authentication_and_lives_of_tasks_clean() {
    let Some(python) = python() else { return };
    let Some(mut world) = World::start(&Setup::default()).await.unwrap() else { return };
    let mut ops = Command::new(&python);
    check(&mut world, ops.arg(script("python/a2aops_check.py")), &Program::AGENTS);
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
        run(&mut world, Command::new(&python).arg(script("python/mcp_check.py")).args(&urls));
    }
    if has_inspector {
        inspect(&mut world, &urls);
    }
}

fn inspect(world: &mut World, [logs, metrics, deployment]: &[String; 3]) {
    for (url, tool) in [(logs, "search"), (metrics, "query_range"), (deployment, "run_playbook")] {
        let listed = run(world, inspector(url).args(["--method", "tools/list"]));
        assert!(listed.contains(tool), "{url} does not list {tool}: {listed}");
    }
    for (url, tool, argument, expected) in [
        (logs, "search", "source=db-server-01", "scanned_bytes"),
        (metrics, "snapshot", "target=db-server-01", "connection_pool_size"),
        (deployment, "status", "target=db-server-01", "healthy"),
    ] {
        let call = ["--method", "tools/call", "--tool-name", tool, "--tool-arg", argument];
        let answer = run(world, inspector(url).args(call));
        assert!(answer.contains(expected), "{tool}: {answer}");
    }
}

fn inspector(url: &str) -> Command {
    let mut command = Command::new("npx");
    command.args(["-y", INSPECTOR, "--cli", url, "--transport", "http"]);
    command
}

/// Runs a client against these programs.
fn check(world: &mut World, client: &mut Command, programs: &[Program]) -> String {
    let urls: Vec<String> = programs.iter().map(|program| world.url(*program)).collect();
    run(world, client.args(urls))
}

/// Runs a client to its end and returns what it printed.
fn run(world: &mut World, command: &mut Command) -> String {
    match ended_well(command) {
        Ok(printed) => printed,
        Err(error) => panic!("{error:#}\n{}", world.account()),
    }
}

fn ended_well(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, complaints) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}\n{printed}{complaints}", output.status);
    Ok(printed)
}

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The Python of the environment that has the SDKs.
pub(crate) fn python() -> Option<PathBuf> {
    let python = environment("FIREBREAK_VENV", "venv").join("bin/python");
    python.is_file().then_some(python).or_else(|| missing("Python with the SDKs", "FIREBREAK_VENV"))
}

/// The directory whose modules have the SDK.
fn javascript() -> Option<PathBuf> {
    let directory = environment("FIREBREAK_JAVASCRIPT", "javascript");
    let has_sdk = directory.join("node_modules/@a2a-js/sdk").is_dir();
    has_sdk
        .then_some(directory)
        .or_else(|| missing("JavaScript SDK of A2A", "FIREBREAK_JAVASCRIPT"))
}

fn environment(variable: &str, usual: &str) -> PathBuf {
    let usual = script("../../target").join(usual);
    std::env::var_os(variable).map_or(usual, PathBuf::from)
}

/// Where everything is checked, nothing may be left out.
fn missing<T>(what: &str, variable: &str) -> Option<T> {
    let how = "`cargo xtask test --only install` installs it below target/";
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "no {what}: {how}, or {variable} says where it is");
    println!("skipped: no {what}: {how}, or {variable} says where it is");
    None
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
