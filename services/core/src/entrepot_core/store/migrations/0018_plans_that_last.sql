-- What is done for each task costs the same in a connection that was there when the tables were empty. Plans are made once for
-- each connection: one that joins small tables in any order reads all of them later, so each of these begins with what is
-- looked for. LIMIT and OFFSET keep the planner from turning it round; where several indexes would do, an order that only the
-- right one has (a range of one value, as an equality has no order) keeps it from reading the whole repository by another.

-- What adding or removing a few units by name does to a repository, if nothing is out of the ordinary: looked at for these
-- units alone, by index, without temporary tables. No row: something is in the way, or needs more thought than this; the
-- general way (store/repository_commit.py) then does it, and says what is wrong. Nothing is written here.
-- Locks: the workspace, if an attempt asks, then the repository.
CREATE OR REPLACE FUNCTION plan_small_change(p_workspace bigint, p_plugin text, p_name text, p_types text[], p_keys bytea[], p_remove boolean)
RETURNS TABLE (
  repository_id bigint, base int, number int, unit_count bigint, retain_versions int, is_served boolean, set_state bytea,
  added bigint[], removed bigint[], replaced int, fetch_files bigint, fetch_bytes bigint,
  types text[], key_digests bytea[], unit_digests bytea[], are_added boolean[]
) LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_sort = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  c_current CONSTANT int := 2147483647;
  r record; v_ids bigint[]; v_absent bigint[]; v_present bigint[]; v_added bigint[] := '{}'; v_removed bigint[] := '{}';
  v_paths text[]; v_path text; v_taken text[]; v_files bigint := 0; v_bytes bigint := 0;
  v_several boolean; v_other boolean; v_odd boolean;
