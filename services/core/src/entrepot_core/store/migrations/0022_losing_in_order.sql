-- A lost attempt takes its locks in the order of all others: those of the resources before that of the task.

-- As before, and it notes when the task first was ready. What it refuses it has not locked: whoever is told false goes on to
-- end the task, which begins with the resources, and somebody who cancels it once more has those and wants the task.
CREATE OR REPLACE FUNCTION repeat_task(p_task uuid, p_reason text, p_counted boolean, p_delay interval) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_attempt int; v_started timestamptz;
BEGIN
  -- It stands where it stood when it was claimed, at the end; the claim looks again at what it is under.
  UPDATE task SET state = 'waiting', parked = p_delay > interval '0', not_before = clock_timestamp() + p_delay,
         tag = ready_tag(plugin_id, limits, class, lane), ready_at = clock_timestamp(),
         first_ready_at = coalesce(first_ready_at, ready_at)
   WHERE task_id = p_task AND state = 'running' AND NOT cancel_requested
  RETURNING attempt, started_at INTO v_attempt, v_started;
  IF NOT FOUND THEN
    -- An update that had to wait keeps the row, even when it then passes it over. Leaving the block gives it back.
    RAISE SQLSTATE 'EN001';
  END IF;
  INSERT INTO lost_attempt (task_id, number, reason, is_counted, started_at)
  VALUES (p_task, v_attempt, p_reason, p_counted, v_started);
  INSERT INTO event_inbox (task_id, kind) VALUES (p_task, 'lost');
  RETURN true;
EXCEPTION WHEN SQLSTATE 'EN001' THEN RETURN false;
END $$;
