//! PostgreSQL: a schema for each agent, connections whose statements end in time, and the replica's
//! lease by the clock of the server.

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use crate::sqlite::to_json;
use crate::{OpenOptions, Replica, StoreError};

const CONNECTIONS: u32 = 8;
/// Those for statements that look up every row by its key.
const CONNECTIONS_BY_KEY: u32 = 3;
/// How long a call waits for a connection.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);
/// How long opening may take: another replica may be bringing the tables to this version.
const OPEN_DEADLINE: Duration = Duration::from_secs(120);

/// Connects as an agent and brings its tables to this version.
pub(crate) async fn connect(url: &str, agent: &str) -> Result<PgPool, StoreError> {
    let schema = schema_of(agent);
    let options: PgConnectOptions = url.parse()?;
    let options = options.application_name(agent).options([
        ("search_path", schema.as_str()),
        // The server itself ends a statement that takes too long, and the transaction of a process
        // that was frozen within it.
        ("statement_timeout", "10000"),
        ("idle_in_transaction_session_timeout", "5000"),
        // A plan that was made while the tables were empty would scan them ever after.
        ("plan_cache_mode", "force_custom_plan"),
    ]);
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECTION_WAIT);
    let ready = async {
        let pool = open_pool(pool, options).await?;
        make_schema(&pool, &schema).await?;
        migrate(&pool).await?;
        Ok(pool)
    };
    let outcome = tokio::time::timeout(OPEN_DEADLINE, ready).await;
    outcome.unwrap_or(Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)))
}

/// The same database for statements that join no tables and look up every row by its key: they go by
/// an index however large a table is, so that one plan serves for good. To plan such a statement costs
/// as much as to run it.
pub(crate) fn by_key(pool: &PgPool) -> PgPool {
    let options = (*pool.connect_options()).clone().options([
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_bitmapscan", "off"),
        ("jit", "off"),
    ]);
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS_BY_KEY);
    pool.acquire_timeout(CONNECTION_WAIT).connect_lazy_with(options)
}

/// Opens a pool, and says what a pool does not: where nobody answers it tries again and again, until
/// all it knows is that this took too long.
pub(crate) async fn open_pool(
    pool: PgPoolOptions,
    options: PgConnectOptions,
) -> Result<PgPool, StoreError> {
    let source = match pool.connect_with(options.clone()).await {
        Ok(pool) => return Ok(pool),
        Err(error @ sqlx::Error::PoolTimedOut) => {
            let alone = tokio::time::timeout(CONNECTION_WAIT, options.connect()).await;
            alone.ok().and_then(Result::err).unwrap_or(error)
        }
        Err(error) => error,
    };
    let (server, role) = (address_of(&options), options.get_username().to_owned());
    Err(match &source {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => StoreError::NoServer { server, source },
        sqlx::Error::Database(error) if is_about_who_asks(&**error) => {
            StoreError::NotLetIn { server, role, source }
        }
        _ => source.into(),
    })
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>, class 28.
fn is_about_who_asks(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| code.starts_with("28"))
}

/// The directory of a Unix socket, or host and port.
fn address_of(options: &PgConnectOptions) -> String {
    let (host, port) = (options.get_host(), options.get_port());
    match options.get_socket() {
        Some(directory) => format!("{}, port {port}", directory.display()),
        None if host.contains(':') => format!("[{}]:{port}", host.trim_matches(['[', ']'])),
        None => format!("{host}:{port}"),
    }
}

/// The name of an agent as that of its schema.
pub(crate) fn schema_of(agent: &str) -> String {
    agent.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_").to_ascii_lowercase()
}

/// Makes the schema where it is missing and this role may.
async fn make_schema(pool: &PgPool, schema: &str) -> Result<(), StoreError> {
    let present = "SELECT current_user::text AS role, \
                     has_schema_privilege(oid, 'CREATE') AS may_create \
                   FROM pg_namespace WHERE nspname = $1";
    let present = sqlx::query(present).bind(schema).fetch_optional(pool).await?;
    let is_usable = match present {
        Some(row) => row.try_get("may_create")?,
        None => {
            let create = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
            match sqlx::query(AssertSqlSafe(create)).execute(pool).await {
                // Made by another replica at the same moment.
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => true,
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {
                    false
                }
                outcome => outcome.map(|_| true)?,
            }
        }
    };
    if is_usable {
        return Ok(());
    }
    let role: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(pool).await?;
    Err(StoreError::NoSchema { schema: schema.to_owned(), role })
}

