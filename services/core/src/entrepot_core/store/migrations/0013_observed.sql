-- A task keeps which request it was made for, so that log lines and spans of its attempts lead back to it.

ALTER TABLE task_detail
  ADD COLUMN origin_request text NOT NULL DEFAULT '',
  ADD COLUMN traceparent text NOT NULL DEFAULT '';
COMMENT ON COLUMN task_detail.origin_request IS 'The X-Request-Id of the request that made the task.';
COMMENT ON COLUMN task_detail.traceparent IS 'The W3C trace context of that request; empty if it was not traced.';

-- Only this database's clock decides anything; how far others are off is shown, as their logs are off by as much.
ALTER TABLE dispatcher ADD COLUMN clock_ahead_seconds double precision NOT NULL DEFAULT 0;
COMMENT ON COLUMN dispatcher.clock_ahead_seconds IS 'By how much its clock was ahead of the database''s at the last beat.';
