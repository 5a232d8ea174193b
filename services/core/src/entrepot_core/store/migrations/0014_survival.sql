-- Ending what a hung or dead dispatcher still holds.

ALTER TABLE dispatcher ADD COLUMN process text NOT NULL DEFAULT '';
COMMENT ON COLUMN dispatcher.process IS 'The word with which the names of all sessions of its process end.';

-- The sequence of an unlogged table starts again after a crash of the database. An attempt that has outlived the crash
-- would then take the workspace of another task for its own.
ALTER SEQUENCE workspace_workspace_id_seq SET LOGGED;
