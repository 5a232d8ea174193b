-- Small changes that nothing is in the way of are made in the transaction that makes their task.

-- As plan_small_change, for a task that this transaction has made; no row as well if the task has to wait, if it is under
-- a limit, or if no dispatcher is there: who stopped them all wants nothing to happen.
CREATE FUNCTION plan_at_once(p_task uuid, p_plugin text, p_name text, p_types text[], p_keys bytea[], p_remove boolean)
RETURNS TABLE (
  repository_id bigint, base int, number int, unit_count bigint, retain_versions int, is_served boolean, set_state bytea,
  added bigint[], removed bigint[], replaced int, fetch_files bigint, fetch_bytes bigint,
  types text[], key_digests bytea[], unit_digests bytea[], are_added boolean[]
) LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  -- What is locked in common with others may have others waiting for it, who are to be told.
  IF NOT EXISTS (SELECT FROM task t WHERE t.task_id = p_task AND t.state = 'waiting' AND t.waits_for = 0 AND t.limits = '{}')
  OR NOT EXISTS (SELECT FROM dispatcher d WHERE d.beat_at > clock_timestamp() - interval '10 seconds')
  OR EXISTS (SELECT FROM lock_entry l WHERE l.task_id = p_task AND NOT l.exclusive)
  THEN RETURN; END IF;
  RETURN QUERY SELECT * FROM plan_small_change(NULL, p_plugin, p_name, p_types, p_keys, p_remove);
END $$;

-- Ends a task that was begun and ended in the transaction that made it. Nobody waits for its locks: who wants them waits for
-- the transaction.
CREATE FUNCTION finish_at_once(p_task uuid, p_created_resource text, p_changed boolean, p_differences bytea[])
RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  DELETE FROM lock_entry WHERE task_id = p_task;
  UPDATE task SET state = 'completed', attempt = 1, started_at = ready_at, ended_at = clock_timestamp(),
         created_resource = p_created_resource, changed = p_changed
   WHERE task_id = p_task;
  UPDATE task_detail SET differences = p_differences WHERE task_id = p_task;
  INSERT INTO event_inbox (task_id, kind) VALUES (p_task, 'started'), (p_task, 'completed');
END $$;
