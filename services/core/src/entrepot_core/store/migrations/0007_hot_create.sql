-- A task is created by one call: request id, resources, queues, and whether what it names is still there.

-- Whether the resource of a full name exists: "repositories/file/foo", also with "/versions/3"; a remote, a publication or a
-- distribution likewise.
CREATE FUNCTION is_there(p_name text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE v_part text[] := string_to_array(p_name, '/');
BEGIN
  CASE v_part[1]
    WHEN 'repositories' THEN
      IF cardinality(v_part) = 3 THEN
        RETURN EXISTS (SELECT FROM repository r WHERE r.plugin = v_part[2] AND r.name = v_part[3]);
      END IF;
      RETURN EXISTS (SELECT FROM repository r JOIN version v USING (repository_id)
                      WHERE r.plugin = v_part[2] AND r.name = v_part[3] AND v.number = v_part[5]::int);
    WHEN 'remotes' THEN
      RETURN EXISTS (SELECT FROM remote r WHERE r.plugin = v_part[2] AND r.name = v_part[3]);
    WHEN 'publications' THEN
      RETURN EXISTS (SELECT FROM publication p WHERE p.publication_id = v_part[3]::uuid AND p.plugin = v_part[2]);
    WHEN 'distributions' THEN
      RETURN EXISTS (SELECT FROM distribution d WHERE d.plugin = v_part[2] AND d.name = v_part[3]);
  END CASE;
END $$;

-- Creates a task as create_task does, of a plugin and resources by name; once for each request id of a principal. The task
-- that such a request made before comes back with the digest of that request, and nothing is created.
-- p_needed names what must be there now that it is locked; what is not is the message of an error EN002.
CREATE FUNCTION submit_task(
  p_task uuid, p_executor text, p_type text, p_class int, p_repeatable boolean, p_dry_run boolean, p_cloned_from uuid,
  p_names text[], p_exclusive boolean[], p_needed text[], p_principal text, p_request_id text, p_digest bytea
) RETURNS TABLE (task_id uuid, earlier_digest bytea) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE v_numbers bigint[]; v_missing text;
BEGIN
  IF p_request_id <> '' THEN
    INSERT INTO creation_request (principal, request_id, digest, task_id)
    VALUES (p_principal, p_request_id, p_digest, p_task) ON CONFLICT DO NOTHING;
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
    -- Sorted, and before any lock is taken, so that two who make the same ones wait in one direction only.
    INSERT INTO resource (name) SELECT u.name FROM unnest(p_names) AS u(name) ORDER BY u.name ON CONFLICT DO NOTHING;
  END LOOP;
  PERFORM create_task(p_task, (SELECT p.plugin_id FROM plugin p WHERE p.name = p_executor), p_type, p_class, p_repeatable,
                      p_dry_run, p_cloned_from, v_numbers, p_exclusive);
  -- A statement of its own: its snapshot is younger than the locks.
  SELECT u.name INTO v_missing FROM unnest(p_needed) AS u(name) WHERE NOT is_there(u.name) LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'EN002', MESSAGE = v_missing;
  END IF;
  RETURN QUERY SELECT p_task, NULL::bytea;
END $$;
