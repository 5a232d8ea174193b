-- What a staging call staged, so that the downloads of an attempt look at each call once, however many there are.

ALTER TABLE stage_call ADD COLUMN content_ids bigint[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN stage_call.content_ids IS 'The units that the call staged to be added.';
