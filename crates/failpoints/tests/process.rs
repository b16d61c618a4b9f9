//! What a call does to its process. The tests start this file's own `child`, which passes the place
//! before an effect three times and says so each time.

use std::process::{Command, Output, Stdio};

const WHAT: &str = "FIREBREAK_FAILPOINTS";

#[test]
fn child() {
    if std::env::var_os(WHAT).is_none() {
        return;
    }
    for pass in 1..=3 {
        failpoints::hit(failpoints::BEFORE_EFFECT);
        println!("came past {pass}");
    }
}

fn command(what: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test is a file"));
    command.args(["--exact", "child", "--nocapture"]).env(WHAT, what);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn passes(output: &Output) -> usize {
    String::from_utf8_lossy(&output.stdout).matches("came past").count()
}

#[cfg(not(feature = "enabled"))]
#[test]
fn usual_build_has_no_failpoint() {
    for what in ["before_effect=kill", "no entry at all"] {
        let output = command(what).output().unwrap();
        assert!(output.status.success(), "{what}: {output:?}");
        assert_eq!(passes(&output), 3, "{what}");
    }
}

#[cfg(feature = "enabled")]
mod armed {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;

    use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

    use super::*;

    #[test]
    fn process_dies_at_the_hit_that_is_named() {
        for (what, passed) in [("before_effect=kill", 0), ("before_effect=kill@3", 2)] {
            let output = command(what).output().unwrap();
            assert_eq!(output.status.signal(), Some(9), "{what}: {output:?}");
            assert_eq!(passes(&output), passed, "{what}");
        }
    }

    #[test]
    fn process_lives_where_its_place_is_not_hit() {
        for what in ["before_effect=kill@4", "after_claim=kill", ""] {
            let output = command(what).output().unwrap();
            assert!(output.status.success(), "{what}: {output:?}");
            assert_eq!(passes(&output), 3, "{what}");
        }
    }

    #[test]
    fn frozen_process_goes_on_where_it_was() {
        let mut child = command("before_effect=stop@2").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
        kill_process(pid, Signal::CONT).unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let passed = output.lines().filter(|line| line.as_ref().unwrap().contains("came past"));
        assert_eq!(passed.count(), 3);
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn driver_finds_a_line_of_every_hit() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("hits");
        for _ in 0..2 {
            let mut child = command("before_effect=kill@2");
            let output = child.env("FIREBREAK_FAILPOINT_LOG", &log).output().unwrap();
            assert_eq!(output.status.signal(), Some(9));
        }
        let text = std::fs::read_to_string(&log).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        for line in &lines {
            assert_eq!(&line[..2], ["before_effect", "kill"]);
            assert!(line[2].parse::<i32>().unwrap() > 1);
            assert!(line[3].parse::<f64>().unwrap() > 1e9);
        }
    }

    #[test]
    fn wrong_entry_stops_the_process() {
        let output = command("before_effect=explode").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("FIREBREAK_FAILPOINTS: \"before_effect=explode\""), "{said}");
    }
}
