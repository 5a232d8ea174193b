-- A task that waits does the same only if it would also do the same when units fail.

DROP FUNCTION absorb_task(text, int, boolean, uuid, text[], boolean[], text, text, bytea, bigint, bytea);
-- Answers a request with a task that waits and would do the same; no row if there is none. It is the last in its queues: if
-- somebody who changes what it uses came after it, it does not do the same any more. Its resources and its row stay locked
-- until the transaction ends, so it cannot have been claimed meanwhile. A request id that was used comes back with its digest.
CREATE FUNCTION absorb_task(
  p_type text, p_class int, p_dry_run boolean, p_cloned_from uuid, p_names text[], p_exclusive boolean[], p_principal text,
  p_request_id text, p_digest bytea, p_declaration bigint, p_parameters bytea, p_keeps_going boolean, p_only_failures boolean
) RETURNS TABLE (task_id uuid, earlier_digest bytea) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE v_numbers bigint[]; v_last bigint; v_task uuid;
BEGIN
  IF p_request_id <> '' THEN
    -- Before any lock, as submit_task does. Which task it is, is not known yet.
    INSERT INTO creation_request (principal, request_id, digest, task_id)
    VALUES (p_principal, p_request_id, p_digest, '00000000-0000-0000-0000-000000000000') ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      RETURN QUERY SELECT c.task_id, c.digest FROM creation_request c
                    WHERE c.principal = p_principal AND c.request_id = p_request_id;
      RETURN;
    END IF;
  END IF;
  LOOP
    SELECT coalesce(array_agg(r.resource_id ORDER BY u.place), '{}') INTO v_numbers
      FROM unnest(p_names) WITH ORDINALITY AS u(name, place) JOIN resource r USING (name);
    EXIT WHEN cardinality(v_numbers) = cardinality(p_names);
    -- As in submit_task, which needs them now or in a moment.
    INSERT INTO resource (name) SELECT u.name FROM unnest(p_names) AS u(name) ORDER BY u.name ON CONFLICT DO NOTHING;
  END LOOP;
  IF cardinality(v_numbers) > 0 THEN
    PERFORM CASE WHEN x THEN pg_advisory_xact_lock(r) ELSE pg_advisory_xact_lock_shared(r) END
       FROM (SELECT r, x FROM unnest(v_numbers, p_exclusive) AS u(r, x) ORDER BY r) AS s;
    -- The last who changes any of them: one of those who wait, or the one who holds it.
    SELECT coalesce(max(greatest(
             (SELECT e.seq FROM lock_entry e WHERE e.resource_id = r AND NOT e.granted AND e.exclusive ORDER BY e.seq DESC LIMIT 1),
             (SELECT h.seq FROM (SELECT e.seq, e.exclusive FROM lock_entry e WHERE e.resource_id = r AND e.granted
                                  ORDER BY e.seq LIMIT 1) AS h WHERE h.exclusive))), 0)
      INTO v_last FROM unnest(v_numbers) AS u(r);
    SELECT t.task_id INTO v_task
      FROM (SELECT e.task_id, e.seq FROM lock_entry e WHERE e.resource_id = v_numbers[1] AND e.seq >= v_last
             ORDER BY e.seq DESC LIMIT 100) AS c
      JOIN task t USING (task_id) JOIN task_detail d USING (task_id)
     WHERE t.state = 'waiting' AND NOT t.cancel_requested AND t.task_type = p_type AND t.priority = p_class
       AND t.is_dry_run = p_dry_run AND t.cloned_from IS NOT DISTINCT FROM p_cloned_from AND d.principal = p_principal
       AND d.declaration_id IS NOT DISTINCT FROM p_declaration AND d.commits IS NULL AND d.parameters = p_parameters
       AND d.keeps_going = p_keeps_going AND d.only_failures = p_only_failures
       AND (SELECT count(*) FROM lock_entry l WHERE l.task_id = t.task_id) = cardinality(v_numbers)
     ORDER BY c.seq LIMIT 1;
    -- Who claims it at this moment is waited for, and then it does not wait any more.
    SELECT t.task_id INTO v_task FROM task t WHERE t.task_id = v_task AND t.state = 'waiting' FOR NO KEY UPDATE;
  END IF;
  IF v_task IS NULL THEN
    DELETE FROM creation_request c WHERE p_request_id <> '' AND c.principal = p_principal AND c.request_id = p_request_id;
    RETURN;
  END IF;
  UPDATE creation_request c SET task_id = v_task
   WHERE p_request_id <> '' AND c.principal = p_principal AND c.request_id = p_request_id;
  UPDATE task_detail d SET absorbed = absorbed + 1 WHERE d.task_id = v_task;
  RETURN QUERY SELECT v_task, NULL::bytea;
END $$;
