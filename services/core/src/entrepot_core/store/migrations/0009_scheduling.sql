-- Scheduling: priorities that tasks keep, and limits that the operator sets.
--
-- The ready tasks of a plugin stand in one queue for each set of limits that they are under, so a claim sees at once what is
-- before a full limit and what is not, however many wait. Which queue a task stands in is a hint, given when it becomes ready;
-- what it is under, and what runs, is looked at again under the lock of the claim. So a limit holds exactly, whatever has
-- changed meanwhile: limits, labels, or who locks what.

CREATE TABLE task_limit (
  task_limit_id int GENERATED ALWAYS AS IDENTITY,
  name text COLLATE "C" NOT NULL,
  task_type text NOT NULL DEFAULT '',
  label_key text NOT NULL DEFAULT '',
  label_value text,
  max_running int NOT NULL,
  description text NOT NULL DEFAULT '',
  revision int NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT task_limit_pkey PRIMARY KEY (task_limit_id),
  CONSTRAINT task_limit_name_uniq UNIQUE (name),
  CONSTRAINT task_limit_max_running_check CHECK (max_running >= 1),
  CONSTRAINT task_limit_purpose_check CHECK (task_type <> '' OR label_key <> ''),
  CONSTRAINT task_limit_label_check CHECK (label_value IS NULL OR label_key <> '')
);
COMMENT ON TABLE task_limit IS 'How many tasks of a type, or that lock a repository with a label, run at once.';
COMMENT ON COLUMN task_limit.task_type IS 'A type, "file/syncs", or a plugin, "file", which means all of its types; empty: any.';
COMMENT ON COLUMN task_limit.label_value IS 'Null: any value.';

ALTER TABLE task
  ADD COLUMN priority smallint NOT NULL DEFAULT 1,
  ADD COLUMN limits int[] NOT NULL DEFAULT '{}',
  ADD CONSTRAINT task_priority_check CHECK (priority BETWEEN 0 AND 2);
COMMENT ON COLUMN task.class IS '0 interactive, 1 normal, 2 background: the class it competes in. Age lowers it.';
COMMENT ON COLUMN task.priority IS 'The class that was asked for.';
COMMENT ON COLUMN task.limits IS 'Numbers of the limits it was under when it became ready, in order: the queue it stands in.';

DROP INDEX task_ready_idx, task_ready_lane_idx, task_ageing_idx;
CREATE INDEX task_ready_idx ON task (plugin_id, limits, class, tag, seq) WHERE state = 'waiting' AND waits_for = 0 AND NOT parked;
CREATE INDEX task_ready_lane_idx ON task (plugin_id, limits, class, lane, tag) WHERE state = 'waiting' AND waits_for = 0 AND NOT parked;

CREATE INDEX task_limited_idx ON task (task_id) WHERE state = 'waiting' AND waits_for = 0 AND NOT parked AND limits <> '{}';

-- The limits that a task of a type is under that locks these resources, in order.
CREATE FUNCTION limits_of(p_type text, p_resources bigint[]) RETURNS int[] LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  RETURN coalesce((
    SELECT array_agg(l.task_limit_id ORDER BY l.task_limit_id) FROM task_limit l
     WHERE l.task_type IN ('', p_type, split_part(p_type, '/', 1))
       AND (l.label_key = '' OR EXISTS (
         SELECT FROM resource r
           JOIN repository o ON o.plugin = split_part(r.name, '/', 2) AND o.name = split_part(r.name, '/', 3)
          WHERE r.resource_id = ANY (p_resources) AND split_part(r.name, '/', 1) = 'repositories'
            AND CASE WHEN l.label_value IS NULL THEN o.labels ? l.label_key
                     ELSE o.labels ->> l.label_key = l.label_value END))), '{}');
END $$;

CREATE FUNCTION limits_of(p_type text, p_task uuid) RETURNS int[] LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  RETURN limits_of(p_type, ARRAY(SELECT resource_id FROM task_resource WHERE task_id = p_task));
END $$;

