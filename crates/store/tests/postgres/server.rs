//! A private PostgreSQL server for one test: its own directory, a Unix socket and no port. It ends
//! with the test however that ends, because the shell around it waits for the end of its input.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Says when the server takes connections, and stops it when nobody holds the input any more.
const SCRIPT: &str = r#"
cd "$2" || exit 1
if [ ! -d data ]; then
  "$1/initdb" -D data -U test --auth=trust --no-sync --encoding=UTF8 --locale=C.UTF-8 >initdb.log 2>&1 \
    || { cat initdb.log; exit 1; }
fi
"$1/postgres" -D data -k "$2" -c listen_addresses= -c max_connections=40 -c shared_buffers=16MB \
  -c fsync=off >>postgres.log 2>&1 </dev/null &
server=$!
until grep -q '^ready' data/postmaster.pid 2>/dev/null; do
  kill -0 $server 2>/dev/null || { cat postgres.log; exit 1; }
  sleep 0.05
done
echo ready
cat >/dev/null
kill -INT $server
wait $server
"#;

#[derive(Debug)]
pub(crate) struct Server {
    programs: PathBuf,
    shell: Child,
    directory: TempDir,
}

impl Server {
    /// Starts a server. `None` where PostgreSQL is not installed, which fails where `CI` is `true`.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let advice = "PostgreSQL is not installed: sudo apt-get install --no-install-recommends \
                          postgresql, or put the directory of `initdb` and `postgres` on PATH";
            assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{advice}");
            println!("skipped: {advice}");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("firebreak-pg-").tempdir().unwrap();
        if let Some((user, group)) = other_user() {
            std::os::unix::fs::chown(directory.path(), Some(user), Some(group)).unwrap();
        }
        let shell = run(&programs, directory.path());
        Some(Self { programs, shell, directory })
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres:///postgres?user=test&host={}", self.directory.path().display())
    }

    /// Stops the server and starts it again over the same files.
    pub(crate) fn restart(&mut self) {
        stop(&mut self.shell);
        self.shell = run(&self.programs, self.directory.path());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&mut self.shell);
    }
}

fn run(programs: &Path, directory: &Path) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh"]).arg(programs).arg(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    let mut shell = command.spawn().unwrap();
    let mut said = String::new();
    let mut output = BufReader::new(shell.stdout.take().unwrap());
    while !said.ends_with("ready\n") {
        let length = output.read_line(&mut said).unwrap();
        assert!(length > 0, "PostgreSQL does not start:\n{said}");
    }
    shell
}

fn stop(shell: &mut Child) {
    if let Some(mut input) = shell.stdin.take() {
        let _ = input.flush();
    }
    let _ = shell.wait();
}

/// PostgreSQL refuses to be run by root: the user that Debian's package made, or nobody.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("a user that is not root"))
}

/// Where the server's programs are: on PATH, or where Debian keeps each version.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|one| one.path().join("bin")).collect();
    versions.sort();
    std::env::split_paths(&path)
        .chain(versions.into_iter().rev())
        .find(|directory| directory.join("initdb").is_file())
}
