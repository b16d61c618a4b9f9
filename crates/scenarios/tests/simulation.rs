//! The deterministic simulation, as `cargo xtask simulate` plays it: each seed in a process of its
//! own. A seed that fails is named with the command that repeats it.

use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    let player = env!("CARGO_BIN_EXE_simulate");
    let output = Command::new(player).args(arguments).output().expect("the player can be run");
    println!("{}{}", text(&output.stdout), text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn two_hundred_seeds_break_no_promise() {
    let output = simulate(&["--seeds", "200"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("200 seeds played, 0 failed"));
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_not() {
    let journal = |seed: &str| {
        let output = simulate(&["--quiet", "--seed", seed]);
        let told = text(&output.stdout);
        told.lines()
            .last()
            .and_then(|line| line.split("journal ").nth(1))
            .expect("a journal")
            .to_owned()
    };
    for seed in ["3", "19"] {
        assert_eq!(journal(seed), journal(seed), "seed {seed}");
    }
    assert_ne!(journal("3"), journal("19"));
}
