-- Whether a plugin may have acted, and how long it may.

-- Noted, and on the disk, before Execute is called for what must not be repeated; nothing is noted for all other tasks.
ALTER TABLE task ADD COLUMN executed_attempt int;
COMMENT ON COLUMN task.executed_attempt IS 'The last attempt of a non-repeatable task that its plugin may have begun.';
-- Of those that run, nobody can tell any more.
UPDATE task SET executed_attempt = attempt WHERE state = 'running' AND NOT is_repeatable;

ALTER TABLE lost_attempt ADD COLUMN was_executed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN lost_attempt.was_executed IS 'The plugin may have begun what must not be repeated.';

ALTER TABLE plugin ADD COLUMN attempt_timeout_seconds float8;
ALTER TABLE plugin ADD CONSTRAINT plugin_attempt_timeout_check CHECK (attempt_timeout_seconds BETWEEN 1 AND 2592000);
COMMENT ON COLUMN plugin.attempt_timeout_seconds IS 'Longest time of an attempt that the operator allows; null: what its task type says.';
CREATE OR REPLACE TRIGGER plugin_changed_trigger AFTER INSERT OR UPDATE OF name, target, weight, max_running, health, message,
  is_removed, declaration_id, version, attempt_timeout_seconds ON plugin FOR EACH ROW EXECUTE FUNCTION plugin_changed();
