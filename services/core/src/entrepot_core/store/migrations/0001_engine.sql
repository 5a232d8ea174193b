-- The task engine: plugins, tasks, lock queues, attempts and events.
--
-- Every transaction takes its locks in this order, and nothing backwards:
--   workspace row -> resources by number (advisory) -> task rows by id -> inbox rows (no lock).
-- Whatever lock a transaction holds at COMMIT, it holds through the flush. So there is no NOTIFY, no counter row and no
-- event number in here: the numberer does that afterwards.
-- Advisory locks: the one-integer form belongs to resources; (0, n) to single runners; (1, n) to dispatchers.

-- ---------------------------------------------------------------------------------------------------------------
-- Plugins

CREATE TABLE declaration (
  declaration_id bigint GENERATED ALWAYS AS IDENTITY,
  plugin text NOT NULL,
  digest bytea NOT NULL,
  body bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT declaration_pkey PRIMARY KEY (declaration_id),
  CONSTRAINT declaration_digest_uniq UNIQUE (plugin, digest)
);
COMMENT ON TABLE declaration IS 'What a plugin once said of itself; kept for ever, so that what it wrote stays readable.';

CREATE TABLE plugin (
  plugin_id int GENERATED ALWAYS AS IDENTITY,
  name text NOT NULL,
  target text NOT NULL,
  weight int NOT NULL DEFAULT 1,
  max_running int NOT NULL DEFAULT 1,
  health text NOT NULL DEFAULT 'down',
  message text NOT NULL DEFAULT '',
  is_removed boolean NOT NULL DEFAULT false,
  declaration_id bigint REFERENCES declaration (declaration_id),
  version text NOT NULL DEFAULT '',
  instance_id text NOT NULL DEFAULT '',
  seen_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT plugin_pkey PRIMARY KEY (plugin_id),
  CONSTRAINT plugin_name_uniq UNIQUE (name),
  CONSTRAINT plugin_weight_check CHECK (weight BETWEEN 1 AND 1000),
  CONSTRAINT plugin_max_running_check CHECK (max_running >= 1),
  CONSTRAINT plugin_health_check CHECK (health IN ('serving', 'down', 'incompatible'))
);
COMMENT ON TABLE plugin IS 'Who may run tasks: an address, its share, and how it is; removed ones stay for their tasks.';

-- A row and not a sequence: a sequence shows its new number before the change it stands for is committed.
CREATE TABLE plugin_revision (revision bigint NOT NULL);
COMMENT ON TABLE plugin_revision IS 'One row that grows with every change to plugins, so that processes see it by one cheap read.';
INSERT INTO plugin_revision VALUES (1);

CREATE FUNCTION plugin_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE plugin_revision SET revision = revision + 1;
  RETURN NULL;
END $$;
CREATE TRIGGER plugin_changed_trigger AFTER INSERT OR UPDATE OF name, target, weight, max_running, health, message, is_removed,
  declaration_id, version ON plugin FOR EACH ROW EXECUTE FUNCTION plugin_changed();

-- Core itself runs its ready-made tasks, so a plugin that is down does not block them.
INSERT INTO plugin (name, target, max_running, health) VALUES ('core', '', 8, 'serving');

-- ---------------------------------------------------------------------------------------------------------------
-- Tasks

CREATE TABLE resource (
  resource_id bigint GENERATED ALWAYS AS IDENTITY,
  name text NOT NULL,
  CONSTRAINT resource_pkey PRIMARY KEY (resource_id),
  CONSTRAINT resource_name_uniq UNIQUE (name)
);
COMMENT ON TABLE resource IS 'A number for everything that can be locked, made when a task first names it.';