/// Brings the tables to this version. Those of a newer one are left as they are, where they say that
/// this version may use them.
async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    let mut migrator = sqlx::migrate!("migrations/postgres");
    let known = migrator.iter().map(|one| one.version).max().unwrap_or_default();
    let mut connection = pool.acquire().await?;
    check_compatible(&mut connection, known).await?;
    sqlx::query("SET statement_timeout = 0").execute(&mut *connection).await?;
    let outcome = migrator.set_ignore_missing(true).run(&mut *connection).await;
    sqlx::query("RESET statement_timeout").execute(&mut *connection).await?;
    outcome?;
    // A newer replica may have been faster.
    check_compatible(&mut connection, known).await
}

async fn check_compatible(connection: &mut PgConnection, known: i64) -> Result<(), StoreError> {
    let table = "SELECT to_regclass('compatibility') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(table).fetch_one(&mut *connection).await? {
        return Ok(());
    }
    let oldest = "SELECT oldest FROM compatibility";
    let oldest: i64 = sqlx::query_scalar(oldest).fetch_one(&mut *connection).await?;
    if oldest > known { Err(StoreError::Newer { needed: oldest, known }) } else { Ok(()) }
}

/// Ends the leases of replicas that are proven dead, and those that ran out long ago.
pub(crate) async fn bury_replicas(pool: &PgPool, options: &OpenOptions) -> Result<(), StoreError> {
    let rows = sqlx::query("SELECT id, body FROM replica").fetch_all(pool).await?;
    let mut dead: Vec<String> = Vec::new();
    for row in rows {
        let body: String = row.try_get("body")?;
        let replica = serde_json::from_str::<Replica>(&body);
        if replica.is_ok_and(|replica| (options.is_dead)(&replica)) {
            dead.push(row.try_get("id")?);
        }
    }
    sqlx::query(
        "DELETE FROM replica WHERE id = ANY($1) OR expires_at < clock_timestamp() - interval '1 day'",
    )
    .bind(dead)
    .execute(pool)
    .await?;
    Ok(())
}

/// Begins a lease under a new key.
pub(crate) async fn begin_lease(
    pool: &PgPool,
    replica: &Replica,
    lease: Duration,
) -> Result<String, StoreError> {
    let key = sqlx::query_scalar(
        "INSERT INTO replica (id, body, expires_at) \
         VALUES ($1 || '/' || gen_random_uuid(), $2, \
           clock_timestamp() + $3 * interval '1 microsecond') RETURNING id",
    )
    .bind(&replica.id)
    .bind(to_json(replica))
    .bind(micros(lease))
    .fetch_one(pool)
    .await?;
    Ok(key)
}

/// Prolongs a lease. `None`: it had run out; else whether other replicas live. The tasks of a process
/// have a lease of their own, of the same replica.
pub(crate) async fn prolong_lease(
    pool: &PgPool,
    key: &str,
    lease: Duration,
) -> Result<Option<bool>, StoreError> {
    let others = sqlx::query_scalar(
        "UPDATE replica SET expires_at = clock_timestamp() + $2 * interval '1 microsecond' \
         WHERE id = $1 AND expires_at > clock_timestamp() \
         RETURNING EXISTS (SELECT 1 FROM replica AS other \
           WHERE other.body <> replica.body AND other.expires_at > clock_timestamp())",
    )
    .bind(key)
    .bind(micros(lease))
    .fetch_optional(pool)
    .await?;
    Ok(others)
}

pub(crate) async fn end_lease(pool: &PgPool, key: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM replica WHERE id = $1").bind(key).execute(pool).await?;
    Ok(())
}

fn micros(lease: Duration) -> f64 {
    lease.as_secs_f64() * 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::schema_of;

    #[test]
    fn a_schema_has_the_name_of_its_agent() {
        assert_eq!(schema_of("diagnostic-agent"), "diagnostic_agent");
        assert_eq!(schema_of("a\"; DROP"), "a___drop");
    }
}
