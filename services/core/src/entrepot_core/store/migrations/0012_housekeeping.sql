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
     AND (d.request_id = '' OR NOT EXISTS (SELECT FROM creation_request r
                                            WHERE r.principal = d.principal AND r.request_id = d.request_id AND r.task_id = d.task_id))
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
