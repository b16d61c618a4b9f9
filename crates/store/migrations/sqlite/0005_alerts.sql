-- Alerts as rows that know their own state, how often each was reported, and requests that were
-- refused.

ALTER TABLE alert RENAME TO alert_link;

CREATE TABLE alert (
  id           INTEGER PRIMARY KEY,
  source       TEXT NOT NULL,
  fingerprint  TEXT NOT NULL,
  -- The incident it was last put into, or why it is held back.
  incident_id  TEXT REFERENCES incident (id),
  held         TEXT,
  status       TEXT NOT NULL,
  severity     TEXT NOT NULL,
  starts_at    INTEGER NOT NULL,
  -- Reports that came with news; the others are in `alert_repeat`.
  reports      INTEGER NOT NULL,
  first_at     INTEGER NOT NULL,
  -- When the last news came.
  changed_at   INTEGER NOT NULL,
  version      INTEGER NOT NULL,
  body         TEXT NOT NULL,
  UNIQUE (source, fingerprint)
) STRICT;
CREATE INDEX alert_incident ON alert (incident_id, source, fingerprint);
CREATE INDEX alert_firing ON alert (source, fingerprint) WHERE status = 'firing';
CREATE INDEX alert_held ON alert (source, fingerprint)
  WHERE status = 'firing' AND held IS NOT NULL;
CREATE INDEX alert_resolved ON alert (changed_at) WHERE status = 'resolved';

-- Reports that said what was known. Small rows of their own, as most reports are such: many of them
-- share a page.
CREATE TABLE alert_repeat (
  alert    INTEGER PRIMARY KEY REFERENCES alert (id) ON DELETE CASCADE,
  reports  INTEGER NOT NULL,
  last_at  INTEGER NOT NULL
) STRICT;

-- What incidents tell of their alerts.
INSERT OR IGNORE INTO alert
  (source, fingerprint, incident_id, status, severity, starts_at, reports, first_at, changed_at,
   version, body)
SELECT
  alert_link.source, alert_link.fingerprint, alert_link.incident_id,
  one.value ->> '$.alert.status', one.value ->> '$.alert.severity',
  CAST(unixepoch(one.value ->> '$.alert.starts_at', 'subsec') * 1000000 AS INTEGER),
  1, incident.opened_at, incident.changed_at, 1, one.value -> '$.alert'
FROM incident
  JOIN json_each(CASE WHEN json_valid(incident.body) THEN incident.body ELSE '{}' END, '$.alerts')
    AS one
  JOIN alert_link ON alert_link.source = one.value ->> '$.alert.source'
    AND alert_link.fingerprint = one.value ->> '$.alert.fingerprint'
    AND alert_link.incident_id = incident.id;
-- Of the others nothing is known but where they went: the next report is news.
INSERT OR IGNORE INTO alert
  (source, fingerprint, incident_id, status, severity, starts_at, reports, first_at, changed_at,
   version, body)
SELECT
  alert_link.source, alert_link.fingerprint, alert_link.incident_id, 'resolved', 'info', 0, 1,
  incident.opened_at, incident.changed_at, 1, ''
FROM alert_link JOIN incident ON incident.id = alert_link.incident_id;

DROP TABLE alert_link;

-- Requests that were refused for who sent them, by the minute.
CREATE TABLE refusal (
  minute   INTEGER NOT NULL,
  source   TEXT NOT NULL,
  reason   TEXT NOT NULL,
  address  TEXT NOT NULL,
  count    INTEGER NOT NULL,
  PRIMARY KEY (minute, source, reason)
) STRICT, WITHOUT ROWID;
