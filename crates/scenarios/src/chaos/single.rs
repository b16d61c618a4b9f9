//! Faults one by one: the same load, one fault for a while, and then the same invariants.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::run::Run;
use crate::Program;

/// How long the load runs before the fault and after it.
const BEFORE_AND_AFTER: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Single {
    /// PostgreSQL is away
    DatabaseDown,
    /// PostgreSQL takes no writes
    ReadOnly,
    /// Another process holds the write lock of ingress's SQLite file
    Busy,
    /// Requests arrive, answers do not, in turns of a second and a half
    ReplyLost,
    /// SIGTERM in the middle of whatever is going on, and right after the start
    Sigterm,
}

impl Run {
    /// Lets one fault come for so long.
    pub(super) async fn single(&mut self, fault: Single, time: Duration) -> anyhow::Result<()> {
        self.calm(BEFORE_AND_AFTER).await?;
        match fault {
            Single::DatabaseDown => {
                self.postgres()?.stop();
                self.calm(time).await?;
                self.postgres()?.resume();
            }
            Single::ReadOnly => {
                self.set_read_only(true)?;
                self.calm(time).await?;
                self.set_read_only(false)?;
            }
            Single::Busy => self.hold_file(time).await?,
            Single::ReplyLost => self.lose_replies(time).await?,
            Single::Sigterm => self.terminate(time).await?,
        }
        self.calm(BEFORE_AND_AFTER).await
    }

    fn postgres(&mut self) -> anyhow::Result<&mut postgres_server::Server> {
        self.postgres.as_mut().context("this fault needs --db postgres")
    }

    fn set_read_only(&mut self, is_on: bool) -> anyhow::Result<()> {
        let url = self.postgres()?.url();
        let setting = format!("ALTER SYSTEM SET default_transaction_read_only = {is_on}");
        let mut psql = Command::new("psql");
        psql.arg(url).args(["-q", "-c", "SET default_transaction_read_only = off"]);
        psql.arg("-c").arg(setting).args(["-c", "SELECT pg_reload_conf()"]).stdout(Stdio::null());
        let status = psql.status().context("run psql")?;
        ensure!(status.success(), "psql: {status}");
        Ok(())
    }

    /// Another program begins to write to a file that is ours, and takes its time.
    async fn hold_file(&mut self, time: Duration) -> anyhow::Result<()> {
        let file = self.site.database_of(Program::Ingress);
        ensure!(!file.contains("://"), "this fault needs --db sqlite");
        let script = "import sqlite3, sys, time\n\
                      held = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)\n\
                      held.execute('BEGIN IMMEDIATE')\n\
                      time.sleep(float(sys.argv[2]))\n\
                      held.execute('ROLLBACK')\n";
        let mut holder = Command::new("python3");
        holder.args(["-c", script, &file]).arg(time.as_secs_f64().to_string());
        let mut holder = holder.spawn().context("run python3")?;
        let calm = self.calm(time + Duration::from_secs(1)).await;
        let status = holder.wait()?;
        ensure!(status.success(), "the other program did not get the lock: {status}");
        calm
    }

    async fn lose_replies(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            for is_lost in [true, false] {
                self.lost.store(is_lost, std::sync::atomic::Ordering::SeqCst);
                self.calm(Duration::from_millis(1_500)).await?;
            }
        }
        Ok(())
    }

    /// Every other process that is started anew is told to end again before it is ready.
    async fn terminate(&mut self, time: Duration) -> anyhow::Result<()> {
        let all = self.site.instances();
        let until = Instant::now() + time;
        let mut turn = 0;
        while Instant::now() < until {
            let instance = all[self.faults.pick(all.len())];
            self.stop_and_start(instance, Duration::ZERO).await?;
            turn += 1;
            if turn % 2 == 0 {
                let age = Duration::from_millis(self.faults.pick(150) as u64);
                self.stop_and_start(instance, age).await?;
            }
            self.calm(Duration::from_millis(300)).await?;
        }
        Ok(())
    }
}
