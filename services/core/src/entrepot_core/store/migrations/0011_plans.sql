-- Plans: what a dry run found that its task would change, kept until somebody approves it or its time is up.
--
-- Logged, unlike the workspace that it came from: a plan is approved hours or days after the attempt that made it is over,
-- and a crash of the database in between must not lose what people have looked at. Rows name content without foreign keys,
-- as members do; the collection of orphans looks here, too. A plan goes with its rows in chunks, the row of `plan` last.

CREATE TABLE plan (
  task_id uuid NOT NULL,
  approved_by uuid,
  made_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  CONSTRAINT plan_pkey PRIMARY KEY (task_id)
);
CREATE INDEX plan_expires_idx ON plan (expires_at);
COMMENT ON TABLE plan IS 'The plan of a completed dry run, and the task that commits it, if it was approved.';

CREATE TABLE plan_repository (
  task_id uuid NOT NULL,
  repository_id bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  base_version integer NOT NULL,
  added bigint NOT NULL,
  removed bigint NOT NULL,
  replaced bigint NOT NULL,
  hint bytea,
  CONSTRAINT plan_repository_pkey PRIMARY KEY (task_id, repository_id)
);
COMMENT ON TABLE plan_repository IS 'A repository that the task would write, and the version it was planned on; hint is what the plugin keeps of it.';

CREATE TABLE plan_unit (
  task_id uuid NOT NULL,
  change smallint NOT NULL,
  repository_id bigint NOT NULL,
  place integer NOT NULL,
  content_id bigint NOT NULL,
  explicit boolean NOT NULL,
  CONSTRAINT plan_unit_pkey PRIMARY KEY (task_id, change, repository_id, place),
  CONSTRAINT plan_unit_change_check CHECK (change BETWEEN 1 AND 5)
);
CREATE INDEX plan_unit_content_idx ON plan_unit (content_id);
COMMENT ON TABLE plan_unit IS 'A unit that a plan is about.';
COMMENT ON COLUMN plan_unit.change IS
  '1 comes; 2 comes in the place of another, which has 4 and the same place; 3 leaves; 5 stays, and its reason changes.';
COMMENT ON COLUMN plan_unit.place IS 'Its place among those with this change in this repository, by path; from 1.';

CREATE TABLE plan_edge (
  task_id uuid NOT NULL,
  repository_id bigint NOT NULL,
  source bigint NOT NULL,
  kind smallint NOT NULL,
  target bigint NOT NULL,
  is_removed boolean NOT NULL,
  CONSTRAINT plan_edge_pkey PRIMARY KEY (task_id, repository_id, source, kind, target)
);
CREATE INDEX plan_edge_target_idx ON plan_edge (target);
COMMENT ON TABLE plan_edge IS 'A relation within one repository that a plan makes or ends.';

CREATE TABLE plan_publication (
  task_id uuid NOT NULL,
  role text COLLATE "C" NOT NULL,
  hide_version boolean NOT NULL,
  CONSTRAINT plan_publication_pkey PRIMARY KEY (task_id, role)
);
COMMENT ON TABLE plan_publication IS 'A publication that a plan makes.';

CREATE TABLE plan_file (
  task_id uuid NOT NULL,
  role text COLLATE "C" NOT NULL,
  path text COLLATE "C" NOT NULL,
  digest bytea,
  content_id bigint,
  relative_path text COLLATE "C",
  media_type text NOT NULL,
  CONSTRAINT plan_file_pkey PRIMARY KEY (task_id, role, path)
);
CREATE INDEX plan_file_digest_idx ON plan_file (digest);
CREATE INDEX plan_file_content_idx ON plan_file (content_id);
COMMENT ON TABLE plan_file IS 'A file of a publication that a plan makes.';

ALTER TABLE task_detail ADD COLUMN commits uuid;
COMMENT ON COLUMN task_detail.commits IS 'The dry run whose plan the task commits.';
CREATE INDEX task_detail_commits_idx ON task_detail (commits) WHERE commits IS NOT NULL;

CREATE TABLE plan_item (
  task_id uuid NOT NULL,
  change smallint NOT NULL,
  place bigint GENERATED ALWAYS AS IDENTITY,
  name text COLLATE "C" NOT NULL,
  path text COLLATE "C" NOT NULL,
  size_bytes bigint NOT NULL,
  is_fetched boolean NOT NULL,
  CONSTRAINT plan_item_pkey PRIMARY KEY (task_id, change, place),
  CONSTRAINT plan_item_change_check CHECK (change BETWEEN 1 AND 3)
);
COMMENT ON TABLE plan_item IS
  'What a dry run of a task of core is about, by name and in no repository: so a plan to collect it does not keep it.';
