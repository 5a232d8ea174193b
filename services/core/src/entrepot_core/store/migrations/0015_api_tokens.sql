-- Tokens of the API besides the administrator's. The name is the principal of tasks and uploads, so it stays for ever.

CREATE TABLE api_token (
  name text NOT NULL,
  digest bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz,
  CONSTRAINT api_token_pkey PRIMARY KEY (name),
  CONSTRAINT api_token_digest_uniq UNIQUE (digest),
  CONSTRAINT api_token_digest_check CHECK (length(digest) = 32)
);
COMMENT ON TABLE api_token IS 'Who may call the API, by the SHA-256 of what they send; the administrator''s is a setting.';
