//! Log files of a directory, read from the end backwards as far as a time range needs and a bound
//! allows, over rotated files. A file that rotates while it is read is read once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::line::parse;

/// Read at a time, backwards.
const BLOCK: u64 = 256 * 1024;
/// Lines may be this much out of order.
const DISORDER: SignedDuration = SignedDuration::from_secs(10);

/// The end of a log, oldest byte first.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) text: Vec<u8>,
    /// Why the range may reach further back than `text`.
    pub(super) truncated: Option<String>,
}

/// The sources of a directory and their files, newest first.
pub(super) fn sources(directory: &Path) -> io::Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut rotated: BTreeMap<String, BTreeMap<u32, PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let Some((source, age)) = source_and_age(&name) else { continue };
        rotated.entry(source.to_owned()).or_default().insert(age, entry.path());
    }
    Ok(rotated.into_iter().map(|(source, files)| (source, files.into_values().collect())).collect())
}

/// `db-1.log` is age 0 of `db-1`, `db-1.log.2` age 2.
fn source_and_age(name: &str) -> Option<(&str, u32)> {
    let (source, age) = match name.strip_suffix(".log") {
        Some(source) => (source, 0),
        None => {
            let (rest, age) = name.rsplit_once('.')?;
            (rest.strip_suffix(".log")?, age.parse().ok()?)
        }
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
    (!source.is_empty() && source.bytes().all(is_name)).then_some((source, age))
}

/// Reads `files` (newest first) back to `start`, at most `bound` bytes, until `until`.
pub(super) fn read_tail(
    files: &[PathBuf],
    start: Timestamp,
    bound: u64,
    until: Instant,
) -> io::Result<Tail> {
    let begin = start.checked_sub(DISORDER).unwrap_or(Timestamp::MIN);
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut left = bound;
    let mut seen = Vec::new();
    let mut truncated = None;
    'files: for path in files {
        let mut file = match File::open(path) {
            Ok(file) => file,
            // Rotated away since the directory was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if seen.contains(&(metadata.dev(), metadata.ino())) || !metadata.is_file() {
            continue;
        }
        seen.push((metadata.dev(), metadata.ino()));
        let mut end = metadata.len();
        while end > 0 {
            if left == 0 {
                truncated = Some(format!("only the last {bound} bytes of the log were read"));
                break 'files;
            }
            if Instant::now() >= until {
                truncated = Some("reading stopped at the call's deadline".to_owned());
                break 'files;
            }
            let length = end.min(BLOCK).min(left);
            end -= length;
            left -= length;
            file.seek(SeekFrom::Start(end))?;
            let mut block = Vec::new();
            (&mut file).take(length).read_to_end(&mut block)?;
            let is_far_enough = first_time(&block).is_some_and(|time| time < begin);
            blocks.push(block);
            if is_far_enough {
                break 'files;
            }
        }
    }
    let mut text: Vec<u8> = blocks.into_iter().rev().flatten().collect();
    if truncated.is_some() {
        drop_first_line(&mut text);
    }
    Ok(Tail { text, truncated })
}

/// The time of the first whole line that bears one.
fn first_time(block: &[u8]) -> Option<Timestamp> {
    block
        .split(|&byte| byte == b'\n')
        .skip(1)
        .take(1000)
        .find_map(|line| parse(&String::from_utf8_lossy(line)).time)
}

/// Cut in its middle, most likely.
fn drop_first_line(text: &mut Vec<u8>) {
    let end = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |at| at + 1);
    text.drain(..end);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn write(path: &Path, seconds: std::ops::Range<i64>) {
        let lines: String = seconds
            .map(|second| {
                let time = Timestamp::from_second(1_700_000_000 + second).unwrap();
                format!("{time} INFO app tick {second}\n")
            })
            .collect();
        std::fs::write(path, lines).unwrap();
    }

    #[test]
    fn rotated_files_are_read_newest_first_and_joined_in_order() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("app.log.1"), 0..10);
        write(&dir.path().join("app.log"), 10..20);
        std::fs::write(dir.path().join("notes.txt"), "x").unwrap();
        let sources = sources(dir.path()).unwrap();
        assert_eq!(sources.keys().collect::<Vec<_>>(), ["app"]);
        let tail = read_tail(&sources["app"], Timestamp::UNIX_EPOCH, 1 << 20, soon()).unwrap();
        let text = String::from_utf8(tail.text).unwrap();
        let ticks: Vec<_> = text
            .lines()
            .map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap())
            .collect();
        assert_eq!(ticks, (0..20).collect::<Vec<_>>());
        assert_eq!(tail.truncated, None);
    }

    #[test]
    fn reading_stops_where_the_range_begins_and_at_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        write(&path, 0..100_000);
        let start = Timestamp::from_second(1_700_099_900).unwrap();
        let tail = read_tail(std::slice::from_ref(&path), start, 1 << 30, soon()).unwrap();
        assert!(tail.text.len() as u64 <= BLOCK && tail.truncated.is_none());
        let tail = read_tail(&[path], Timestamp::UNIX_EPOCH, 10_000, soon()).unwrap();
        assert!(tail.text.len() < 10_000 && tail.text.ends_with(b"tick 99999\n"));
        assert!(tail.text.starts_with(b"2023-") && tail.truncated.is_some());
    }

    #[test]
    fn the_beginning_of_time_is_a_beginning_like_any_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        write(&path, 0..3);
        let tail = read_tail(&[path], Timestamp::MIN, 1 << 20, soon()).unwrap();
        assert!(tail.text.ends_with(b"tick 2\n"));
    }

    #[test]
    fn a_file_seen_under_two_names_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let (new, old) = (dir.path().join("app.log"), dir.path().join("app.log.1"));
        write(&new, 0..3);
        std::fs::hard_link(&new, &old).unwrap();
        let tail = read_tail(&[new, old], Timestamp::UNIX_EPOCH, 1 << 20, soon()).unwrap();
        assert_eq!(tail.text.iter().filter(|&&byte| byte == b'\n').count(), 3);
    }
}
