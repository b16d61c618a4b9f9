-- A2A tasks. Agents that share the database have tasks of their own: `agent` is the name of the
-- one a task belongs to. Times are microseconds since 1970-01-01T00:00:00Z. Bodies are JSON as text:
-- it may hold an escaped NUL character, which jsonb refuses. Ids sort by bytes everywhere.

CREATE TABLE task (
  -- Grows: the order in which tasks were made.
  number           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  agent            TEXT NOT NULL,
  id               TEXT NOT NULL COLLATE "C",
  tenant           TEXT NOT NULL,
  principal        TEXT NOT NULL,
  idempotency_key  TEXT,
  context_id       TEXT NOT NULL,
  state            TEXT NOT NULL,
  is_unfinished    BOOLEAN NOT NULL,
  is_terminal      BOOLEAN NOT NULL,
  -- The time of the status.
  updated_at       BIGINT NOT NULL,
  -- The number of the last event.
  sequence         BIGINT NOT NULL,
  task             TEXT NOT NULL,
  message          TEXT NOT NULL,
  UNIQUE (agent, id)
);
CREATE UNIQUE INDEX task_key ON task (agent, tenant, principal, idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE INDEX task_list ON task (agent, tenant, principal, updated_at, id) INCLUDE (state);
CREATE INDEX task_context ON task USING hash (context_id);
CREATE INDEX task_unfinished ON task (agent, number) WHERE is_unfinished;
CREATE INDEX task_ended ON task (agent, updated_at) WHERE is_terminal;

CREATE TABLE task_event (
  task      BIGINT NOT NULL REFERENCES task (number) ON DELETE CASCADE,
  sequence  BIGINT NOT NULL,
  event     TEXT NOT NULL,
  PRIMARY KEY (task, sequence)
);

-- Where the events of a task are sent.
CREATE TABLE push_config (
  task    BIGINT NOT NULL REFERENCES task (number) ON DELETE CASCADE,
  id      TEXT NOT NULL COLLATE "C",
  config  TEXT NOT NULL,
  PRIMARY KEY (task, id)
);

-- Notifications that wait to be sent; those of one configuration by id. One process at a time has
-- one in hand: nobody else sends it before `claimed_until`.
CREATE TABLE push_delivery (
  id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  agent          TEXT NOT NULL,
  task           BIGINT NOT NULL,
  config         TEXT NOT NULL COLLATE "C",
  sequence       BIGINT NOT NULL,
  attempt        BIGINT NOT NULL DEFAULT 0,
  not_before     BIGINT NOT NULL DEFAULT 0,
  claimed_by     TEXT,
  claimed_until  TIMESTAMPTZ,
  FOREIGN KEY (task, config) REFERENCES push_config (task, id) ON DELETE CASCADE
);
CREATE INDEX push_delivery_config ON push_delivery (task, config, id);
CREATE INDEX push_delivery_agent ON push_delivery (agent, task, config, id);