CREATE TABLE dispatcher (
  dispatcher_id int GENERATED ALWAYS AS IDENTITY,
  name text NOT NULL,
  slots int NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  beat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  backend_pid int NOT NULL DEFAULT pg_backend_pid(),
  CONSTRAINT dispatcher_pkey PRIMARY KEY (dispatcher_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE dispatcher IS 'A process that runs attempts; it holds the advisory lock (1, dispatcher_id) while it lives.';

CREATE SEQUENCE lock_seq CACHE 1;
COMMENT ON SEQUENCE lock_seq IS 'The place in all queues of a task, drawn while its resources are locked.';

CREATE TABLE task (
  task_id uuid NOT NULL,
  plugin_id int NOT NULL REFERENCES plugin (plugin_id),
  task_type text NOT NULL,
  state text NOT NULL DEFAULT 'waiting',
  waits_for int NOT NULL,
  parked boolean NOT NULL DEFAULT false,
  class smallint NOT NULL DEFAULT 1,
  lane bigint NOT NULL,
  tag bigint NOT NULL DEFAULT 0,
  seq bigint NOT NULL,
  attempt int NOT NULL DEFAULT 0,
  cancel_requested boolean NOT NULL DEFAULT false,
  is_repeatable boolean NOT NULL,
  is_dry_run boolean NOT NULL,
  changed boolean,
  created_resource text NOT NULL DEFAULT '',
  cloned_from uuid,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ready_at timestamptz,
  not_before timestamptz,
  started_at timestamptz,
  ended_at timestamptz,
  CONSTRAINT task_pkey PRIMARY KEY (task_id),
  CONSTRAINT task_state_check CHECK (state IN ('waiting', 'running', 'completed', 'failed', 'canceled')),
  CONSTRAINT task_waits_for_check CHECK (waits_for >= 0),
  CONSTRAINT task_running_check CHECK (state <> 'running' OR (waits_for = 0 AND NOT parked AND attempt > 0)),
  CONSTRAINT task_parked_check CHECK (NOT parked OR (state = 'waiting' AND not_before IS NOT NULL)),
  CONSTRAINT task_ended_check CHECK ((ended_at IS NOT NULL) = (state IN ('completed', 'failed', 'canceled'))),
  CONSTRAINT task_changed_check CHECK (changed IS NULL OR state = 'completed'),
  CONSTRAINT task_created_check CHECK (created_resource = '' OR state = 'completed'),
  CONSTRAINT task_class_check CHECK (class BETWEEN 0 AND 2)
);
COMMENT ON TABLE task IS 'A unit of work and where it stands; kept narrow, because every change of state copies the row.';
COMMENT ON COLUMN task.plugin_id IS 'Who runs it: core, where the type is ready-made work; task_type says whose type it is.';
COMMENT ON COLUMN task.class IS '0 interactive, 1 normal, 2 background.';
CREATE INDEX task_ready_idx ON task (plugin_id, class, tag, seq) WHERE state = 'waiting' AND waits_for = 0 AND NOT parked;
CREATE INDEX task_ready_lane_idx ON task (plugin_id, class, lane, tag) WHERE state = 'waiting' AND waits_for = 0 AND NOT parked;
CREATE INDEX task_ageing_idx ON task (ready_at) WHERE state = 'waiting' AND waits_for = 0 AND NOT parked AND class > 0;
CREATE INDEX task_parked_idx ON task (not_before) WHERE parked;
CREATE INDEX task_state_idx ON task (state, task_id);
CREATE INDEX task_type_idx ON task (task_type, task_id);
CREATE INDEX task_type_plugin_idx ON task (split_part(task_type, '/', 1), task_id);
CREATE INDEX task_cloned_idx ON task (cloned_from, task_id) WHERE cloned_from IS NOT NULL;
CREATE INDEX task_created_idx ON task (created_resource, task_id) WHERE created_resource <> '';
CREATE INDEX task_ended_idx ON task (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE task_detail (
  task_id uuid NOT NULL REFERENCES task (task_id) ON DELETE CASCADE,
  principal text NOT NULL,
  request_id text NOT NULL DEFAULT '',
  declaration_id bigint REFERENCES declaration (declaration_id),
  parameters_type text NOT NULL,
  parameters bytea NOT NULL,
  result_type text NOT NULL DEFAULT '',
  result bytea NOT NULL DEFAULT '',
  error bytea,
  differences bytea[] NOT NULL DEFAULT '{}',
  CONSTRAINT task_detail_pkey PRIMARY KEY (task_id)
);
COMMENT ON TABLE task_detail IS 'What a task was asked and what came of it, as serialised messages.';

CREATE TABLE creation_request (
  principal text NOT NULL,
  request_id text NOT NULL,
  digest bytea NOT NULL,
  task_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT creation_request_pkey PRIMARY KEY (principal, request_id)
);
COMMENT ON TABLE creation_request IS 'Which request made which task, so that asking again makes no second one; kept 7 days.';
CREATE INDEX creation_request_created_idx ON creation_request (created_at);

CREATE TABLE task_resource (
  task_id uuid NOT NULL REFERENCES task (task_id) ON DELETE CASCADE,
  resource_id bigint NOT NULL REFERENCES resource (resource_id),
  is_exclusive boolean NOT NULL,
  CONSTRAINT task_resource_pkey PRIMARY KEY (task_id, resource_id)
);
COMMENT ON TABLE task_resource IS 'What a task locks, or locked when it was not over yet.';
CREATE INDEX task_resource_resource_idx ON task_resource (resource_id, task_id);

CREATE TABLE lock_entry (
  resource_id bigint NOT NULL REFERENCES resource (resource_id),
  seq bigint NOT NULL,
  task_id uuid NOT NULL REFERENCES task (task_id),
  exclusive boolean NOT NULL,
  granted boolean NOT NULL,
  CONSTRAINT lock_entry_pkey PRIMARY KEY (resource_id, seq)
);
COMMENT ON TABLE lock_entry IS 'The queue of each resource: those who hold it and those who wait, first come first served.';
CREATE INDEX lock_entry_task_idx ON lock_entry (task_id);
CREATE INDEX lock_entry_held_idx ON lock_entry (resource_id, seq) WHERE granted;
CREATE INDEX lock_entry_waiting_idx ON lock_entry (resource_id, seq) WHERE NOT granted;
CREATE INDEX lock_entry_waiting_exclusive_idx ON lock_entry (resource_id, seq) WHERE NOT granted AND exclusive;

-- Workspace and what is staged below it are UNLOGGED, all or none: after a crash of the database they are gone together,
-- and the sweep makes their tasks ready again.
CREATE UNLOGGED TABLE workspace (
  workspace_id bigint GENERATED ALWAYS AS IDENTITY,
  task_id uuid NOT NULL REFERENCES task (task_id),
  plugin_id int NOT NULL,
  attempt int NOT NULL,
  dispatcher_id int NOT NULL,
  token_digest bytea NOT NULL,
  is_dry_run boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT workspace_pkey PRIMARY KEY (workspace_id),
  CONSTRAINT workspace_task_uniq UNIQUE (task_id),
  CONSTRAINT workspace_token_uniq UNIQUE (token_digest)
);
COMMENT ON TABLE workspace IS 'The uncommitted work of one attempt. Deleting the row ends the attempt, whoever still runs it.';
CREATE INDEX workspace_plugin_idx ON workspace (plugin_id);
CREATE INDEX workspace_dispatcher_idx ON workspace (dispatcher_id);

CREATE TABLE progress (
  task_id uuid NOT NULL REFERENCES task (task_id) ON DELETE CASCADE,
  counters bytea[] NOT NULL DEFAULT '{}',
  warnings bytea[] NOT NULL DEFAULT '{}',
  CONSTRAINT progress_pkey PRIMARY KEY (task_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE progress IS 'What a task has last said while it ran, as serialised messages.';

CREATE TABLE lost_attempt (
  task_id uuid NOT NULL REFERENCES task (task_id) ON DELETE CASCADE,
  number int NOT NULL,
  reason text NOT NULL,
  is_counted boolean NOT NULL,
  started_at timestamptz,
  ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT lost_attempt_pkey PRIMARY KEY (task_id, number)
);
COMMENT ON TABLE lost_attempt IS 'An attempt that did not end its task, and why.';

-- ---------------------------------------------------------------------------------------------------------------
-- Events

CREATE TABLE event_inbox (
  event_inbox_id bigint GENERATED ALWAYS AS IDENTITY,
  task_id uuid NOT NULL,
  kind text NOT NULL,
  happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT event_inbox_pkey PRIMARY KEY (event_inbox_id)
);
COMMENT ON TABLE event_inbox IS 'Events as the transactions that caused them wrote them, without a number yet.';

CREATE TABLE event (
  event_id bigint NOT NULL,
  task_id uuid NOT NULL,
  kind text NOT NULL,
  happened_at timestamptz NOT NULL,
  CONSTRAINT event_pkey PRIMARY KEY (event_id),
  CONSTRAINT event_kind_check CHECK (kind IN
    ('created', 'started', 'progressed', 'lost', 'cancel_requested', 'completed', 'failed', 'canceled'))
);
COMMENT ON TABLE event IS 'What happened to tasks, in the order in which it was committed, numbered without gaps.';
CREATE INDEX event_task_idx ON event (task_id, event_id);
CREATE INDEX event_happened_idx ON event (happened_at);

-- ---------------------------------------------------------------------------------------------------------------
-- Functions. The planner settings are part of them: statistics of a queue that was empty, or skewed, would otherwise
-- turn probes into scans of the whole queue.

-- Fair share: a new ready task of a lane goes one step behind the head, or behind its own lane's last.
CREATE FUNCTION ready_tag(p_plugin int, p_class int, p_lane bigint) RETURNS bigint LANGUAGE sql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
  SELECT 1 + greatest(
    (SELECT tag FROM task WHERE state = 'waiting' AND waits_for = 0 AND NOT parked AND plugin_id = p_plugin AND class = p_class
      ORDER BY tag, seq LIMIT 1),
    (SELECT tag FROM task WHERE state = 'waiting' AND waits_for = 0 AND NOT parked AND plugin_id = p_plugin AND class = p_class
        AND lane = p_lane ORDER BY tag DESC LIMIT 1),
    0)
$$;

-- Creates a task: lock, then number, then look. A lock is granted if nobody waits and no holder conflicts.
-- The resources are distinct; the statement that locks comes before the one that reads, which so sees what it waited for.
CREATE FUNCTION create_task(
  p_task uuid, p_plugin int, p_type text, p_class int, p_repeatable boolean, p_dry_run boolean, p_cloned_from uuid,
  p_resources bigint[], p_exclusive boolean[]
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_seq bigint; v_lane bigint; v_free boolean[]; v_waits int;
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
  INSERT INTO task (task_id, plugin_id, task_type, class, lane, waits_for, seq, tag, ready_at, is_repeatable, is_dry_run,
                    cloned_from)
  VALUES (p_task, p_plugin, p_type, p_class, v_lane, v_waits, v_seq,
          CASE WHEN v_waits = 0 THEN ready_tag(p_plugin, p_class, v_lane) ELSE 0 END,
          CASE WHEN v_waits = 0 THEN clock_timestamp() END, p_repeatable, p_dry_run, p_cloned_from);
  INSERT INTO lock_entry (resource_id, seq, task_id, exclusive, granted)
  SELECT r, v_seq, p_task, x, free FROM unnest(p_resources, p_exclusive, v_free) AS u(r, x, free) ORDER BY r;
  INSERT INTO task_resource (task_id, resource_id, is_exclusive)
  SELECT p_task, r, x FROM unnest(p_resources, p_exclusive) AS u(r, x) ORDER BY r;
  INSERT INTO event_inbox (task_id, kind) VALUES (p_task, 'created');
END $$;

-- Counts granted locks off the tasks that got them; those that now have all become ready.
CREATE FUNCTION count_granted(p_tasks uuid[]) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE t record;
BEGIN
  FOR t IN SELECT id, count(*)::int AS n FROM unnest(p_tasks) AS id GROUP BY id ORDER BY id LOOP
    UPDATE task SET waits_for = waits_for - t.n,
           tag = CASE WHEN waits_for = t.n THEN ready_tag(plugin_id, class, lane) ELSE tag END,
           ready_at = CASE WHEN waits_for = t.n THEN clock_timestamp() END
     WHERE task_id = t.id;
  END LOOP;
END $$;

-- Grants the head of a queue, or a run of shared ones at its head, at most p_cap: the run feeds itself.
-- p_after: nobody before this number can be waiting. The resource is locked, and nobody who conflicts holds it.
CREATE FUNCTION grant_next(p_resource bigint, p_after bigint, p_holds_exclusive boolean, p_cap int) RETURNS uuid[] LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE f record; v_held_x boolean; v_stop bigint; v_ids uuid[];
BEGIN
  SELECT seq, task_id, exclusive INTO f FROM lock_entry
   WHERE resource_id = p_resource AND NOT granted AND seq > p_after ORDER BY seq LIMIT 1;
  IF NOT FOUND THEN RETURN '{}'; END IF;
  IF NOT p_holds_exclusive THEN
    SELECT exclusive INTO v_held_x FROM lock_entry WHERE resource_id = p_resource AND granted ORDER BY seq LIMIT 1;
    IF FOUND AND (f.exclusive OR v_held_x) THEN RETURN '{}'; END IF;
  END IF;
  IF f.exclusive THEN
    UPDATE lock_entry SET granted = true WHERE resource_id = p_resource AND seq = f.seq;
    RETURN ARRAY[f.task_id];
  END IF;
  SELECT seq INTO v_stop FROM lock_entry
   WHERE resource_id = p_resource AND NOT granted AND exclusive AND seq > f.seq ORDER BY seq LIMIT 1;
  WITH run AS (
    SELECT seq FROM lock_entry WHERE resource_id = p_resource AND NOT granted AND seq >= f.seq
       AND seq < coalesce(v_stop, 9223372036854775807) ORDER BY seq LIMIT p_cap
  ), g AS (
    UPDATE lock_entry l SET granted = true FROM run WHERE l.resource_id = p_resource AND l.seq = run.seq RETURNING l.task_id
  ) SELECT array_agg(task_id) INTO v_ids FROM g;
  RETURN v_ids;
END $$;

-- Gives up all entries of a task and grants what has become free. Its resources are locked already.
CREATE FUNCTION release_locks(p_task uuid, p_cap int DEFAULT 100) RETURNS int LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE e record; v_ids uuid[] := '{}';
BEGIN
  FOR e IN DELETE FROM lock_entry WHERE task_id = p_task RETURNING resource_id, seq, granted, exclusive LOOP
    -- After an exclusive holder nobody else holds, and who waits came later. A waiter that leaves must look from the start.
    v_ids := v_ids || grant_next(e.resource_id, CASE WHEN e.granted AND e.exclusive THEN e.seq ELSE 0 END,
                                 e.granted AND e.exclusive, p_cap);
  END LOOP;
  PERFORM count_granted(v_ids);
  RETURN cardinality(v_ids);
END $$;

-- Locks what a task holds or waits for: shared where its entry is shared and nobody waits, else exclusive; looked at again
-- under the lock, because two last sharers that leave together must not both think that nobody waits.
CREATE FUNCTION lock_for_release(p_task uuid, p_all_exclusive boolean) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_res bigint[]; v_x boolean[];
BEGIN
  LOOP
    BEGIN
      SELECT array_agg(resource_id), array_agg(x) INTO v_res, v_x FROM (
        SELECT l.resource_id, p_all_exclusive OR l.exclusive OR
               (SELECT w.seq FROM lock_entry w WHERE w.resource_id = l.resource_id AND NOT w.granted ORDER BY w.seq LIMIT 1) IS NOT NULL AS x
          FROM lock_entry l WHERE l.task_id = p_task) AS z;
      PERFORM CASE WHEN x THEN pg_advisory_xact_lock(r) ELSE pg_advisory_xact_lock_shared(r) END
         FROM (SELECT r, x FROM unnest(v_res, v_x) AS u(r, x) ORDER BY r) AS s;
      PERFORM FROM unnest(v_res, v_x) AS u(r, x) WHERE NOT x AND
        (SELECT w.seq FROM lock_entry w WHERE w.resource_id = r AND NOT w.granted ORDER BY w.seq LIMIT 1) IS NOT NULL;
      IF NOT FOUND THEN RETURN; END IF;
      -- Leaving the block gives the locks back.
      RAISE SQLSTATE 'EN001';
    EXCEPTION WHEN SQLSTATE 'EN001' THEN NULL;
    END;
  END LOOP;
END $$;

-- The end of an attempt that ends its task. False: another attempt owns the task, roll back.
CREATE FUNCTION finish_task(
  p_workspace bigint, p_task uuid, p_state text, p_created_resource text, p_changed boolean, p_result_type text, p_result bytea,
  p_error bytea, p_differences bytea[]
) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  DELETE FROM workspace WHERE workspace_id = p_workspace AND task_id = p_task;
  IF NOT FOUND THEN RETURN false; END IF;
  PERFORM lock_for_release(p_task, false);
  UPDATE task SET state = p_state, ended_at = clock_timestamp(), created_resource = p_created_resource, changed = p_changed
   WHERE task_id = p_task;
  UPDATE task_detail SET result_type = p_result_type, result = p_result, error = p_error, differences = p_differences
   WHERE task_id = p_task;
  INSERT INTO event_inbox (task_id, kind) VALUES (p_task, p_state);
  PERFORM release_locks(p_task);
  RETURN true;
END $$;

-- Ends a task that nobody runs: a waiting one, or a running one whose workspace a crash of the database took. Returns the
-- state the task had; a running task that has a workspace is left as it is.
CREATE FUNCTION end_unowned_task(p_task uuid, p_state text, p_error bytea) RETURNS text LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_state text;
BEGIN
  PERFORM lock_for_release(p_task, true);
  SELECT state INTO v_state FROM task WHERE task_id = p_task FOR NO KEY UPDATE;
  IF v_state = 'waiting' OR (v_state = 'running' AND NOT EXISTS (SELECT FROM workspace WHERE task_id = p_task)) THEN
    UPDATE task SET state = p_state, ended_at = clock_timestamp(), parked = false WHERE task_id = p_task;
    UPDATE task_detail SET error = p_error WHERE task_id = p_task;
    INSERT INTO event_inbox (task_id, kind) VALUES (p_task, p_state);
    PERFORM release_locks(p_task);
  END IF;
  RETURN v_state;
END $$;

-- A waiting task ends now; a running one gets the flag and ends with its attempt. Returns the state the task had.
CREATE FUNCTION cancel_task(p_task uuid, p_error bytea) RETURNS text LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_state text;
BEGIN
  v_state := end_unowned_task(p_task, 'canceled', p_error);
  IF v_state = 'running' THEN
    UPDATE task SET cancel_requested = true WHERE task_id = p_task AND state = 'running' AND NOT cancel_requested;
    IF FOUND THEN
      INSERT INTO event_inbox (task_id, kind) VALUES (p_task, 'cancel_requested');
    END IF;
  ELSIF v_state = 'waiting' THEN
    UPDATE task SET cancel_requested = true WHERE task_id = p_task;
  END IF;
  RETURN v_state;
END $$;

-- The end of an attempt that is to be repeated: the task is ready again, or parked, and keeps its locks. False: somebody
-- has asked for it to stop, so it must be finished instead. The caller has deleted the workspace in this transaction.
CREATE FUNCTION repeat_task(p_task uuid, p_reason text, p_counted boolean, p_delay interval) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_attempt int; v_started timestamptz;
BEGIN
  UPDATE task SET state = 'waiting', parked = p_delay > interval '0', not_before = clock_timestamp() + p_delay,
         tag = ready_tag(plugin_id, class, lane), ready_at = clock_timestamp()
   WHERE task_id = p_task AND state = 'running' AND NOT cancel_requested
  RETURNING attempt, started_at INTO v_attempt, v_started;
  IF NOT FOUND THEN RETURN false; END IF;
  INSERT INTO lost_attempt (task_id, number, reason, is_counted, started_at)
  VALUES (p_task, v_attempt, p_reason, p_counted, v_started);
  INSERT INTO event_inbox (task_id, kind) VALUES (p_task, 'lost');
  RETURN true;
END $$;

-- Claims up to p_k ready tasks: plugins that serve and are below their limit, class first, then the smallest share, then the
-- longest in the queue. One claim at a time, so that the counts hold; locked rows are skipped, so it waits for nobody else.
CREATE FUNCTION claim_tasks(p_dispatcher int, p_k int, p_token_digests bytea[])
RETURNS TABLE (workspace_id bigint, task_id uuid, attempt int, token_digest bytea) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
  PERFORM pg_advisory_xact_lock(0, 1);
  RETURN QUERY
  WITH p AS MATERIALIZED (
    SELECT pl.plugin_id, pl.weight, pl.max_running, (SELECT count(*) FROM workspace w WHERE w.plugin_id = pl.plugin_id) AS n
      FROM plugin pl WHERE pl.health = 'serving' AND NOT pl.is_removed
  ), h AS (
    SELECT h.*, p.n + row_number() OVER (PARTITION BY p.plugin_id ORDER BY h.class, h.tag, h.seq) AS nth, p.weight, p.max_running
      FROM p, LATERAL (SELECT t.task_id, t.class, t.tag, t.seq FROM task t
                        WHERE t.state = 'waiting' AND t.waits_for = 0 AND NOT t.parked AND t.plugin_id = p.plugin_id
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
END $$;

-- Moves what is committed from the inbox to the log, numbered without gaps. One runner at a time; a second by accident
-- meets the primary key and changes nothing. Returns how many, and the last number.
CREATE FUNCTION number_events(p_most int) RETURNS TABLE (numbered int, last_event bigint) LANGUAGE sql AS $$
  WITH d AS (
    DELETE FROM event_inbox WHERE event_inbox_id IN (SELECT event_inbox_id FROM event_inbox ORDER BY event_inbox_id LIMIT p_most)
    RETURNING *
  ), i AS (
    INSERT INTO event (event_id, task_id, kind, happened_at)
    SELECT (SELECT coalesce(max(event_id), 0) FROM event) + row_number() OVER (ORDER BY event_inbox_id), task_id, kind, happened_at
      FROM d RETURNING event_id
  )
  SELECT count(*)::int, max(event_id) FROM i
$$;

-- Resources that somebody waits for and nobody holds. There must be none; the sweep grants and reports them.
CREATE FUNCTION stuck_resources() RETURNS SETOF bigint LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
  WITH RECURSIVE r AS (
    (SELECT resource_id FROM lock_entry WHERE NOT granted ORDER BY resource_id LIMIT 1)
    UNION ALL
    SELECT (SELECT l.resource_id FROM lock_entry l WHERE NOT l.granted AND l.resource_id > r.resource_id
             ORDER BY l.resource_id LIMIT 1)
      FROM r WHERE r.resource_id IS NOT NULL)
  SELECT resource_id FROM r WHERE resource_id IS NOT NULL
     AND (SELECT h.seq FROM lock_entry h WHERE h.resource_id = r.resource_id AND h.granted ORDER BY h.seq LIMIT 1) IS NULL
$$;

-- Grants what is stuck on one resource. Returns how many locks were granted: 0 if it was not stuck after all.
CREATE FUNCTION grant_stuck(p_resource bigint) RETURNS int LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE v_ids uuid[];
BEGIN
  PERFORM pg_advisory_xact_lock(p_resource);
  v_ids := grant_next(p_resource, 0, false, 100);
  PERFORM count_granted(v_ids);
  RETURN cardinality(v_ids);
END $$;
