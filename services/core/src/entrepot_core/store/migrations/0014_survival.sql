-- Ending what a hung or dead dispatcher still holds.

ALTER TABLE dispatcher ADD COLUMN process text NOT NULL DEFAULT '';
COMMENT ON COLUMN dispatcher.process IS 'The word with which the names of all sessions of its process end.';
