//! Faults one by one, under load, with real processes: `cargo xtask chaos --only …` in short. What
//! holds afterwards is what the driver checks. Skipped, and said so, where Prometheus or PostgreSQL is
//! not installed; where `CI` is `true`, that is a failure.

mod storm;

use std::process::Command;
use std::sync::Mutex;

/// A run keeps two cores busy: one at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Plays a run; its account is the test's output.
fn holds(fault: &str, database: &str, seconds: u32) {
    let has_database = database != "postgres" || postgres_server::is_installed();
    if !(has_prometheus() && has_database) {
        let missing = "Prometheus or PostgreSQL is not installed";
        assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{missing}");
        println!("skipped: {missing}");
        return;
    }
    let _turn = TURN.lock();
    let ingress = scenarios::binary("ingress").expect("the programs build");
    let binaries = ingress.parent().expect("a program stands in a directory");
    let mut driver = Command::new(env!("CARGO_BIN_EXE_chaos"));
    driver.arg("--binaries").arg(binaries).args(["--only", fault, "--db", database]);
    driver.args(["--seconds", &seconds.to_string(), "--seed", "1", "--targets", "6"]);
    let output = driver.output().expect("the driver runs");
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{fault}: {}", output.status);
    let alerts = told.lines().find_map(|line| line.strip_prefix("alerts acknowledged "));
    let alerts: usize = alerts.expect("the account counts them").trim().parse().expect("a count");
    assert!(alerts > 0, "there was no load");
}

fn has_prometheus() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join("prometheus").is_file())
}

#[test]
fn lost_answers_repeat_no_effect_and_lose_nothing() {
    holds("reply-lost", "sqlite", 6);
}

#[test]
fn sigterm_at_any_moment_loses_nothing() {
    holds("sigterm", "sqlite", 6);
}

#[test]
fn file_that_another_program_holds_is_waited_for() {
    holds("busy", "sqlite", 7);
}

#[test]
fn database_that_is_away_loses_nothing() {
    holds("database-down", "postgres", 5);
}

#[test]
fn database_that_takes_no_writes_loses_nothing() {
    holds("read-only", "postgres", 5);
}

#[test]
fn usual_build_has_no_failpoint() {
    for name in ["ingress", "resolution-agent", "deployment-system", "ticketing-agent"] {
        let program = scenarios::binary(name).expect("the programs build");
        let bytes = std::fs::read(program).expect("a program can be read");
        let name_of_setting = b"FIREBREAK_FAILPOINTS";
        let is_there = bytes.windows(name_of_setting.len()).any(|part| part == name_of_setting);
        assert!(!is_there, "{name} reads FIREBREAK_FAILPOINTS");
    }
}
