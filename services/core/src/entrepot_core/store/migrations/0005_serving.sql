-- What was served before a switch, and when versions that are gone were made.

ALTER TABLE distribution ADD COLUMN grace_seconds integer NOT NULL DEFAULT 600;
ALTER TABLE distribution ADD CONSTRAINT distribution_grace_check
  CHECK (grace_seconds BETWEEN 0 AND 604800);

CREATE TABLE former_target (
  distribution_id bigint NOT NULL,
  repository_id bigint,
  number integer,
  publication_id uuid,
  ended_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT former_target_check CHECK (
    (publication_id IS NULL) = (repository_id IS NOT NULL AND number IS NOT NULL)
  ),
  CONSTRAINT former_target_distribution_fkey
    FOREIGN KEY (distribution_id) REFERENCES distribution ON DELETE CASCADE,
  CONSTRAINT former_target_version_fkey
    FOREIGN KEY (repository_id, number) REFERENCES version ON DELETE CASCADE,
  CONSTRAINT former_target_publication_fkey
    FOREIGN KEY (publication_id) REFERENCES publication ON DELETE CASCADE
);
CREATE INDEX former_target_distribution_idx ON former_target (distribution_id, ended_at);
CREATE INDEX former_target_version_idx ON former_target (repository_id, number);
CREATE INDEX former_target_publication_idx ON former_target (publication_id);
COMMENT ON TABLE former_target IS
  'What a distribution pointed at before it was pointed elsewhere, and until when.';

-- Not known of versions that were deleted before.
ALTER TABLE deleted_version ADD COLUMN created_at timestamptz;
