-- Alerts as rows that know their own state, how often each was reported, and requests that were
-- refused. A program that does not know these tables cannot write an alert.

ALTER TABLE alert RENAME TO alert_link;
ALTER INDEX alert_pkey RENAME TO alert_link_pkey;

CREATE TABLE alert (
  id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source       TEXT COLLATE "C" NOT NULL,
  fingerprint  TEXT COLLATE "C" NOT NULL,
  -- The incident it was last put into, or why it is held back.
  incident_id  TEXT COLLATE "C" REFERENCES incident (id),
  held         TEXT,
  status       TEXT NOT NULL,
  severity     TEXT NOT NULL,
  starts_at    BIGINT NOT NULL,
  -- Reports that came with news; the others are in `alert_repeat`.
  reports      BIGINT NOT NULL,
  first_at     BIGINT NOT NULL,
  -- When the last news came.
  changed_at   BIGINT NOT NULL,
  version      BIGINT NOT NULL,
  body         TEXT NOT NULL,
  UNIQUE (source, fingerprint)
);
CREATE INDEX alert_incident ON alert (incident_id, source, fingerprint);
CREATE INDEX alert_firing ON alert (source, fingerprint) WHERE status = 'firing';
CREATE INDEX alert_held ON alert (source, fingerprint)
  WHERE status = 'firing' AND held IS NOT NULL;
CREATE INDEX alert_resolved ON alert (changed_at) WHERE status = 'resolved';

-- Reports that said what was known. Small rows of their own, as most reports are such, and no index
-- that would have to follow them.
CREATE TABLE alert_repeat (
  alert    BIGINT PRIMARY KEY REFERENCES alert (id) ON DELETE CASCADE,
  reports  BIGINT NOT NULL,
  last_at  BIGINT NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- What incidents tell of their alerts. What one tells in a form that cannot be read is left out.
DO $$
DECLARE one record;
BEGIN
  FOR one IN SELECT id, opened_at, changed_at, body FROM incident
    WHERE EXISTS (SELECT 1 FROM alert_link WHERE incident_id = incident.id)
  LOOP
    BEGIN
      INSERT INTO alert
        (source, fingerprint, incident_id, status, severity, starts_at, reports, first_at,
         changed_at, version, body)
      SELECT
        alert_link.source, alert_link.fingerprint, one.id, told ->> 'status', told ->> 'severity',
        (extract(epoch FROM (told ->> 'starts_at')::timestamptz) * 1000000)::bigint,
        1, one.opened_at, one.changed_at, 1, told::text
      FROM (SELECT json_array_elements(one.body::json -> 'alerts') -> 'alert' AS told) AS alerts
        JOIN alert_link ON alert_link.source = told ->> 'source'
          AND alert_link.fingerprint = told ->> 'fingerprint' AND alert_link.incident_id = one.id
      ON CONFLICT DO NOTHING;
    EXCEPTION WHEN others THEN NULL;
    END;
  END LOOP;
END $$;
-- Of the others nothing is known but where they went: the next report is news.
INSERT INTO alert
  (source, fingerprint, incident_id, status, severity, starts_at, reports, first_at, changed_at,
   version, body)
SELECT
  alert_link.source, alert_link.fingerprint, alert_link.incident_id, 'resolved', 'info', 0, 1,
  incident.opened_at, incident.changed_at, 1, ''
FROM alert_link JOIN incident ON incident.id = alert_link.incident_id
ON CONFLICT DO NOTHING;

DROP TABLE alert_link;

-- Requests that were refused for who sent them, by the minute.
CREATE TABLE refusal (
  minute   BIGINT NOT NULL,
  source   TEXT COLLATE "C" NOT NULL,
  reason   TEXT COLLATE "C" NOT NULL,
  address  TEXT NOT NULL,
  count    BIGINT NOT NULL,
  PRIMARY KEY (minute, source, reason)
);

UPDATE compatibility SET oldest = 5;
