-- Times are microseconds since 1970-01-01T00:00:00Z. Bodies are JSON.

CREATE TABLE incident (
  id          TEXT PRIMARY KEY,
  key         TEXT NOT NULL,
  phase       TEXT NOT NULL,
  is_open     INTEGER NOT NULL,
  opened_at   INTEGER NOT NULL,
  changed_at  INTEGER NOT NULL,
  deadline    INTEGER,
  body        TEXT NOT NULL
) STRICT;
-- At most one open incident a key.
CREATE UNIQUE INDEX incident_open ON incident (key) WHERE is_open = 1;
CREATE INDEX incident_history ON incident (key, opened_at);
CREATE INDEX incident_deadline ON incident (deadline) WHERE deadline IS NOT NULL;

-- The incident an alert belongs to.
CREATE TABLE alert (
  source       TEXT NOT NULL,
  fingerprint  TEXT NOT NULL,
  incident_id  TEXT NOT NULL REFERENCES incident (id),
  PRIMARY KEY (source, fingerprint)
) STRICT, WITHOUT ROWID;

-- Accepted request bodies as they came.
CREATE TABLE delivery (
  id           INTEGER PRIMARY KEY,
  source       TEXT NOT NULL,
  received_at  INTEGER NOT NULL,
  body         TEXT NOT NULL
) STRICT;

-- The timeline, append-only; each row's hash covers the row before it.
CREATE TABLE audit (
  incident_id  TEXT NOT NULL REFERENCES incident (id),
  sequence     INTEGER NOT NULL,
  body         TEXT NOT NULL,
  hash         TEXT NOT NULL,
  PRIMARY KEY (incident_id, sequence)
) STRICT, WITHOUT ROWID;

-- Effects to perform, written with the change that asked for them.
CREATE TABLE outbox (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  incident_id  TEXT NOT NULL REFERENCES incident (id),
  kind         TEXT NOT NULL,
  round        INTEGER NOT NULL,
  attempt      INTEGER NOT NULL DEFAULT 0,
  tries        INTEGER NOT NULL DEFAULT 0,
  not_before   INTEGER NOT NULL,
  error        TEXT
) STRICT;
CREATE INDEX outbox_due ON outbox (not_before);
CREATE INDEX outbox_kind ON outbox (kind, id);

-- Effects that were given up, for people to see and replay.
CREATE TABLE dead_letter (
  id           INTEGER PRIMARY KEY,
  incident_id  TEXT NOT NULL REFERENCES incident (id),
  kind         TEXT NOT NULL,
  attempt      INTEGER NOT NULL,
  error        TEXT NOT NULL,
  died_at      INTEGER NOT NULL
) STRICT;

-- A2A tasks of the agent that owns this database.
CREATE TABLE task (
  id               TEXT PRIMARY KEY,
  idempotency_key  TEXT UNIQUE,
  is_unfinished    INTEGER NOT NULL,
  task             TEXT NOT NULL,
  message          TEXT NOT NULL
) STRICT;
CREATE INDEX task_unfinished ON task (id) WHERE is_unfinished = 1;

-- Intent before the effect, outcome after it.
CREATE TABLE attempt (
  id           TEXT PRIMARY KEY,
  task_id      TEXT NOT NULL,
  target       TEXT NOT NULL,
  started_at   INTEGER NOT NULL,
  finished_at  INTEGER,
  body         TEXT NOT NULL,
  outcome      TEXT
) STRICT;
CREATE INDEX attempt_task ON attempt (task_id, started_at);
CREATE INDEX attempt_target ON attempt (target, started_at);

-- One writer a target; the token only grows. A quarantined target takes no writer.
CREATE TABLE target_lock (
  target      TEXT PRIMARY KEY,
  holder      TEXT,
  token       INTEGER NOT NULL,
  quarantine  TEXT
) STRICT, WITHOUT ROWID;

-- A person's decisions; each is used once.
CREATE TABLE approval (
  plan_hash   TEXT PRIMARY KEY,
  decided_by  TEXT NOT NULL,
  approved    INTEGER NOT NULL,
  decided_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What deployment-system changed: begun before the effect, finished after it.
CREATE TABLE change (
  id                TEXT PRIMARY KEY,
  idempotency_key   TEXT NOT NULL UNIQUE,
  grant_id          TEXT UNIQUE,
  arguments_sha256  TEXT NOT NULL,
  target            TEXT NOT NULL,
  action            TEXT NOT NULL,
  started_at        INTEGER NOT NULL,
  finished_at       INTEGER,
  request           TEXT NOT NULL,
  outcome           TEXT
) STRICT;

-- The ticket of an incident.
CREATE TABLE ticket (
  incident_id  TEXT PRIMARY KEY,
  body         TEXT NOT NULL
) STRICT, WITHOUT ROWID;
