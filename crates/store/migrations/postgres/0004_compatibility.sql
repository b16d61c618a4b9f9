-- Replicas of two versions may use the tables at once: a migration adds what the older one does not
-- know. `oldest` is the newest migration that a program must know to be let in; a migration that an
-- older program cannot live with raises it.

CREATE TABLE compatibility (oldest BIGINT NOT NULL);
INSERT INTO compatibility (oldest) VALUES (4);
