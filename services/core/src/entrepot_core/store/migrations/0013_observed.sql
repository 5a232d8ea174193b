-- A task keeps which request it was made for, so that log lines and spans of its attempts lead back to it.

ALTER TABLE task_detail
  ADD COLUMN origin_request text NOT NULL DEFAULT '',
  ADD COLUMN traceparent text NOT NULL DEFAULT '';
COMMENT ON COLUMN task_detail.origin_request IS 'The X-Request-Id of the request that made the task.';
COMMENT ON COLUMN task_detail.traceparent IS 'The W3C trace context of that request; empty if it was not traced.';
