-- Tasks with an owner, a place in the list, an event log and push notifications. Tasks of the
-- first version have no owner, no events and no notifications.

DROP INDEX task_unfinished;
ALTER TABLE task RENAME TO task_1;

CREATE TABLE task (
  -- Grows: the order in which tasks were made.
  number           INTEGER PRIMARY KEY,
  id               TEXT NOT NULL UNIQUE,
  tenant           TEXT NOT NULL,
  principal        TEXT NOT NULL,
  idempotency_key  TEXT,
  context_id       TEXT NOT NULL,
  state            TEXT NOT NULL,
  is_unfinished    INTEGER NOT NULL,
  is_terminal      INTEGER NOT NULL,
  -- The time of the status.
  updated_at       INTEGER NOT NULL,
  -- The number of the last event.
  sequence         INTEGER NOT NULL,
  task             TEXT NOT NULL,
  message          TEXT NOT NULL
) STRICT;

INSERT INTO task
  (id, tenant, principal, idempotency_key, context_id, state, is_unfinished, is_terminal,
   updated_at, sequence, task, message)
SELECT
  id, '', '', idempotency_key,
  coalesce(task ->> '$.contextId', ''),
  task ->> '$.status.state',
  is_unfinished,
  (task ->> '$.status.state') IN ('TASK_STATE_COMPLETED', 'TASK_STATE_FAILED',
                                  'TASK_STATE_CANCELED', 'TASK_STATE_REJECTED'),
  coalesce(CAST(unixepoch(task ->> '$.status.timestamp', 'subsec') * 1000000 AS INTEGER), 0),
  0, task, message
FROM task_1 ORDER BY id;

DROP TABLE task_1;

CREATE UNIQUE INDEX task_key ON task (tenant, principal, idempotency_key)
  WHERE idempotency_key IS NOT NULL;
-- The state stands last so that counting and filtering read nothing but the index.
CREATE INDEX task_list ON task (tenant, principal, updated_at, id, state);
CREATE INDEX task_context ON task (context_id);
CREATE INDEX task_unfinished ON task (number) WHERE is_unfinished = 1;
CREATE INDEX task_ended ON task (updated_at) WHERE is_terminal = 1;

CREATE TABLE task_event (
  task      INTEGER NOT NULL REFERENCES task (number) ON DELETE CASCADE,
  sequence  INTEGER NOT NULL,
  event     TEXT NOT NULL,
  PRIMARY KEY (task, sequence)
) STRICT, WITHOUT ROWID;

-- Where the events of a task are sent.
CREATE TABLE push_config (
  task    INTEGER NOT NULL REFERENCES task (number) ON DELETE CASCADE,
  id      TEXT NOT NULL,
  config  TEXT NOT NULL,
  PRIMARY KEY (task, id)
) STRICT, WITHOUT ROWID;

-- Notifications that wait to be sent; those of one configuration by id.
CREATE TABLE push_delivery (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  task        INTEGER NOT NULL,
  config      TEXT NOT NULL,
  sequence    INTEGER NOT NULL,
  attempt     INTEGER NOT NULL DEFAULT 0,
  not_before  INTEGER NOT NULL DEFAULT 0,
  FOREIGN KEY (task, config) REFERENCES push_config (task, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX push_delivery_config ON push_delivery (task, config, id);
