-- Tasks that wait for their caller, by the time since when.

CREATE INDEX task_waiting ON task (updated_at) WHERE is_unfinished = 0 AND is_terminal = 0;
