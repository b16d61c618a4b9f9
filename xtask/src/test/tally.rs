//! Counts of tests, read from the closing lines of the runners.

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

/// Reads a closing line of `cargo test` or `cargo nextest`; every other line counts nothing.
pub(super) fn read(line: &str) -> Tally {
    let line = plain(line);
    let line = line.trim();
    let is_closing = line.starts_with("test result: ") || line.starts_with("Summary [");
    if !is_closing {
        return Tally::default();
    }
    Tally { passed: before(line, "passed"), failed: before(line, "failed") + before(line, "timed") }
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
    }
}
