-- How a remote is reached: identity, proxy, trust, and how often it may be asked.

ALTER TABLE remote
  ADD COLUMN username text NOT NULL DEFAULT '',
  ADD COLUMN proxy_url text NOT NULL DEFAULT '',
  ADD COLUMN proxy_username text NOT NULL DEFAULT '',
  ADD COLUMN ca_certificates text NOT NULL DEFAULT '',
  ADD COLUMN client_certificate text NOT NULL DEFAULT '',
  ADD COLUMN verify_tls boolean NOT NULL DEFAULT true,
  -- requests a second
  ADD COLUMN rate_limit double precision NOT NULL DEFAULT 0,
  ADD COLUMN total_timeout_seconds integer NOT NULL DEFAULT 0,
  -- by field ("password", "headers.X-Name"), each encrypted for this row and this field alone
  ADD COLUMN secrets jsonb NOT NULL DEFAULT '{}',
  ADD CONSTRAINT remote_rate_check CHECK (rate_limit BETWEEN 0 AND 10000),
  ADD CONSTRAINT remote_total_timeout_check CHECK (total_timeout_seconds BETWEEN 0 AND 604800);
