-- Forgetting tasks that are over, and remembering who made what is still there.

-- Which build a plugin had since when: so what ran a task is known, without a word of the task itself.
CREATE TABLE plugin_build (
  plugin_id int NOT NULL REFERENCES plugin (plugin_id),
  since timestamptz NOT NULL,
  version text NOT NULL,
  declaration_id bigint REFERENCES declaration (declaration_id),
  CONSTRAINT plugin_build_pkey PRIMARY KEY (plugin_id, since)
);
COMMENT ON TABLE plugin_build IS 'Which version and which declaration of a plugin there was from when on.';
INSERT INTO plugin_build SELECT plugin_id, created_at, version, declaration_id FROM plugin WHERE version <> '';

CREATE FUNCTION plugin_built() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' OR OLD.version <> NEW.version OR OLD.declaration_id IS DISTINCT FROM NEW.declaration_id THEN
    INSERT INTO plugin_build VALUES (NEW.plugin_id, clock_timestamp(), NEW.version, NEW.declaration_id) ON CONFLICT DO NOTHING;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER plugin_built_trigger AFTER INSERT OR UPDATE OF version, declaration_id ON plugin
  FOR EACH ROW EXECUTE FUNCTION plugin_built();

-- Written when a task is forgotten, not when it ends: what is over and kept says it all by itself.
CREATE TABLE origin (
  task_id uuid NOT NULL,
  task_type text NOT NULL,
  principal text NOT NULL,
  plugin_version text NOT NULL,
  declaration_id bigint REFERENCES declaration (declaration_id),
  parameters_type text NOT NULL,
  parameters bytea NOT NULL,
  cloned_from uuid,
  created_at timestamptz NOT NULL,
  started_at timestamptz,
  ended_at timestamptz,
  CONSTRAINT origin_pkey PRIMARY KEY (task_id)
);
COMMENT ON TABLE origin IS 'What is left of a forgotten task that made versions: who asked for what, and which build did it.';

CREATE INDEX creation_request_task_idx ON creation_request (task_id);
CREATE INDEX version_task_idx ON version (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX deleted_version_task_idx ON deleted_version (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX task_over_idx ON task (state, ended_at, task_id) WHERE ended_at IS NOT NULL;
DROP INDEX task_ended_idx;

-- The origin of tasks, whether they are kept or not.
CREATE FUNCTION origins(p_tasks uuid[]) RETURNS SETOF origin LANGUAGE sql STABLE AS $$
  SELECT t.task_id, t.task_type, d.principal, coalesce(b.version, ''), coalesce(b.declaration_id, d.declaration_id),
         d.parameters_type, d.parameters, t.cloned_from, t.created_at, t.started_at, t.ended_at
    FROM task t JOIN task_detail d USING (task_id)
    LEFT JOIN plugin p ON p.name = split_part(t.task_type, '/', 1)
    LEFT JOIN LATERAL (SELECT version, declaration_id FROM plugin_build
                        WHERE plugin_id = p.plugin_id AND since <= t.started_at ORDER BY since DESC LIMIT 1) AS b ON true
   WHERE t.task_id = ANY(p_tasks)
  UNION ALL
  SELECT o.* FROM origin o WHERE o.task_id = ANY(p_tasks)
$$;

-- Forgets tasks that ended in a state before a time, in the order of their ends, from a place on: looks at p_most of them,
-- and returns how many are gone, and where to go on; null when there are no more. Whoever asks again with a request id
-- within its time finds its task, and a plan that can be approved stays.
CREATE FUNCTION forget_tasks(
  p_state text, p_before timestamptz, p_after_end timestamptz, p_after_task uuid, p_most int,
  OUT forgotten int, OUT last_end timestamptz, OUT last_task uuid
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_all uuid[]; v_gone uuid[];
BEGIN
  SELECT array_agg(task_id ORDER BY ended_at, task_id) INTO v_all FROM (
    SELECT task_id, ended_at FROM task
     WHERE state = p_state AND ended_at IS NOT NULL AND ended_at < p_before AND (ended_at, task_id) > (p_after_end, p_after_task)
     ORDER BY ended_at, task_id LIMIT p_most) AS batch;
  SELECT array_agg(d.task_id) INTO v_gone FROM task_detail d
   WHERE d.task_id = ANY(v_all)
     AND NOT EXISTS (SELECT FROM creation_request r WHERE r.task_id = d.task_id)
     AND NOT EXISTS (SELECT FROM plan p WHERE p.task_id = d.task_id AND p.expires_at > clock_timestamp());
  INSERT INTO origin SELECT o.* FROM origins(v_gone) AS o
   WHERE EXISTS (SELECT FROM version v WHERE v.task_id = o.task_id)
      OR EXISTS (SELECT FROM deleted_version v WHERE v.task_id = o.task_id);
  SELECT t.ended_at, t.task_id INTO last_end, last_task FROM task t
   WHERE cardinality(v_all) = p_most AND t.task_id = v_all[p_most];
  DELETE FROM task WHERE task_id = ANY(v_gone);
  GET DIAGNOSTICS forgotten = ROW_COUNT;
END $$;

-- Forgets the origins after a task that nothing refers to any more; as above.
CREATE FUNCTION forget_origins(p_after uuid, p_most int, OUT forgotten int, OUT last_task uuid) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_all uuid[];
BEGIN
  SELECT array_agg(task_id ORDER BY task_id) INTO v_all FROM (
    SELECT task_id FROM origin WHERE task_id > p_after ORDER BY task_id LIMIT p_most) AS batch;
  DELETE FROM origin o WHERE o.task_id = ANY(v_all)
     AND NOT EXISTS (SELECT FROM version v WHERE v.task_id = o.task_id)
     AND NOT EXISTS (SELECT FROM deleted_version v WHERE v.task_id = o.task_id);
  GET DIAGNOSTICS forgotten = ROW_COUNT;
  last_task := CASE WHEN cardinality(v_all) = p_most THEN v_all[p_most] END;
END $$;

-- --- absorbing ----------------------------------------------------------------------------------

ALTER TABLE task_detail ADD COLUMN absorbed int NOT NULL DEFAULT 0;

-- Answers a request with a task that waits and would do the same; no row if there is none. It is the last in its queues: if
-- somebody who changes what it uses came after it, it does not do the same any more. Its resources and its row stay locked
-- until the transaction ends, so it cannot have been claimed meanwhile. A request id that was used comes back with its digest.
CREATE FUNCTION absorb_task(
  p_type text, p_class int, p_dry_run boolean, p_cloned_from uuid, p_names text[], p_exclusive boolean[], p_principal text,
  p_request_id text, p_digest bytea, p_declaration bigint, p_parameters bytea
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