-- How many tasks run under each limit.
CREATE FUNCTION limit_usage() RETURNS TABLE (task_limit_id int, running int) LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH under AS MATERIALIZED (
    -- Looked up one by one: there are few workspaces, and many tasks.
    SELECT unnest((SELECT limits_of(t.task_type, t.task_id) FROM task t WHERE t.task_id = w.task_id)) AS id FROM workspace w
     WHERE EXISTS (SELECT FROM task_limit)
  )
  SELECT l.task_limit_id, (SELECT count(*)::int FROM under WHERE under.id = l.task_limit_id) FROM task_limit l;
END $$;

-- Fair share inside a queue: a new ready task of a lane goes one step behind the head, or behind its own lane's last.
CREATE FUNCTION ready_tag(p_plugin int, p_limits int[], p_class int, p_lane bigint) RETURNS bigint LANGUAGE sql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
  SELECT 1 + greatest(
    (SELECT tag FROM task WHERE state = 'waiting' AND waits_for = 0 AND NOT parked AND plugin_id = p_plugin AND limits = p_limits
        AND class = p_class ORDER BY tag, seq LIMIT 1),
    (SELECT tag FROM task WHERE state = 'waiting' AND waits_for = 0 AND NOT parked AND plugin_id = p_plugin AND limits = p_limits
        AND class = p_class AND lane = p_lane ORDER BY tag DESC LIMIT 1),
    0)
$$;