BEGIN
  -- A number for the transaction first: a collector that condemned what is named here waits for it.
  PERFORM pg_current_xact_id();
  IF p_workspace IS NOT NULL THEN
    PERFORM FROM workspace WHERE workspace_id = p_workspace FOR UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
  END IF;
  SELECT repository_id, latest, next_number, retain_versions INTO r FROM repository
   WHERE plugin = p_plugin AND name = p_name FOR UPDATE;
  IF NOT FOUND OR EXISTS (SELECT FROM content_type WHERE plugin = p_plugin AND has_edges) THEN RETURN; END IF;

  SELECT array_agg(DISTINCT c.content_id ORDER BY c.content_id) INTO v_ids
    FROM unnest(p_types, p_keys) AS k(name, digest)
   CROSS JOIN LATERAL (
     SELECT content_id, orphaned_at FROM content
      WHERE type_id = (SELECT t.type_id FROM content_type t WHERE t.name = k.name) AND key_digest = k.digest LIMIT 1) AS c
   WHERE p_remove OR c.orphaned_at IS NULL;
  -- Absent, named twice, or to be revived.
  IF v_ids IS NULL OR cardinality(v_ids) <> cardinality(p_keys) THEN RETURN; END IF;
  SELECT array_agg(i) FILTER (WHERE m.content_id IS NULL), array_agg(i) FILTER (WHERE m.content_id IS NOT NULL),
         coalesce(bool_or(NOT m.explicit), false)
    INTO v_absent, v_present, v_odd
    FROM unnest(v_ids) AS i
    LEFT JOIN LATERAL (
      -- In an order that only the primary key has: a unit may be in very many repositories.
      SELECT content_id, explicit FROM member
       WHERE repository_id = r.repository_id AND content_id = i AND removed_in >= c_current ORDER BY removed_in LIMIT 1
    ) AS m ON true;

  IF p_remove THEN
    IF v_absent IS NOT NULL THEN RETURN; END IF;
    v_removed := v_present;
  ELSE
    -- A member that was only implied becomes wanted.
    IF v_odd THEN RETURN; END IF;
    v_added := coalesce(v_absent, '{}');
  END IF;

  IF v_added <> '{}' THEN
    -- Several files, one of another size, or one that is not to be had.
    SELECT coalesce(array_agg(a.relative_path), '{}'), count(*) FILTER (WHERE b.digest IS NULL),
           coalesce(sum(a.size_bytes) FILTER (WHERE b.digest IS NULL), 0), count(*) > count(DISTINCT i),
           coalesce(bool_or(b.size_bytes <> a.size_bytes), false), coalesce(bool_or(b.digest IS NULL AND NOT EXISTS (
             SELECT FROM (SELECT remote_id FROM artifact_source
                           WHERE content_id = a.content_id AND relative_path = a.relative_path OFFSET 0) AS s
              CROSS JOIN LATERAL (SELECT FROM remote o WHERE o.remote_id = s.remote_id AND o.policy <> 'immediate' LIMIT 1) AS o)),
           false)
      INTO v_paths, v_files, v_bytes, v_several, v_other, v_odd
      FROM unnest(v_added) AS i
     CROSS JOIN LATERAL (SELECT * FROM artifact WHERE content_id = i OFFSET 0) AS a
      LEFT JOIN LATERAL (SELECT digest, size_bytes FROM blob WHERE digest = a.digest AND state = 'live' LIMIT 1) AS b ON true;
    IF v_several OR v_other OR v_odd THEN RETURN; END IF;

    -- Two of one key, two files of one path, or one that is the folder of another.
    IF cardinality(v_added) > 1 THEN
      IF EXISTS (SELECT FROM unnest(v_added) AS i
                  CROSS JOIN LATERAL (SELECT type_id, repo_key FROM content WHERE content_id = i LIMIT 1) AS c
                  WHERE c.repo_key IS NOT NULL GROUP BY c.type_id, c.repo_key HAVING count(*) > 1)
      OR EXISTS (SELECT FROM unnest(v_paths) AS p GROUP BY p HAVING count(*) > 1)
      OR EXISTS (SELECT FROM unnest(v_paths) AS p, unnest(v_paths) AS q WHERE starts_with(q, p || '/'))
      THEN RETURN; END IF;
    END IF;

    -- Members whose key is taken leave; one that was named as well cannot.
    v_removed := ARRAY(
      SELECT m.content_id FROM unnest(v_added) AS i
       CROSS JOIN LATERAL (SELECT type_id, repo_key FROM content WHERE content_id = i AND repo_key IS NOT NULL LIMIT 1) AS c
       CROSS JOIN LATERAL (
         (SELECT content_id FROM member
           WHERE repository_id = r.repository_id AND type_id = c.type_id AND repo_key BETWEEN c.repo_key AND c.repo_key
             AND removed_in = c_current
           ORDER BY repo_key LIMIT 1)
          UNION ALL
         (SELECT m.content_id FROM (
            SELECT content_id, type_id, repo_key FROM member
             WHERE repository_id = r.repository_id AND path BETWEEN c.repo_key AND c.repo_key AND removed_in = c_current
             ORDER BY path LIMIT 1) AS m
           WHERE m.type_id = c.type_id AND m.repo_key IS NULL
             AND (SELECT k.repo_key FROM content k WHERE k.content_id = m.content_id LIMIT 1) = c.repo_key)) AS m);
    IF v_removed && v_ids THEN RETURN; END IF;

    -- A file that is there already, or where one of these has a folder, or below one of these.
    v_taken := v_paths;
    FOREACH v_path IN ARRAY v_paths LOOP
      LOOP
        v_path := substring(v_path FROM '^(.*)/[^/]*$');
        EXIT WHEN v_path IS NULL;
        v_taken := v_taken || v_path;
      END LOOP;
    END LOOP;
    IF EXISTS (
      SELECT FROM unnest(v_taken) AS p CROSS JOIN LATERAL (
        SELECT content_id FROM member m
         WHERE m.repository_id = r.repository_id AND m.path BETWEEN p AND p AND m.removed_in = c_current
         ORDER BY m.path LIMIT 1) AS m
       WHERE m.content_id <> ALL(v_removed))
    OR EXISTS (
      SELECT FROM unnest(v_taken) AS p CROSS JOIN LATERAL (
        SELECT FROM member_path m
         WHERE m.repository_id = r.repository_id AND m.path BETWEEN p AND p AND m.removed_in = c_current
         ORDER BY m.path LIMIT 1) AS m)
    OR EXISTS (
      SELECT FROM unnest(v_paths) AS p CROSS JOIN LATERAL (
        (SELECT FROM member m
          WHERE m.repository_id = r.repository_id AND m.path > p || '/' AND m.path < p || '0' AND m.removed_in = c_current
          ORDER BY m.path LIMIT 1)
         UNION ALL
        (SELECT FROM member_path m
          WHERE m.repository_id = r.repository_id AND m.path > p || '/' AND m.path < p || '0' AND m.removed_in = c_current
          ORDER BY m.path LIMIT 1)) AS below)
    THEN RETURN; END IF;
  END IF;

  RETURN QUERY
  SELECT r.repository_id, r.latest, r.next_number, v.unit_count, r.retain_versions,
         EXISTS (SELECT FROM distribution d WHERE d.repository_id = r.repository_id),
         s.set_state, v_added, v_removed, CASE WHEN p_remove THEN 0 ELSE cardinality(v_removed) END, v_files, v_bytes,
         e.types, e.key_digests, e.unit_digests, e.are_added
    FROM version v JOIN repository_state s ON s.repository_id = r.repository_id,
         LATERAL (
           SELECT array_agg(t.name::text) AS types, array_agg(c.key_digest) AS key_digests,
                  array_agg(c.unit_digest) AS unit_digests, array_agg(u.is_added) AS are_added
             FROM (SELECT i, true AS is_added FROM unnest(v_added) AS i
                   UNION ALL SELECT i, false FROM unnest(v_removed) AS i) AS u
            CROSS JOIN LATERAL (SELECT * FROM content WHERE content_id = u.i LIMIT 1) AS c
            CROSS JOIN LATERAL (SELECT name FROM content_type WHERE type_id = c.type_id LIMIT 1) AS t) AS e
   WHERE v.repository_id = r.repository_id AND v.number = r.latest;
