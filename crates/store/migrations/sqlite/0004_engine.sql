-- What several replicas and resumed work need: versions of incidents with the end of their audit
-- chain, fences, one unfinished change a target, and who owns it.

ALTER TABLE incident ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
-- The end of its audit chain: how many rows it has, and the hash of the last.
ALTER TABLE incident ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incident ADD COLUMN hash TEXT NOT NULL DEFAULT '';
UPDATE incident SET (sequence, hash) =
  (SELECT sequence, hash FROM audit WHERE incident_id = incident.id ORDER BY sequence DESC LIMIT 1)
  WHERE EXISTS (SELECT 1 FROM audit WHERE incident_id = incident.id);

-- What is due is found by kind and time, the oldest of an incident by its id.
DROP INDEX outbox_kind;
CREATE INDEX outbox_kind ON outbox (kind, not_before, id);
CREATE INDEX outbox_incident ON outbox (incident_id, kind, id);

-- Ids are never used twice, so that a replay by id means the row that was seen.
ALTER TABLE dead_letter RENAME TO dead_letter_1;
CREATE TABLE dead_letter (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  incident_id  TEXT NOT NULL REFERENCES incident (id),
  kind         TEXT NOT NULL,
  round        INTEGER NOT NULL,
  attempt      INTEGER NOT NULL,
  error        TEXT NOT NULL,
  died_at      INTEGER NOT NULL
) STRICT;
INSERT INTO dead_letter (id, incident_id, kind, round, attempt, error, died_at)
  SELECT id, incident_id, kind, 1, attempt, error, died_at FROM dead_letter_1;
DROP TABLE dead_letter_1;

DROP INDEX attempt_target;
CREATE INDEX attempt_started ON attempt (started_at, id);

-- When the present holder took the lock.
ALTER TABLE target_lock ADD COLUMN since INTEGER;

-- The greatest fencing token that a target has seen.
CREATE TABLE fence (
  target  TEXT PRIMARY KEY,
  token   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who carries a change out, and for which replica.
ALTER TABLE change ADD COLUMN executor TEXT;
ALTER TABLE change ADD COLUMN replica TEXT;
ALTER TABLE change ADD COLUMN is_unfinished INTEGER NOT NULL DEFAULT 0;
-- Of several that an earlier version left without an end, the newest is the target's.
UPDATE change SET is_unfinished = 1 WHERE id IN
  (SELECT id FROM (SELECT id, row_number() OVER
     (PARTITION BY target ORDER BY started_at DESC, id DESC) AS place
   FROM change WHERE finished_at IS NULL) WHERE place = 1);
-- At most one change without an end a target.
CREATE UNIQUE INDEX change_unfinished ON change (target) WHERE is_unfinished = 1;
CREATE INDEX change_target ON change (target, started_at, id);
CREATE INDEX change_started ON change (started_at, id);
