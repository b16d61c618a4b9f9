//! Counts of tests and the names of those that failed, read from the lines of the runners.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u32,
    pub(super) failed: u32,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Reads a closing line of `cargo test` or `cargo nextest`; every other line counts nothing. What
/// nextest shows of a test that failed has lines of `cargo test` too, but indented.
pub(super) fn read(line: &str) -> Tally {
    let line = plain(line);
    let is_closing =
        line.starts_with("test result: ") || line.trim_start().starts_with("Summary [");
    if !is_closing {
        return Tally::default();
    }
    let count = |word| before(&line, word);
    Tally { passed: count("passed"), failed: count("failed") + count("timed") }
}

/// The name of a test, where this line of a runner says that it failed.
pub(super) fn failed_test(line: &str) -> Option<String> {
    let line = plain(line);
    let of_cargo = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
    if let Some(name) = of_cargo {
        return Some(name.to_owned());
    }
    let (verdict, rest) = line.trim_start().split_once(" [")?;
    let is_bad = ["FAIL", "TIMEOUT", "ABORT"].contains(&verdict)
        || verdict.starts_with("SIG") && verdict.bytes().all(|byte| byte.is_ascii_uppercase());
    let name = rest.split_once("] ").filter(|_| is_bad)?.1.trim_start();
    // Its number among all tests may stand before it.
    let numbered = name.strip_prefix('(').and_then(|rest| rest.split_once(") "));
    Some(numbered.map_or(name, |(_, name)| name).to_owned())
}

/// The number in front of a word.
fn before(line: &str, wanted: &str) -> u32 {
    let words: Vec<&str> =
        line.split([' ', ',', ';', '.']).filter(|word| !word.is_empty()).collect();
    let found = words.windows(2).find(|pair| pair[1] == wanted);
    found.and_then(|pair| pair[0].parse().ok()).unwrap_or_default()
}

/// Without the colours of a terminal.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut is_code = false;
    for letter in line.chars() {
        match letter {
            '\x1b' => is_code = true,
            'm' if is_code => is_code = false,
            letter if !is_code => text.push(letter),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_are_read() {
        let cargo = "test result: FAILED. 21 passed; 2 failed; 0 ignored; 0 measured";
        assert_eq!(read(cargo), Tally { passed: 21, failed: 2 });
        let nextest =
            "     Summary [   0.100s] 12 tests run: 11 passed (1 slow), 1 failed, 3 skipped";
        assert_eq!(read(nextest), Tally { passed: 11, failed: 1 });
        let coloured = "\x1b[32;1m     Summary\x1b[0m [   0.1s] \x1b[1m7\x1b[0m tests run: \x1b[1m7\x1b[0m \x1b[32;1mpassed\x1b[0m, 0 skipped";
        assert_eq!(read(coloured), Tally { passed: 7, failed: 0 });
    }

    #[test]
    fn test_that_ran_out_of_time_has_failed() {
        let line = "Summary [ 60.0s] 4 tests run: 3 passed, 1 timed out, 0 skipped";
        assert_eq!(read(line), Tally { passed: 3, failed: 1 });
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(read("3 passed, 1 failed"), Tally::default());
        let shown_by_nextest = "    test result: FAILED. 0 passed; 1 failed; 0 ignored";
        assert_eq!(read(shown_by_nextest), Tally::default());
    }

    #[test]
    fn failed_tests_of_both_runners_are_named() {
        let named = |line: &str| failed_test(line);
        assert_eq!(named("test storm::one ... FAILED").as_deref(), Some("storm::one"));
        let nextest = "        FAIL [  23.609s] (183/520) ingress::ingress storm::one";
        assert_eq!(named(nextest).as_deref(), Some("ingress::ingress storm::one"));
        let coloured = "\x1b[31;1m     SIGSEGV\x1b[0m [   0.1s] (\x1b[36m1\x1b[0m/2) store one";
        assert_eq!(named(coloured).as_deref(), Some("store one"));
        for other in [
            "test storm::one ... ok",
            "    test storm::one ... FAILED",
            "        PASS [   0.024s] ( 19/520) ingress one",
            "        SLOW [> 60.000s] (-------) ingress one",
            "     Summary [ 245.516s] 520 tests run: 519 passed, 1 failed",
        ] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
