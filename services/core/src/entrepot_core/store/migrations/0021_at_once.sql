-- Small changes that nothing is in the way of are made in the transaction that makes their task, which is stored once, when it
-- is over: with no place in the queues of its resources, as whoever wants one of them waits for the transaction.

-- Locks what a task would lock, and plans its change as plan_small_change does. No row: it has to wait for another task, is
-- under a limit, needs what is not there, was asked for before, or no dispatcher is there (who stopped them all wants nothing
-- to happen). Nothing is written here but the numbers of resources.
CREATE FUNCTION plan_at_once(
  p_task_type text, p_names text[], p_exclusive boolean[], p_needed text[], p_principal text, p_request_id text,
  p_plugin text, p_name text, p_types text[], p_keys bytea[], p_remove boolean
) RETURNS TABLE (
  began_at timestamptz, resources bigint[],
  repository_id bigint, base int, number int, unit_count bigint, retain_versions int, is_served boolean, set_state bytea,
  added bigint[], removed bigint[], replaced int, fetch_files bigint, fetch_bytes bigint,
  types text[], key_digests bytea[], unit_digests bytea[], are_added boolean[]
) LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_numbers bigint[];
BEGIN
  LOOP
    SELECT coalesce(array_agg(r.resource_id ORDER BY u.place), '{}') INTO v_numbers
      FROM unnest(p_names) WITH ORDINALITY AS u(name, place) JOIN resource r USING (name);
    EXIT WHEN cardinality(v_numbers) = cardinality(p_names);
    -- Sorted, and before any lock is taken, so that two who make the same ones wait in one direction only.
    INSERT INTO resource (name) SELECT u.name FROM unnest(p_names) AS u(name) ORDER BY u.name ON CONFLICT DO NOTHING;
  END LOOP;
  PERFORM CASE WHEN x THEN pg_advisory_xact_lock(r) ELSE pg_advisory_xact_lock_shared(r) END
     FROM (SELECT r, x FROM unnest(v_numbers, p_exclusive) AS u(r, x) ORDER BY r) AS s;
  -- Statements of their own from here: their snapshots are younger than the locks.
  IF EXISTS (
    SELECT FROM unnest(v_numbers, p_exclusive) AS u(r, x)
     WHERE (SELECT e.seq FROM lock_entry e WHERE e.resource_id = r AND NOT e.granted ORDER BY e.seq LIMIT 1) IS NOT NULL
        OR (SELECT x OR e.exclusive FROM lock_entry e WHERE e.resource_id = r AND e.granted ORDER BY e.seq LIMIT 1))
  OR EXISTS (SELECT FROM task_limit) AND limits_of(p_task_type, v_numbers) <> '{}'
  OR NOT EXISTS (SELECT FROM dispatcher d WHERE d.beat_at > clock_timestamp() - interval '10 seconds')
  OR p_request_id <> '' AND EXISTS (
    SELECT FROM creation_request c WHERE c.principal = p_principal AND c.request_id = p_request_id)
  -- The repository itself is looked for by the plan.
  OR EXISTS (SELECT FROM unnest(p_needed) AS u(name)
              WHERE u.name <> 'repositories/' || p_plugin || '/' || p_name AND NOT is_there(u.name))
  THEN RETURN; END IF;
  RETURN QUERY SELECT clock_timestamp(), v_numbers, p.* FROM plan_small_change(NULL, p_plugin, p_name, p_types, p_keys, p_remove) AS p;
END $$;

-- Stores a task that is completed, in the transaction that planned and wrote its change; returns when it ended. It has not waited.
CREATE FUNCTION store_completed(
  p_task uuid, p_executor text, p_task_type text, p_class int, p_repeatable boolean, p_cloned_from uuid,
  p_resources bigint[], p_exclusive boolean[], p_began timestamptz, p_created_resource text, p_changed boolean,
  p_principal text, p_request_id text, p_digest bytea, p_declaration bigint, p_parameters_type text, p_parameters bytea,
  p_origin_request text, p_keeps_going boolean, p_only_failures boolean, p_differences bytea[], p_warnings bytea[]
) RETURNS timestamptz LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_ended timestamptz := clock_timestamp();
BEGIN
  IF p_request_id <> '' THEN
    INSERT INTO creation_request (principal, request_id, digest, task_id)
    VALUES (p_principal, p_request_id, p_digest, p_task) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      -- Whoever runs the transaction again finds the task of that one.
      RAISE serialization_failure USING MESSAGE = 'the same request has made another task meanwhile';
    END IF;
  END IF;
  INSERT INTO task (task_id, plugin_id, task_type, state, priority, class, lane, waits_for, seq, attempt, is_repeatable, is_dry_run,
                    cloned_from, created_at, ready_at, started_at, ended_at, created_resource, changed)
  VALUES (p_task, (SELECT p.plugin_id FROM plugin p WHERE p.name = p_executor), p_task_type, 'completed', p_class, p_class,
          coalesce((SELECT r FROM unnest(p_resources, p_exclusive) AS u(r, x) ORDER BY x DESC, r LIMIT 1), 0), 0,
          nextval('lock_seq'), 1, p_repeatable, false,
          p_cloned_from, p_began, p_began, p_began, v_ended, p_created_resource, p_changed);
  INSERT INTO task_detail (task_id, principal, request_id, declaration_id, parameters_type, parameters, origin_request, keeps_going,
                           only_failures, differences)
  VALUES (p_task, p_principal, p_request_id, p_declaration, p_parameters_type, p_parameters, p_origin_request, p_keeps_going,
          p_only_failures, p_differences);
  INSERT INTO task_resource (task_id, resource_id, is_exclusive)
  SELECT p_task, r, x FROM unnest(p_resources, p_exclusive) AS u(r, x) ORDER BY r;
  IF p_warnings <> '{}' THEN
    INSERT INTO progress (task_id, warnings) VALUES (p_task, p_warnings);
  END IF;
  INSERT INTO event_inbox (task_id, kind) VALUES (p_task, 'created'), (p_task, 'started'), (p_task, 'completed');
  RETURN v_ended;
END $$;

-- A version is as old as it is, and not as its transaction: of two of one repository the later is the younger.
ALTER TABLE version ALTER COLUMN created_at SET DEFAULT clock_timestamp();
