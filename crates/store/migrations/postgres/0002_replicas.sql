-- Replicas: the processes that share the database, as each says of itself in `body`. What one of
-- them has is free again when its lease has run out, by the clock of the database. A task that
-- nobody works on, or that waits for its caller, has no replica.

CREATE TABLE replica (
  id          TEXT PRIMARY KEY,
  body        TEXT NOT NULL,
  expires_at  TIMESTAMPTZ NOT NULL
);

ALTER TABLE task ADD COLUMN replica TEXT;
-- Its caller wants it canceled, and said so to another replica.
ALTER TABLE task ADD COLUMN cancel_asked BOOLEAN NOT NULL DEFAULT FALSE;

CREATE INDEX task_cancel_asked ON task (agent) WHERE cancel_asked AND is_unfinished;
CREATE INDEX task_waiting ON task (agent, updated_at) WHERE NOT is_unfinished AND NOT is_terminal;
