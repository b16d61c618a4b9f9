//! A private PostgreSQL server for tests and chaos runs: its own directory, a Unix socket and no port.
//! It ends with whoever started it however that ends, because the shell around it waits for the end
//! of its input.

use std::io::{BufRead, BufReader};
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
"$1/postgres" -D data -k "$2" -c listen_addresses= -c max_connections=200 -c shared_buffers=16MB \
  -c fsync="$3" >>postgres.log 2>&1 </dev/null &
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
pub struct Server {
    programs: PathBuf,
    /// `None` while it is stopped.
    shell: Option<Child>,
    /// Whether commits wait for the disk.
    fsync: bool,
    directory: TempDir,
}

impl Server {
    /// Starts a server whose commits do not wait for the disk. `None` where PostgreSQL is not installed.
    ///
    /// # Panics
    /// It is not installed where `CI` is `true`, or does not start.
    pub fn start() -> Option<Self> {
        Self::start_with(false)
    }

    /// Starts a server as one would in production: what is committed is on the disk.
    ///
    /// # Panics
    /// As `start`.
    pub fn start_durable() -> Option<Self> {
        Self::start_with(true)
    }

    fn start_with(fsync: bool) -> Option<Self> {
        let Some(programs) = programs() else {
            let advice = "PostgreSQL is not installed: sudo apt-get install --no-install-recommends \
                          postgresql, or put the directory of `initdb` and `postgres` on PATH";
            assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{advice}");
            println!("skipped: {advice}");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("firebreak-pg-").tempdir();
        let directory = directory.expect("a temporary directory");
        if let Some((user, group)) = other_user() {
            std::os::unix::fs::chown(directory.path(), Some(user), Some(group))
                .expect("root may give a directory away");
        }
        let shell = run(&programs, directory.path(), fsync);
        Some(Self { programs, shell: Some(shell), fsync, directory })
    }

    /// Where it answers, for `sqlx` and `psql`.
    pub fn url(&self) -> String {
        format!("postgres:///postgres?user=test&host={}", self.directory.path().display())
    }

    /// Stops the server; whoever is connected is cut off.
    pub fn stop(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            // The shell stops the server when nobody holds its input any more.
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }

    /// Starts it again over the same files.
    pub fn resume(&mut self) {
        if self.shell.is_none() {
            self.shell = Some(run(&self.programs, self.directory.path(), self.fsync));
        }
    }

    /// Stops the server and starts it again over the same files.
    pub fn restart(&mut self) {
        self.stop();
        self.resume();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(programs: &Path, directory: &Path, fsync: bool) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh"]).arg(programs).arg(directory).arg(if fsync {
        "on"
    } else {
        "off"
    });
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    let mut shell = command.spawn().expect("sh is there");
    let mut said = String::new();
    let mut output = BufReader::new(shell.stdout.take().expect("piped above"));
    while !said.ends_with("ready\n") {
        let length = output.read_line(&mut said).expect("PostgreSQL says text");
        assert!(length > 0, "PostgreSQL does not start:\n{said}");
    }
    shell
}

/// PostgreSQL refuses to be run by root: the user that Debian's package made, or nobody.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("the list of users");
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("a user that is not root"))
}

/// Whether a server can be started here.
pub fn is_installed() -> bool {
    programs().is_some()
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
