-- A plugin that has many instances, and hangs, must not have all that dispatchers can run: then nobody else's tasks would start.

-- How many attempts one plugin may run at once, whatever it declares: of eight slots, seven. NULL if there are no dispatchers.
CREATE FUNCTION share_of_one() RETURNS int LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
  SELECT (sum(slots) - sum(slots) / 8)::int FROM dispatcher
$$;

-- Claims up to p_k ready tasks: plugins that serve and have room, class first, then the smallest share, then the
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
  v_share int := share_of_one();
  v_workspaces bigint[]; v_tasks uuid[]; v_attempts int[]; v_digests bytea[];
BEGIN
  PERFORM pg_advisory_xact_lock(0, 1);
  v_limited := EXISTS (SELECT FROM task_limit);
  -- Where there are no limits, and nobody stands where one was, there is one queue for each plugin, and less to do.
  IF NOT v_limited AND (SELECT t.task_id FROM task t WHERE t.state = 'waiting' AND t.waits_for = 0 AND NOT t.parked
                           AND t.limits <> '{}' ORDER BY t.task_id LIMIT 1) IS NULL THEN
    RETURN QUERY
    WITH p AS MATERIALIZED (
      SELECT pl.plugin_id, pl.weight, least(pl.max_running, v_share) AS max_running,
             (SELECT count(*) FROM workspace w WHERE w.plugin_id = pl.plugin_id) AS n
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
      SELECT pl.plugin_id, pl.weight, least(pl.max_running, v_share) AS max_running,
             (SELECT count(*) FROM workspace w WHERE w.plugin_id = pl.plugin_id) AS n
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
