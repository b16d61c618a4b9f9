-- Incidents, their effects, attempts, targets, changes and tickets of the agent whose schema this
-- is. Times are microseconds since 1970-01-01T00:00:00Z, leases apart. Bodies are JSON as text: it may
-- hold an escaped NUL character, which jsonb refuses. Ids sort by bytes everywhere.

CREATE TABLE incident (
  id          TEXT COLLATE "C" PRIMARY KEY,
  key         TEXT NOT NULL,
  phase       TEXT NOT NULL,
  is_open     BIGINT NOT NULL,
  opened_at   BIGINT NOT NULL,
  changed_at  BIGINT NOT NULL,
  deadline    BIGINT,
  body        TEXT NOT NULL,
  version     BIGINT NOT NULL,
  -- The end of its audit chain: how many rows it has, and the hash of the last.
  sequence    BIGINT NOT NULL,
  hash        TEXT NOT NULL
) WITH (fillfactor = 70);
-- At most one open incident a key.
CREATE UNIQUE INDEX incident_open ON incident (key) WHERE is_open = 1;
CREATE INDEX incident_history ON incident (key, opened_at, id);
CREATE INDEX incident_deadline ON incident (deadline) WHERE deadline IS NOT NULL;

-- The incident an alert belongs to.
CREATE TABLE alert (
  source       TEXT NOT NULL,
  fingerprint  TEXT NOT NULL,
  incident_id  TEXT COLLATE "C" NOT NULL REFERENCES incident (id),
  PRIMARY KEY (source, fingerprint)
);

-- Accepted request bodies as they came.
CREATE TABLE delivery (
  id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source       TEXT NOT NULL,
  received_at  BIGINT NOT NULL,
  body         TEXT NOT NULL
);

-- The timeline, append-only; each row's hash covers the row before it.
CREATE TABLE audit (
  incident_id  TEXT COLLATE "C" NOT NULL REFERENCES incident (id),
  sequence     BIGINT NOT NULL,
  body         TEXT NOT NULL,
  hash         TEXT NOT NULL,
  PRIMARY KEY (incident_id, sequence)
);

-- Effects to perform, written with the change that asked for them. A row is claimed while the
-- lease of its replica lasts.
CREATE TABLE outbox (
  id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  incident_id  TEXT COLLATE "C" NOT NULL REFERENCES incident (id),
  kind         TEXT NOT NULL,
  round        BIGINT NOT NULL,
  attempt      BIGINT NOT NULL DEFAULT 0,
  tries        BIGINT NOT NULL DEFAULT 0,
  not_before   BIGINT NOT NULL,
  error        TEXT,
  replica      TEXT
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX outbox_due ON outbox (not_before);
CREATE INDEX outbox_kind ON outbox (kind, not_before, id);
CREATE INDEX outbox_incident ON outbox (incident_id, kind, id);

-- Effects that were given up, for people to see and replay.
CREATE TABLE dead_letter (
  id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  incident_id  TEXT COLLATE "C" NOT NULL REFERENCES incident (id),
  kind         TEXT NOT NULL,
  round        BIGINT NOT NULL,
  attempt      BIGINT NOT NULL,
  error        TEXT NOT NULL,
  died_at      BIGINT NOT NULL
);

-- Intent before the effect, outcome after it.
CREATE TABLE attempt (
  id           TEXT COLLATE "C" PRIMARY KEY,
  task_id      TEXT NOT NULL,
  target       TEXT NOT NULL,
  started_at   BIGINT NOT NULL,
  finished_at  BIGINT,
  body         TEXT NOT NULL,
  outcome      TEXT
);
CREATE INDEX attempt_task ON attempt (task_id, started_at);
CREATE INDEX attempt_started ON attempt (started_at, id);

-- One writer a target; the token only grows. A quarantined target takes no writer.
CREATE TABLE target_lock (
  target      TEXT COLLATE "C" PRIMARY KEY,
  holder      TEXT,
  token       BIGINT NOT NULL,
  since       BIGINT,
  quarantine  TEXT
);

-- The greatest fencing token that a target has seen.
CREATE TABLE fence (
  target  TEXT PRIMARY KEY,
  token   BIGINT NOT NULL
);

-- A person's decisions; each is used once.
CREATE TABLE approval (
  plan_hash   TEXT PRIMARY KEY,
  decided_by  TEXT NOT NULL,
  approved    BIGINT NOT NULL,
  decided_at  BIGINT NOT NULL
);

-- What deployment-system changed: begun before the effect, finished after it, by one replica.
CREATE TABLE change (
  id                TEXT COLLATE "C" PRIMARY KEY,
  idempotency_key   TEXT NOT NULL UNIQUE,
  grant_id          TEXT UNIQUE,
  arguments_sha256  TEXT NOT NULL,
  target            TEXT NOT NULL,
  action            TEXT NOT NULL,
  started_at        BIGINT NOT NULL,
  finished_at       BIGINT,
  request           TEXT NOT NULL,
  outcome           TEXT,
  executor          TEXT,
  replica           TEXT,
  is_unfinished     BIGINT NOT NULL
);
-- At most one change without an end a target.
CREATE UNIQUE INDEX change_unfinished ON change (target) WHERE is_unfinished = 1;
CREATE INDEX change_target ON change (target, started_at, id);
CREATE INDEX change_started ON change (started_at, id);

-- The ticket of an incident.
CREATE TABLE ticket (
  incident_id  TEXT PRIMARY KEY,
  body         TEXT NOT NULL
);

-- Names that a replica has for as long as its lease lasts.
CREATE TABLE claim (
  name     TEXT PRIMARY KEY,
  replica  TEXT NOT NULL
);
