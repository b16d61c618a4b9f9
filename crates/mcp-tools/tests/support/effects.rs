//! Programs that stand where `ansible-playbook` does, and the log of what they did: a line when an
//! effect begins and one when it ends, added by the program itself.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Writes a program. `$LOG` in its text is the log of effects.
pub(crate) fn program(directory: &Path, text: &str) -> PathBuf {
    named(directory, "playbook-program", text)
}

fn named(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    if path.exists() {
        return path;
    }
    let log = log_of(directory).display().to_string();
    let text = format!("#!/bin/sh\nLOG='{log}'\n{text}\n");
    // Copied by another process: while this one has a file open, a child that another test starts has
    // it open too for a moment, and the kernel runs no program that somebody may still write to.
    let written = path.with_added_extension("text");
    std::fs::write(&written, text).unwrap();
    std::fs::set_permissions(&written, std::fs::Permissions::from_mode(0o700)).unwrap();
    let copied = std::process::Command::new("cp").args([&written, &path]).status().unwrap();
    assert!(copied.success());
    path
}

/// A program whose effect takes a while. Replicas may share it.
pub(crate) fn slow_effect(directory: &Path, seconds: &str) -> PathBuf {
    let text = "echo \"begin $FIREBREAK_CHANGE\" >> \"$LOG\"\nsleep SECONDS\n\
                echo \"end $FIREBREAK_CHANGE\" >> \"$LOG\"";
    named(directory, &format!("effect-of-{seconds}"), &text.replace("SECONDS", seconds))
}

/// A program whose effect goes on until it is let go. Replicas may share it.
pub(crate) fn held_effect(directory: &Path) -> PathBuf {
    let text = "echo \"begin $FIREBREAK_CHANGE\" >> \"$LOG\"\n\
                while ! [ -e \"$LOG.let-go\" ]; do sleep 0.01; done\n\
                echo \"end $FIREBREAK_CHANGE\" >> \"$LOG\"";
    named(directory, "held-effect", text)
}

pub(crate) fn let_go(directory: &Path) {
    std::fs::write(log_of(directory).with_added_extension("let-go"), "").unwrap();
}

pub(crate) fn log_of(directory: &Path) -> PathBuf {
    directory.join("effects.log")
}

pub(crate) fn effects(directory: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(log_of(directory)).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

/// Waits until the log has as many whole lines.
pub(crate) async fn effects_reach(directory: &Path, lines: usize) {
    until("effects", || {
        let log = std::fs::read_to_string(log_of(directory)).unwrap_or_default();
        log.ends_with('\n') && log.lines().count() >= lines
    })
    .await;
}

/// Every effect of the log once, whole, and none beside another.
pub(crate) fn assert_one_by_one(directory: &Path) -> usize {
    let effects = effects(directory);
    let mut seen = Vec::new();
    for pair in effects.chunks(2) {
        let [begin, end] = pair else { panic!("an effect without an end: {effects:?}") };
        let begun = begin.strip_prefix("begin ").unwrap_or_else(|| panic!("{effects:?}"));
        assert_eq!(end.strip_prefix("end "), Some(begun), "they overlap: {effects:?}");
        assert!(!seen.contains(&begun), "an effect took place twice: {effects:?}");
        seen.push(begun);
    }
    seen.len()
}

/// Waits for something that happens by itself, and fails when it has not after a long time.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), wait).await;
    assert!(waited.is_ok(), "waited for too long: {what}");
}

/// Processes that carry the mark of a change in their environment.
pub(crate) fn processes_of(change: &str) -> Vec<i32> {
    let mark = format!("FIREBREAK_CHANGE={change}");
    let has_mark = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
            environment.split(|&byte| byte == 0).any(|line| line == mark.as_bytes())
        })
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(has_mark)
        .collect()
}
