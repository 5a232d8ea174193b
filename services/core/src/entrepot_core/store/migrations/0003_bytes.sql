-- Bytes: which blobs there are, what attempts hold of them, what upstreams said, uploads, generated indexes.

CREATE TABLE blob (
  digest     bytea       NOT NULL,
  size_bytes bigint      NOT NULL,
  state      text        NOT NULL DEFAULT 'live',
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT blob_pkey PRIMARY KEY (digest),
  CONSTRAINT blob_digest_check CHECK (octet_length(digest) = 32),
  CONSTRAINT blob_size_check CHECK (size_bytes >= 0),
  -- condemned: unreferenced when the collector looked; whoever names it again makes it live
  CONSTRAINT blob_state_check CHECK (state IN ('live', 'condemned'))
) WITH (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
COMMENT ON TABLE blob IS 'A row says that a durable file with this SHA-256 and length is in the blob store.';
CREATE INDEX blob_condemned_idx ON blob (digest) WHERE state = 'condemned';

CREATE UNLOGGED TABLE attempt_blob (
  workspace_id bigint NOT NULL,
  digest       bytea  NOT NULL,
  CONSTRAINT attempt_blob_pkey PRIMARY KEY (workspace_id, digest)
);
COMMENT ON TABLE attempt_blob IS 'A blob that an attempt fetched, wrote or was told is there: it may read it, and no collector takes it.';
CREATE INDEX attempt_blob_digest_idx ON attempt_blob (digest);

CREATE TABLE fetch_cache (
  remote_id     bigint      NOT NULL,
  url           text        NOT NULL COLLATE "C",
  digest        bytea       NOT NULL,
  etag          text        NOT NULL DEFAULT '',
  last_modified text        NOT NULL DEFAULT '',
  final_url     text        NOT NULL,
  used_at       timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT fetch_cache_pkey PRIMARY KEY (remote_id, url),
  CONSTRAINT fetch_cache_remote_fkey FOREIGN KEY (remote_id) REFERENCES remote ON DELETE CASCADE,
  CONSTRAINT fetch_cache_url_check CHECK (octet_length(url) <= 2000),
  CONSTRAINT fetch_cache_validator_check CHECK (etag <> '' OR last_modified <> '')
);
COMMENT ON TABLE fetch_cache IS 'What an upstream last answered for a URL and how to ask whether that still holds; keeps its blob.';
CREATE INDEX fetch_cache_digest_idx ON fetch_cache (digest);
CREATE INDEX fetch_cache_used_idx ON fetch_cache (used_at);

CREATE TABLE upload (
  upload_id      uuid        NOT NULL,
  size_bytes     bigint      NOT NULL DEFAULT 0,
  sha256         bytea,
  filename       text        NOT NULL DEFAULT '',
  principal      text        NOT NULL DEFAULT '',
  received_bytes bigint      NOT NULL DEFAULT 0,
  digest         bytea,
  created_at     timestamptz NOT NULL DEFAULT now(),
  expires_at     timestamptz NOT NULL,
  CONSTRAINT upload_pkey PRIMARY KEY (upload_id),
  CONSTRAINT upload_size_check CHECK (size_bytes >= 0 AND received_bytes >= 0),
  CONSTRAINT upload_sha256_check CHECK (octet_length(sha256) = 32),
  CONSTRAINT upload_digest_check CHECK (octet_length(digest) = 32)
);
COMMENT ON TABLE upload IS 'Bytes from a user on their way in; digest is set when they are complete and verified.';
CREATE INDEX upload_expires_idx ON upload (expires_at);
CREATE INDEX upload_digest_idx ON upload (digest) WHERE digest IS NOT NULL;

CREATE TABLE upload_part (
  upload_id  uuid   NOT NULL,
  first_byte bigint NOT NULL,
  size_bytes bigint NOT NULL,
  digest     bytea  NOT NULL,
  CONSTRAINT upload_part_pkey PRIMARY KEY (upload_id, first_byte),
  CONSTRAINT upload_part_upload_fkey FOREIGN KEY (upload_id) REFERENCES upload ON DELETE CASCADE
);
COMMENT ON TABLE upload_part IS 'A stretch of an upload that has come, itself a blob; gone when the upload is complete.';
CREATE INDEX upload_part_digest_idx ON upload_part (digest);

CREATE TABLE version_index (
  repository_id bigint      NOT NULL,
  number        int         NOT NULL,
  path          text        NOT NULL COLLATE "C",
  digest        bytea       NOT NULL,
  size_bytes    bigint      NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT version_index_pkey PRIMARY KEY (repository_id, number, path),
  CONSTRAINT version_index_version_fkey FOREIGN KEY (repository_id, number) REFERENCES version ON DELETE CASCADE
);
COMMENT ON TABLE version_index IS 'An index file that was generated for a version when somebody first asked for it.';
CREATE INDEX version_index_digest_idx ON version_index (digest);