-- As before, and it says in which queue a task that is ready stands, and keeps the priority.
CREATE OR REPLACE FUNCTION create_task(
  p_task uuid, p_plugin int, p_type text, p_class int, p_repeatable boolean, p_dry_run boolean, p_cloned_from uuid,
  p_resources bigint[], p_exclusive boolean[]
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_seq bigint; v_lane bigint; v_free boolean[]; v_waits int; v_limits int[] := '{}';
BEGIN
  PERFORM CASE WHEN x THEN pg_advisory_xact_lock(r) ELSE pg_advisory_xact_lock_shared(r) END
     FROM (SELECT r, x FROM unnest(p_resources, p_exclusive) AS u(r, x) ORDER BY r) AS s;
  v_seq := nextval('lock_seq');
  -- The lane is the first resource that the task changes, else the first it reads.
  v_lane := coalesce((SELECT r FROM unnest(p_resources, p_exclusive) AS u(r, x) ORDER BY x DESC, r LIMIT 1), 0);
  SELECT array_agg(free ORDER BY place), count(*) FILTER (WHERE NOT free) INTO v_free, v_waits FROM (
    SELECT place,
           (SELECT e.seq FROM lock_entry e WHERE e.resource_id = r AND NOT e.granted ORDER BY e.seq LIMIT 1) IS NULL
       AND coalesce((SELECT NOT (x OR e.exclusive) FROM lock_entry e WHERE e.resource_id = r AND e.granted
                      ORDER BY e.seq LIMIT 1), true) AS free
      FROM unnest(p_resources, p_exclusive) WITH ORDINALITY AS u(r, x, place)) AS asked;
  IF v_waits = 0 AND EXISTS (SELECT FROM task_limit) THEN
    v_limits := limits_of(p_type, p_resources);
  END IF;
  INSERT INTO task (task_id, plugin_id, task_type, priority, class, lane, waits_for, seq, limits, tag, ready_at, is_repeatable,
                    is_dry_run, cloned_from)
  VALUES (p_task, p_plugin, p_type, p_class, p_class, v_lane, v_waits, v_seq, v_limits,
          CASE WHEN v_waits = 0 THEN ready_tag(p_plugin, v_limits, p_class, v_lane) ELSE 0 END,
          CASE WHEN v_waits = 0 THEN clock_timestamp() END, p_repeatable, p_dry_run, p_cloned_from);
  INSERT INTO lock_entry (resource_id, seq, task_id, exclusive, granted)
  SELECT r, v_seq, p_task, x, free FROM unnest(p_resources, p_exclusive, v_free) AS u(r, x, free) ORDER BY r;
  INSERT INTO task_resource (task_id, resource_id, is_exclusive)
  SELECT p_task, r, x FROM unnest(p_resources, p_exclusive) AS u(r, x) ORDER BY r;
  INSERT INTO event_inbox (task_id, kind) VALUES (p_task, 'created');
END $$;

-- Counts granted locks off the tasks that got them; those that now have all become ready.
CREATE OR REPLACE FUNCTION count_granted(p_tasks uuid[]) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE t record; v_limits int[] := '{}'; v_limited boolean := EXISTS (SELECT FROM task_limit);
BEGIN
  FOR t IN SELECT id, count(*)::int AS n FROM unnest(p_tasks) AS id GROUP BY id ORDER BY id LOOP
    IF v_limited THEN
      v_limits := (SELECT limits_of(task_type, task_id) FROM task WHERE task_id = t.id);
    END IF;
    UPDATE task SET waits_for = waits_for - t.n,
           limits = CASE WHEN waits_for = t.n THEN v_limits ELSE limits END,
           tag = CASE WHEN waits_for = t.n THEN ready_tag(plugin_id, v_limits, class, lane) ELSE tag END,
           ready_at = CASE WHEN waits_for = t.n THEN clock_timestamp() END
     WHERE task_id = t.id;
  END LOOP;
END $$;

-- The end of an attempt that is to be repeated: the task is ready again, or parked, and keeps its locks. False: somebody
-- has asked for it to stop, so it must be finished instead. The caller has deleted the workspace in this transaction.
CREATE OR REPLACE FUNCTION repeat_task(p_task uuid, p_reason text, p_counted boolean, p_delay interval) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_attempt int; v_started timestamptz;
BEGIN
  -- It stands where it stood when it was claimed, at the end; the claim looks again at what it is under.
  UPDATE task SET state = 'waiting', parked = p_delay > interval '0', not_before = clock_timestamp() + p_delay,
         tag = ready_tag(plugin_id, limits, class, lane), ready_at = clock_timestamp()
   WHERE task_id = p_task AND state = 'running' AND NOT cancel_requested
  RETURNING attempt, started_at INTO v_attempt, v_started;
  IF NOT FOUND THEN RETURN false; END IF;
  INSERT INTO lost_attempt (task_id, number, reason, is_counted, started_at)
  VALUES (p_task, v_attempt, p_reason, p_counted, v_started);
  INSERT INTO event_inbox (task_id, kind) VALUES (p_task, 'lost');
  RETURN true;
END $$;

DROP FUNCTION ready_tag(int, int, bigint);

-- Makes tasks ready whose back-off is over; returns how many. One after the other: each tag follows from the one before.
CREATE FUNCTION unpark_tasks(p_most int) RETURNS int LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE t record; v_count int := 0;
BEGIN
  FOR t IN SELECT task_id FROM task WHERE parked AND not_before <= clock_timestamp()
            ORDER BY task_id LIMIT p_most FOR NO KEY UPDATE SKIP LOCKED LOOP
    UPDATE task SET parked = false, ready_at = clock_timestamp(), tag = ready_tag(plugin_id, limits, class, lane)
     WHERE task_id = t.task_id;
    v_count := v_count + 1;
  END LOOP;
  RETURN v_count;
END $$;

-- Moves tasks that have been ready for long one class up; returns how many. Of each lane of a queue one at a time, its first:
-- else a lane with thousands would keep the first of another waiting. It goes from lane to lane, not from task to task.
CREATE FUNCTION age_tasks(p_age interval, p_most int) RETURNS int LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_ids uuid[]; v_id uuid; v_count int := 0;
BEGIN
  WITH RECURSIVE lanes AS (
    (SELECT plugin_id, limits, class, lane FROM task WHERE state = 'waiting' AND waits_for = 0 AND NOT parked
      ORDER BY plugin_id, limits, class, lane LIMIT 1)
    UNION ALL
    SELECT n.* FROM lanes l, LATERAL (
      SELECT t.plugin_id, t.limits, t.class, t.lane FROM task t
       WHERE t.state = 'waiting' AND t.waits_for = 0 AND NOT t.parked
         AND (t.plugin_id, t.limits, t.class, t.lane) > (l.plugin_id, l.limits, l.class, l.lane)
       ORDER BY t.plugin_id, t.limits, t.class, t.lane LIMIT 1) AS n
  ), heads AS (
    SELECT h.* FROM lanes l, LATERAL (
      SELECT t.* FROM task t WHERE t.state = 'waiting' AND t.waits_for = 0 AND NOT t.parked AND t.plugin_id = l.plugin_id
         AND t.limits = l.limits AND t.class = l.class AND t.lane = l.lane ORDER BY t.tag LIMIT 1) AS h
     WHERE l.class > 0
  )
  SELECT array_agg(h.task_id ORDER BY h.ready_at) INTO v_ids FROM heads h
   WHERE h.ready_at < clock_timestamp() - p_age AND NOT EXISTS (
     SELECT FROM task t WHERE t.state = 'waiting' AND t.waits_for = 0 AND NOT t.parked AND t.plugin_id = h.plugin_id
        AND t.limits = h.limits AND t.class = h.class - 1 AND t.lane = h.lane AND t.priority >= h.class);
  FOREACH v_id IN ARRAY coalesce(v_ids[1:p_most], '{}') LOOP
    PERFORM FROM task WHERE task_id = v_id AND state = 'waiting' AND waits_for = 0 AND NOT parked AND class > 0
       FOR NO KEY UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    UPDATE task SET class = class - 1, ready_at = clock_timestamp(), first_ready_at = coalesce(first_ready_at, ready_at),
           tag = ready_tag(plugin_id, limits, class - 1, lane)
     WHERE task_id = v_id;
    v_count := v_count + 1;
  END LOOP;
  RETURN v_count;
END $$;

-- Puts ready tasks into the queues of the limits that they are under now, some at a time, after a change of limits. They keep
-- their tags, so nobody's share changes. Returns the last task looked at; null at the end.
CREATE FUNCTION sort_waiting(p_after uuid, p_most int) RETURNS uuid LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_ids uuid[];
BEGIN
  v_ids := ARRAY(SELECT task_id FROM task
                  WHERE state = 'waiting' AND task_id > coalesce(p_after, '00000000-0000-0000-0000-000000000000')
                  ORDER BY task_id LIMIT p_most);
  PERFORM sort_tasks(v_ids);
  RETURN CASE WHEN cardinality(v_ids) = p_most THEN v_ids[p_most] END;
END $$;

-- The same for those that lock a repository, after a change of its labels.
CREATE FUNCTION sort_waiting_of(p_resource text) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  IF EXISTS (SELECT FROM task_limit WHERE label_key <> '') THEN
    PERFORM sort_tasks(ARRAY(SELECT task_id FROM lock_entry JOIN resource USING (resource_id) WHERE name = p_resource AND granted));
  END IF;
END $$;

-- One by one, so that each is found by its key, whatever the planner thinks of the table.
CREATE FUNCTION sort_tasks(p_tasks uuid[]) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_id uuid; v_type text; v_old int[]; v_new int[];
BEGIN
  FOREACH v_id IN ARRAY ARRAY(SELECT id FROM unnest(p_tasks) AS id ORDER BY id) LOOP
    SELECT task_type, limits INTO v_type, v_old FROM task
     WHERE task_id = v_id AND state = 'waiting' AND waits_for = 0 AND NOT parked FOR NO KEY UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    v_new := limits_of(v_type, v_id);
    IF v_new <> v_old THEN
      UPDATE task SET limits = v_new WHERE task_id = v_id;
    END IF;
  END LOOP;
END $$;

-- Claims up to p_k ready tasks: plugins that serve and are below their limit, class first, then the smallest share, then the
-- longest in the queue. One claim at a time, so that the counts hold; locked rows are skipped, so it waits for nobody else.
--
-- Only the heads of queues are looked at: of those whose limits have room. Of the candidates of one limit as many are taken
-- as it has room for. Who was passed over, or stood in the wrong queue, may have hidden another: then it looks once more.
CREATE OR REPLACE FUNCTION claim_tasks(p_dispatcher int, p_k int, p_token_digests bytea[])
RETURNS TABLE (workspace_id bigint, task_id uuid, attempt int, token_digest bytea) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
  v_limited boolean; v_limits int[] := '{}'; v_rooms int[] := '{}'; v_full int[] := '{}'; v_taken int := 0; v_again boolean;
  v_workspaces bigint[]; v_tasks uuid[]; v_attempts int[]; v_digests bytea[];
BEGIN
  PERFORM pg_advisory_xact_lock(0, 1);
  v_limited := EXISTS (SELECT FROM task_limit);
  -- Where there are no limits, and nobody stands where one was, there is one queue for each plugin, and less to do.
  IF NOT v_limited AND (SELECT t.task_id FROM task t WHERE t.state = 'waiting' AND t.waits_for = 0 AND NOT t.parked
                           AND t.limits <> '{}' ORDER BY t.task_id LIMIT 1) IS NULL THEN
    RETURN QUERY
    WITH p AS MATERIALIZED (
      SELECT pl.plugin_id, pl.weight, pl.max_running, (SELECT count(*) FROM workspace w WHERE w.plugin_id = pl.plugin_id) AS n
        FROM plugin pl WHERE pl.health = 'serving' AND NOT pl.is_removed
    ), h AS (
      SELECT h.*, p.n + row_number() OVER (PARTITION BY p.plugin_id ORDER BY h.class, h.tag, h.seq) AS nth, p.weight, p.max_running
        FROM p, LATERAL (SELECT t.task_id, t.class, t.tag, t.seq FROM task t
                          WHERE t.state = 'waiting' AND t.waits_for = 0 AND NOT t.parked AND t.plugin_id = p.plugin_id
                            AND t.limits = '{}'
                          ORDER BY t.class, t.tag, t.seq LIMIT p_k FOR NO KEY UPDATE SKIP LOCKED) AS h
       WHERE p.n < p.max_running
    ), c AS (
      SELECT h.task_id FROM h WHERE nth <= max_running ORDER BY class, nth::float8 / weight, seq LIMIT p_k
    ), u AS (
      UPDATE task t SET state = 'running', attempt = t.attempt + 1, started_at = clock_timestamp()
        FROM c WHERE t.task_id = c.task_id RETURNING t.task_id, t.plugin_id, t.attempt, t.is_dry_run
    ), e AS (
      INSERT INTO event_inbox (task_id, kind) SELECT u.task_id, 'started' FROM u
    )
    INSERT INTO workspace (task_id, plugin_id, attempt, dispatcher_id, token_digest, is_dry_run)
    SELECT u.task_id, u.plugin_id, u.attempt, p_dispatcher, p_token_digests[row_number() OVER ()], u.is_dry_run FROM u
    RETURNING workspace.workspace_id, workspace.task_id, workspace.attempt, workspace.token_digest;
    RETURN;
  END IF;
  FOR v_round IN 1..20 LOOP
    IF v_limited THEN
      SELECT array_agg(l.task_limit_id), array_agg(l.max_running - u.running),
             coalesce(array_agg(l.task_limit_id) FILTER (WHERE u.running >= l.max_running), '{}')
        INTO v_limits, v_rooms, v_full FROM limit_usage() u JOIN task_limit l USING (task_limit_id);
    END IF;
    WITH RECURSIVE p AS MATERIALIZED (
      SELECT pl.plugin_id, pl.weight, pl.max_running, (SELECT count(*) FROM workspace w WHERE w.plugin_id = pl.plugin_id) AS n
        FROM plugin pl WHERE pl.health = 'serving' AND NOT pl.is_removed
    ), q AS (
      SELECT p.plugin_id, (SELECT t.limits FROM task t
                            WHERE t.state = 'waiting' AND t.waits_for = 0 AND NOT t.parked AND t.plugin_id = p.plugin_id
                            ORDER BY t.limits LIMIT 1) AS limits
        FROM p WHERE p.n < p.max_running
      UNION ALL
      SELECT q.plugin_id, (SELECT t.limits FROM task t
                            WHERE t.state = 'waiting' AND t.waits_for = 0 AND NOT t.parked AND t.plugin_id = q.plugin_id
                              AND t.limits > q.limits
                            ORDER BY t.limits LIMIT 1)
        FROM q WHERE q.limits IS NOT NULL
    ), o AS MATERIALIZED (
      SELECT q.plugin_id, q.limits,
             CASE WHEN v_limited THEN (
               SELECT count(*) FROM workspace w WHERE w.plugin_id = q.plugin_id
                  AND (SELECT t.limits FROM task t WHERE t.task_id = w.task_id) = q.limits) ELSE 0 END AS n
        FROM q WHERE q.limits IS NOT NULL AND NOT q.limits && v_full
    ), h AS MATERIALIZED (
      SELECT o.plugin_id, o.limits, o.n, t.*,
             CASE WHEN v_limited THEN limits_of(t.task_type, t.task_id) ELSE '{}' END AS under
        FROM o, LATERAL (SELECT t.task_id, t.task_type, t.class, t.tag, t.seq FROM task t
                          WHERE t.state = 'waiting' AND t.waits_for = 0 AND NOT t.parked AND t.plugin_id = o.plugin_id
                            AND t.limits = o.limits
                          ORDER BY t.class, t.tag, t.seq LIMIT p_k - v_taken FOR NO KEY UPDATE SKIP LOCKED) AS t
    ), moved AS (
      UPDATE task t SET limits = h.under FROM h WHERE t.task_id = h.task_id AND h.under && v_full RETURNING 1
    ), a AS (
      SELECT h.*, h.n + row_number() OVER (PARTITION BY h.plugin_id, h.limits ORDER BY h.class, h.tag, h.seq) AS in_queue
        FROM h WHERE NOT h.under && v_full
    ), b AS (
      SELECT a.*, p.weight, p.max_running,
             p.n + row_number() OVER (PARTITION BY a.plugin_id ORDER BY a.class, a.in_queue, a.tag, a.seq) AS nth
        FROM a JOIN p USING (plugin_id)
    ), d AS (
      SELECT b.*, row_number() OVER (ORDER BY b.class, b.nth::float8 / b.weight, b.seq) AS place FROM b WHERE b.nth <= b.max_running
    ), beyond AS (
      SELECT r.task_id FROM (
        SELECT d.task_id, id, row_number() OVER (PARTITION BY id ORDER BY d.place) AS nth FROM d, unnest(d.under) AS id) AS r
       WHERE r.nth > v_rooms[array_position(v_limits, r.id)]
    ), c AS (
      SELECT d.task_id, d.under FROM d WHERE d.task_id NOT IN (SELECT beyond.task_id FROM beyond)
       ORDER BY d.place LIMIT p_k - v_taken
    ), u AS (
      UPDATE task t SET state = 'running', attempt = t.attempt + 1, started_at = clock_timestamp(), limits = c.under
        FROM c WHERE t.task_id = c.task_id RETURNING t.task_id, t.plugin_id, t.attempt, t.is_dry_run
    ), e AS (
      INSERT INTO event_inbox (task_id, kind) SELECT u.task_id, 'started' FROM u
    ), i AS (
      INSERT INTO workspace (task_id, plugin_id, attempt, dispatcher_id, token_digest, is_dry_run)
      SELECT u.task_id, u.plugin_id, u.attempt, p_dispatcher, p_token_digests[v_taken + row_number() OVER ()], u.is_dry_run FROM u
      RETURNING workspace.workspace_id, workspace.task_id, workspace.attempt, workspace.token_digest
    )
    SELECT array_agg(i.workspace_id), array_agg(i.task_id), array_agg(i.attempt), array_agg(i.token_digest),
           EXISTS (SELECT FROM moved) OR EXISTS (SELECT FROM beyond)
      INTO v_workspaces, v_tasks, v_attempts, v_digests, v_again FROM i;
    RETURN QUERY SELECT * FROM unnest(v_workspaces, v_tasks, v_attempts, v_digests);
    v_taken := v_taken + coalesce(cardinality(v_tasks), 0);
    EXIT WHEN v_taken >= p_k OR NOT v_again;
  END LOOP;
END $$;
