-- Content, repositories and their versions, and what is served of them.
--
-- 2147483647 in removed_in means "still there": one range then says "in version v", and the two or three unique keys whose
-- last column it is allow one current row each and answer every old version. The constant is store/intervals.py's CURRENT.
-- Digests name blobs by value, without foreign keys: the collection of orphans keeps them honest, at a quarter of the price.

-- --- what there is to have ----------------------------------------------------------------------

CREATE TABLE content_type (
  type_id integer GENERATED ALWAYS AS IDENTITY,
  plugin text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  collection text COLLATE "C" NOT NULL,
  has_edges boolean NOT NULL DEFAULT false,
  CONSTRAINT content_type_pkey PRIMARY KEY (type_id),
  CONSTRAINT content_type_name_uniq UNIQUE (name),
  CONSTRAINT content_type_collection_uniq UNIQUE (plugin, collection)
);
COMMENT ON TABLE content_type IS 'A kind of content unit, numbered; what its units look like is in the plugin''s declaration.';

CREATE TABLE content (
  content_id bigint GENERATED ALWAYS AS IDENTITY,
  type_id integer NOT NULL,
  key_digest bytea NOT NULL,
  unit_digest bytea NOT NULL,
  repo_key text COLLATE "C",
  attributes bytea NOT NULL,
  filter jsonb,
  condemned boolean NOT NULL DEFAULT false,
  orphaned_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT content_pkey PRIMARY KEY (content_id),
  CONSTRAINT content_key_uniq UNIQUE (type_id, key_digest),
  CONSTRAINT content_repo_key_check CHECK (octet_length(repo_key) BETWEEN 1 AND 1024),
  CONSTRAINT content_condemned_check CHECK (NOT condemned OR orphaned_at IS NOT NULL)
) WITH (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX content_orphaned_idx ON content (orphaned_at) WHERE orphaned_at IS NOT NULL;
COMMENT ON TABLE content IS 'A content unit: its identity, its attributes as core serialised them, and the fields that lists are filtered by.';

CREATE TABLE artifact (
  content_id bigint NOT NULL,
  relative_path text COLLATE "C" NOT NULL,
  digest bytea,
  size_bytes bigint,
  other_digests jsonb,
  CONSTRAINT artifact_pkey PRIMARY KEY (content_id, relative_path),
  CONSTRAINT artifact_digest_check CHECK (octet_length(digest) = 32),
  CONSTRAINT artifact_size_check CHECK (size_bytes >= 0)
) WITH (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX artifact_digest_idx ON artifact (digest);
COMMENT ON TABLE artifact IS 'A file of a unit; its digest is the SHA-256 and names the blob, other_digests are assertions such as {"md5": "…"}.';

CREATE TABLE artifact_source (
  content_id bigint NOT NULL,
  relative_path text COLLATE "C" NOT NULL,
  remote_id bigint NOT NULL,
  position smallint NOT NULL,
  url text NOT NULL,
  CONSTRAINT artifact_source_pkey PRIMARY KEY (content_id, relative_path, remote_id, position)
) WITH (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX artifact_source_remote_idx ON artifact_source (remote_id);
COMMENT ON TABLE artifact_source IS 'Where a file can be fetched from, best first; counts while its remote exists.';

CREATE TABLE edge (
  source bigint NOT NULL,
  kind smallint NOT NULL,
  target bigint NOT NULL,
  CONSTRAINT edge_pkey PRIMARY KEY (source, kind, target),
  CONSTRAINT edge_kind_check CHECK (kind BETWEEN 1 AND 3)
) WITH (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX edge_target_idx ON edge (target, kind, source);
COMMENT ON TABLE edge IS 'A global relation between units: the source needs (1), attaches to (2) or has as context (3) the target.';

CREATE TABLE unresolved_edge (
  source bigint NOT NULL,
  kind smallint NOT NULL,
  type_id integer NOT NULL,
  key_digest bytea NOT NULL,
  CONSTRAINT unresolved_edge_pkey PRIMARY KEY (source, kind, type_id, key_digest),
  CONSTRAINT unresolved_edge_kind_check CHECK (kind BETWEEN 1 AND 3)
);
CREATE INDEX unresolved_edge_target_idx ON unresolved_edge (type_id, key_digest);
COMMENT ON TABLE unresolved_edge IS 'A global relation to a unit that core does not have yet, by its type and key.';

-- --- who has it ---------------------------------------------------------------------------------

CREATE TABLE repository (
  repository_id bigint GENERATED ALWAYS AS IDENTITY,
  plugin text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  description text NOT NULL DEFAULT '',
  labels jsonb NOT NULL DEFAULT '{}',
  retain_versions integer NOT NULL DEFAULT 0,
  spec bytea NOT NULL DEFAULT '',
  latest integer NOT NULL DEFAULT 0,
  next_number integer NOT NULL DEFAULT 1,
  revision integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT repository_pkey PRIMARY KEY (repository_id),
  CONSTRAINT repository_name_uniq UNIQUE (plugin, name),
  CONSTRAINT repository_latest_check CHECK (latest >= 0 AND latest < next_number),
  CONSTRAINT repository_retain_check CHECK (retain_versions >= 0)
) WITH (fillfactor = 80);
COMMENT ON TABLE repository IS 'A named, versioned set of content.';

CREATE TABLE repository_state (
  repository_id bigint NOT NULL,
  set_state bytea NOT NULL,
  hint bytea,
  hint_version integer,
  CONSTRAINT repository_state_pkey PRIMARY KEY (repository_id),
  CONSTRAINT repository_state_repository_fkey FOREIGN KEY (repository_id) REFERENCES repository ON DELETE CASCADE,
  CONSTRAINT repository_state_hint_check CHECK (octet_length(hint) <= 4096)
);
ALTER TABLE repository_state ALTER COLUMN set_state SET STORAGE EXTERNAL;
COMMENT ON TABLE repository_state IS 'Of the latest version: the lanes of its set digest, and what the plugin asked to be reminded of.';

CREATE TABLE version (
  repository_id bigint NOT NULL,
  number integer NOT NULL,
  unit_count bigint NOT NULL,
  added bigint NOT NULL,
  removed bigint NOT NULL,
  set_digest bytea NOT NULL,
  task_id uuid,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT version_pkey PRIMARY KEY (repository_id, number),
  CONSTRAINT version_repository_fkey FOREIGN KEY (repository_id) REFERENCES repository ON DELETE CASCADE,
  CONSTRAINT version_count_check CHECK (unit_count >= 0 AND added >= 0 AND removed >= 0)
);
COMMENT ON TABLE version IS 'One immutable set of content: its counts and its digest; its units are in member.';

CREATE TABLE deleted_version (
  repository_id bigint NOT NULL,
  number integer NOT NULL,
  task_id uuid,
  -- The versions around it that were left; what lies wholly between them is in no version.
  after integer NOT NULL,
  before integer NOT NULL,
  is_swept boolean NOT NULL DEFAULT false,
  deleted_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT deleted_version_pkey PRIMARY KEY (repository_id, number)
);
CREATE INDEX deleted_version_unswept_idx ON deleted_version (deleted_at) WHERE NOT is_swept;
COMMENT ON TABLE deleted_version IS 'What is left of a deleted version: its number, and where its rows may be collected.';

CREATE TABLE deleted_repository (
  repository_id bigint NOT NULL,
  deleted_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT deleted_repository_pkey PRIMARY KEY (repository_id)
);
COMMENT ON TABLE deleted_repository IS 'A deleted repository whose member rows have not been collected yet.';

CREATE TABLE member (
  repository_id bigint NOT NULL,
  content_id bigint NOT NULL,
  added_in integer NOT NULL,
  removed_in integer NOT NULL DEFAULT 2147483647,
  explicit boolean NOT NULL,
  type_id integer NOT NULL,
  repo_key text COLLATE "C",
  path text COLLATE "C",
  CONSTRAINT member_pkey PRIMARY KEY (repository_id, content_id, removed_in),
  CONSTRAINT member_key_uniq UNIQUE (repository_id, type_id, repo_key, removed_in),
  CONSTRAINT member_path_uniq UNIQUE (repository_id, path, removed_in),
  CONSTRAINT member_interval_check CHECK (added_in < removed_in)
) WITH (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX member_added_idx ON member (repository_id, added_in);
CREATE INDEX member_removed_idx ON member (repository_id, removed_in) WHERE removed_in < 2147483647;
CREATE INDEX member_content_idx ON member (content_id);
COMMENT ON TABLE member IS 'A unit is in the versions from added_in to before removed_in; repo_key is null where it equals path.';

CREATE TABLE member_path (
  repository_id bigint NOT NULL,
  content_id bigint NOT NULL,
  path text COLLATE "C" NOT NULL,
  added_in integer NOT NULL,
  removed_in integer NOT NULL DEFAULT 2147483647,
  CONSTRAINT member_path_pkey PRIMARY KEY (repository_id, path, removed_in),
  CONSTRAINT member_path_interval_check CHECK (added_in < removed_in)
) WITH (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX member_path_content_idx ON member_path (repository_id, content_id, removed_in);
CREATE INDEX member_path_added_idx ON member_path (repository_id, added_in);
CREATE INDEX member_path_removed_idx ON member_path (repository_id, removed_in) WHERE removed_in < 2147483647;
COMMENT ON TABLE member_path IS 'A further path of a member: every file of it but the first, which member has.';

CREATE TABLE scoped_edge (
  repository_id bigint NOT NULL,
  source bigint NOT NULL,
  kind smallint NOT NULL,
  target bigint NOT NULL,
  added_in integer NOT NULL,
  removed_in integer NOT NULL DEFAULT 2147483647,
  CONSTRAINT scoped_edge_pkey PRIMARY KEY (repository_id, source, kind, target, removed_in),
  CONSTRAINT scoped_edge_kind_check CHECK (kind BETWEEN 1 AND 3),
  CONSTRAINT scoped_edge_interval_check CHECK (added_in < removed_in)
) WITH (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX scoped_edge_target_idx ON scoped_edge (repository_id, target, kind, source, removed_in);
CREATE INDEX scoped_edge_added_idx ON scoped_edge (repository_id, added_in);
CREATE INDEX scoped_edge_removed_idx ON scoped_edge (repository_id, removed_in) WHERE removed_in < 2147483647;
CREATE INDEX scoped_edge_unit_idx ON scoped_edge (target);
COMMENT ON TABLE scoped_edge IS 'A relation between units that holds in some versions of one repository.';

-- --- where it comes from, and where it is served ------------------------------------------------

CREATE TABLE remote (
  remote_id bigint GENERATED ALWAYS AS IDENTITY,
  plugin text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  url text NOT NULL,
  policy text NOT NULL DEFAULT 'immediate',
  max_concurrency integer NOT NULL DEFAULT 10,
  max_retries integer NOT NULL DEFAULT 3,
  stall_timeout_seconds integer NOT NULL DEFAULT 60,
  description text NOT NULL DEFAULT '',
  labels jsonb NOT NULL DEFAULT '{}',
  spec bytea NOT NULL DEFAULT '',
  revision integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT remote_pkey PRIMARY KEY (remote_id),
  CONSTRAINT remote_name_uniq UNIQUE (plugin, name),
  CONSTRAINT remote_policy_check CHECK (policy IN ('immediate', 'on_demand', 'streamed')),
  CONSTRAINT remote_limit_check CHECK (
    max_concurrency BETWEEN 1 AND 100 AND max_retries BETWEEN 0 AND 20 AND stall_timeout_seconds BETWEEN 1 AND 3600
  )
);
COMMENT ON TABLE remote IS 'Where content comes from, and how to fetch it.';

CREATE TABLE publication (
  publication_id uuid NOT NULL,
  plugin text COLLATE "C" NOT NULL,
  repository_id bigint NOT NULL,
  number integer NOT NULL,
  file_count bigint NOT NULL,
  pass_through boolean NOT NULL,
  task_id uuid,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT publication_pkey PRIMARY KEY (publication_id),
  CONSTRAINT publication_version_fkey FOREIGN KEY (repository_id, number) REFERENCES version ON DELETE CASCADE
);
CREATE INDEX publication_version_idx ON publication (repository_id, number);
COMMENT ON TABLE publication IS 'The generated files of one version, and through it the files of the version itself.';

CREATE TABLE published_file (
  publication_id uuid NOT NULL,
  path text COLLATE "C" NOT NULL,
  digest bytea,
  content_id bigint,
  relative_path text COLLATE "C",
  media_type text NOT NULL DEFAULT '',
  CONSTRAINT published_file_pkey PRIMARY KEY (publication_id, path),
  CONSTRAINT published_file_publication_fkey FOREIGN KEY (publication_id) REFERENCES publication ON DELETE CASCADE,
  CONSTRAINT published_file_source_check CHECK (
    (digest IS NOT NULL AND content_id IS NULL AND relative_path IS NULL)
    OR (digest IS NULL AND content_id IS NOT NULL AND relative_path IS NOT NULL)
  )
);
CREATE INDEX published_file_digest_idx ON published_file (digest);
CREATE INDEX published_file_content_idx ON published_file (content_id);
COMMENT ON TABLE published_file IS 'A path of a publication and what is served there: a blob, or a file of a unit.';

CREATE TABLE distribution (
  distribution_id bigint GENERATED ALWAYS AS IDENTITY,
  plugin text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  base_path text COLLATE "C" NOT NULL,
  repository_id bigint,
  number integer,
  publication_id uuid,
  description text NOT NULL DEFAULT '',
  labels jsonb NOT NULL DEFAULT '{}',
  spec bytea NOT NULL DEFAULT '',
  revision integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT distribution_pkey PRIMARY KEY (distribution_id),
  CONSTRAINT distribution_name_uniq UNIQUE (plugin, name),
  CONSTRAINT distribution_base_path_uniq UNIQUE (base_path),
  CONSTRAINT distribution_target_check CHECK (publication_id IS NULL OR (repository_id IS NULL AND number IS NULL)),
  CONSTRAINT distribution_number_check CHECK (number IS NULL OR repository_id IS NOT NULL),
  CONSTRAINT distribution_repository_fkey FOREIGN KEY (repository_id) REFERENCES repository,
  CONSTRAINT distribution_version_fkey FOREIGN KEY (repository_id, number) REFERENCES version,
  CONSTRAINT distribution_publication_fkey FOREIGN KEY (publication_id) REFERENCES publication
);
CREATE INDEX distribution_repository_idx ON distribution (repository_id, number);
CREATE INDEX distribution_publication_idx ON distribution (publication_id);
COMMENT ON TABLE distribution IS 'What is served at a base path: the latest version of a repository, one version, a publication, or nothing yet.';

-- --- the work of attempts -----------------------------------------------------------------------
-- Unlogged, as the workspace is: a crash of the database takes all of it or nothing, and the attempt is repeated.

CREATE UNLOGGED TABLE lent_repository (
  workspace_id bigint NOT NULL,
  role text COLLATE "C" NOT NULL,
  repository_id bigint NOT NULL,
  base_version integer NOT NULL,
  is_writable boolean NOT NULL,
  CONSTRAINT lent_repository_pkey PRIMARY KEY (workspace_id, role)
);
CREATE INDEX lent_repository_version_idx ON lent_repository (repository_id, base_version);
COMMENT ON TABLE lent_repository IS 'A repository version that an attempt may read, and whether it may propose the next one.';

CREATE UNLOGGED TABLE lent_remote (
  workspace_id bigint NOT NULL,
  role text COLLATE "C" NOT NULL,
  remote_id bigint NOT NULL,
  CONSTRAINT lent_remote_pkey PRIMARY KEY (workspace_id, role)
);
COMMENT ON TABLE lent_remote IS 'A remote that an attempt may name as source.';

CREATE UNLOGGED TABLE lent_content (
  workspace_id bigint NOT NULL,
  content_id bigint NOT NULL,
  CONSTRAINT lent_content_pkey PRIMARY KEY (workspace_id, content_id)
);
CREATE INDEX lent_content_content_idx ON lent_content (content_id);
COMMENT ON TABLE lent_content IS 'A unit that the parameters of an attempt''s task name.';

CREATE UNLOGGED TABLE stage_call (
  workspace_id bigint NOT NULL,
  sequence bigint NOT NULL,
  request_digest bytea NOT NULL,
  answer text,
  CONSTRAINT stage_call_pkey PRIMARY KEY (workspace_id, sequence)
);
COMMENT ON TABLE stage_call IS 'A staging call that was done, and what was answered: asked again, it is answered so again.';

CREATE UNLOGGED TABLE staged (
  workspace_id bigint NOT NULL,
  repository_id bigint NOT NULL,
  content_id bigint NOT NULL,
  removed boolean NOT NULL,
  explicit boolean NOT NULL,
  -- False: the unit came by name, and what it is related to in the repository does not change.
  has_scope boolean NOT NULL,
  cascade boolean NOT NULL,
  CONSTRAINT staged_pkey PRIMARY KEY (workspace_id, repository_id, content_id)
) WITH (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX staged_content_idx ON staged (content_id);
COMMENT ON TABLE staged IS 'A unit that an attempt adds to a repository or removes from it; repository 0: it is only made.';

CREATE UNLOGGED TABLE staged_edge (
  workspace_id bigint NOT NULL,
  repository_id bigint NOT NULL,
  source bigint NOT NULL,
  kind smallint NOT NULL,
  type_id integer NOT NULL,
  key_digest bytea NOT NULL,
  CONSTRAINT staged_edge_pkey PRIMARY KEY (workspace_id, repository_id, source, kind, type_id, key_digest)
);
COMMENT ON TABLE staged_edge IS 'A relation that an attempt proposes for one repository, by the type and key of its target.';

CREATE UNLOGGED TABLE staged_publication (
  workspace_id bigint NOT NULL,
  role text COLLATE "C" NOT NULL,
  hide_version boolean NOT NULL,
  CONSTRAINT staged_publication_pkey PRIMARY KEY (workspace_id, role)
);
COMMENT ON TABLE staged_publication IS 'A publication that an attempt proposes, of the version it was lent in this role.';

CREATE UNLOGGED TABLE staged_file (
  workspace_id bigint NOT NULL,
  role text COLLATE "C" NOT NULL,
  path text COLLATE "C" NOT NULL,
  digest bytea,
  content_id bigint,
  relative_path text COLLATE "C",
  media_type text NOT NULL,
  CONSTRAINT staged_file_pkey PRIMARY KEY (workspace_id, role, path)
);
CREATE INDEX staged_file_digest_idx ON staged_file (digest);
CREATE INDEX staged_file_content_idx ON staged_file (content_id);
COMMENT ON TABLE staged_file IS 'A file of a publication that an attempt proposes.';