END $$;

-- Writes the version that was planned so, in the same transaction.
CREATE OR REPLACE FUNCTION write_small_change(
  p_repository bigint, p_number int, p_unit_count bigint, p_added bigint[], p_removed bigint[], p_state bytea, p_digest bytea,
  p_task uuid
) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_sort = off AS $$
DECLARE c_current CONSTANT int := 2147483647;
BEGIN
  IF p_removed <> '{}' THEN
    UPDATE member SET removed_in = p_number WHERE ctid = ANY(ARRAY(
      SELECT m.ctid FROM unnest(p_removed) AS i CROSS JOIN LATERAL (
        SELECT ctid FROM member WHERE repository_id = p_repository AND content_id = i AND removed_in >= c_current
         ORDER BY removed_in LIMIT 1) AS m));
    UPDATE member_path SET removed_in = p_number WHERE ctid = ANY(ARRAY(
      SELECT m.ctid FROM unnest(p_removed) AS i CROSS JOIN LATERAL (
        SELECT ctid FROM member_path WHERE repository_id = p_repository AND content_id = i AND removed_in >= c_current
         ORDER BY removed_in OFFSET 0) AS m));
  END IF;
  INSERT INTO member (repository_id, content_id, added_in, explicit, type_id, repo_key, path)
  SELECT p_repository, i, p_number, true, c.type_id, CASE WHEN c.repo_key = a.relative_path THEN NULL ELSE c.repo_key END,
         a.relative_path
    FROM unnest(p_added) AS i
   CROSS JOIN LATERAL (SELECT type_id, repo_key FROM content WHERE content_id = i LIMIT 1) AS c
    LEFT JOIN LATERAL (SELECT relative_path FROM artifact WHERE content_id = i LIMIT 1) AS a ON true
   ORDER BY i;
  UPDATE repository_state SET set_state = p_state WHERE repository_id = p_repository;
  INSERT INTO version (repository_id, number, unit_count, added, removed, set_digest, task_id)
  VALUES (p_repository, p_number, p_unit_count, cardinality(p_added), cardinality(p_removed), p_digest, p_task);
  UPDATE repository SET latest = p_number, next_number = p_number + 1 WHERE repository_id = p_repository;
END $$;

-- As before, with a plan that is kept: the body of an SQL function is planned each time that it is called.
CREATE OR REPLACE FUNCTION number_events(p_most int) RETURNS TABLE (numbered int, last_event bigint, has_cancels boolean) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH d AS (
    DELETE FROM event_inbox WHERE event_inbox_id IN (SELECT event_inbox_id FROM event_inbox ORDER BY event_inbox_id LIMIT p_most)
    RETURNING *
  ), i AS (
    INSERT INTO event (event_id, task_id, kind, happened_at)
    SELECT (SELECT coalesce(max(event_id), 0) FROM event) + row_number() OVER (ORDER BY event_inbox_id), task_id, kind, happened_at
      FROM d RETURNING event_id, kind
  )
  SELECT count(*)::int, max(event_id), bool_or(kind = 'cancel_requested') FROM i;
END $$;

-- As before, and who has waited for another to claim looks again whether anything is left.
CREATE OR REPLACE FUNCTION claim_ready(p_dispatcher int, p_k int, p_token_digests bytea[], p_waits boolean)
RETURNS TABLE (workspace_id bigint, task_id uuid, attempt int, token_digest bytea) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  -- What becomes ready just now is told to whoever claims.
  IF NOT EXISTS (SELECT FROM task AS t WHERE t.state = 'waiting' AND t.waits_for = 0 AND NOT t.parked) THEN RETURN; END IF;
  IF NOT pg_try_advisory_xact_lock(0, 1) THEN
    IF NOT p_waits THEN
      RETURN QUERY SELECT NULL::bigint, NULL::uuid, NULL::int, NULL::bytea;
      RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(0, 1);
    IF NOT EXISTS (SELECT FROM task AS t WHERE t.state = 'waiting' AND t.waits_for = 0 AND NOT t.parked) THEN RETURN; END IF;
  END IF;
  RETURN QUERY SELECT c.workspace_id, c.task_id, c.attempt, c.token_digest FROM claim_tasks(p_dispatcher, p_k, p_token_digests) AS c;
END $$;
