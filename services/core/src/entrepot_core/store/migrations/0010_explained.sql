-- What explains a task to a person: since when and for what it waits, what it said, and which units failed.

-- ---------------------------------------------------------------------------------------------------------------
-- Time spent waiting is worked out when somebody asks, from instants that are written when a state changes.

ALTER TABLE task ADD COLUMN first_ready_at timestamptz;
COMMENT ON COLUMN task.first_ready_at IS 'When it first had all its locks, once ready_at tells a later time.';

ALTER TABLE lost_attempt ADD COLUMN resumes_at timestamptz;
COMMENT ON COLUMN lost_attempt.resumes_at IS 'When the next attempt may start.';

CREATE TABLE plugin_outage (
  plugin_id int NOT NULL REFERENCES plugin (plugin_id),
  began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  CONSTRAINT plugin_outage_pkey PRIMARY KEY (plugin_id, began_at)
);
COMMENT ON TABLE plugin_outage IS 'When a plugin took no tasks; without an end, it still takes none.';

CREATE FUNCTION plugin_health_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.health = 'serving' THEN
    UPDATE plugin_outage SET ended_at = clock_timestamp() WHERE plugin_id = NEW.plugin_id AND ended_at IS NULL;
  ELSIF NOT EXISTS (SELECT FROM plugin_outage WHERE plugin_id = NEW.plugin_id AND ended_at IS NULL) THEN
    INSERT INTO plugin_outage (plugin_id) VALUES (NEW.plugin_id);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER plugin_health_trigger AFTER INSERT OR UPDATE OF health ON plugin FOR EACH ROW
EXECUTE FUNCTION plugin_health_changed();
INSERT INTO plugin_outage (plugin_id, began_at)
SELECT plugin_id, coalesce(seen_at, created_at) FROM plugin WHERE health <> 'serving';

-- Who holds what these tasks wait for, and who is next before each of them. The place in the queue is counted up to p_most;
-- one more than that stands for all that is farther back.
CREATE FUNCTION waits_of(p_tasks uuid[], p_holders int, p_most int)
RETURNS TABLE (waiting uuid, resource text, place int, blocker uuid, holds boolean) LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
  SELECT w.task_id, r.name, q.place, b.task_id, b.holds
    FROM lock_entry w
    JOIN resource r USING (resource_id)
   CROSS JOIN LATERAL (
     SELECT CASE WHEN p_most > 0 THEN count(*)::int + 1 ELSE 0 END AS place FROM (
       SELECT FROM lock_entry e WHERE e.resource_id = w.resource_id AND NOT e.granted AND e.seq < w.seq
        ORDER BY e.seq DESC LIMIT p_most) AS before) AS q
   CROSS JOIN LATERAL (
     (SELECT h.task_id, true AS holds FROM lock_entry h WHERE h.resource_id = w.resource_id AND h.granted
       ORDER BY h.seq LIMIT p_holders)
     UNION ALL
     (SELECT h.task_id, false FROM lock_entry h WHERE h.resource_id = w.resource_id AND NOT h.granted AND h.seq < w.seq
       ORDER BY h.seq DESC LIMIT 1)
   ) AS b
   WHERE w.task_id = ANY(p_tasks) AND NOT w.granted
   ORDER BY w.task_id, r.name, b.holds DESC
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- What a task said, and what failed in it

CREATE TABLE task_log (
  task_id uuid NOT NULL REFERENCES task (task_id) ON DELETE CASCADE,
  attempt int NOT NULL,
  line int NOT NULL,
  logged_at timestamptz NOT NULL,
  level smallint NOT NULL,
  message text NOT NULL,
  CONSTRAINT task_log_pkey PRIMARY KEY (task_id, attempt, line)
);
COMMENT ON TABLE task_log IS 'Lines for people that a task wrote while it ran, a bounded number for each attempt.';

CREATE TABLE task_failure (
  task_id uuid NOT NULL REFERENCES task (task_id) ON DELETE CASCADE,
  number int NOT NULL,
  failure bytea NOT NULL,
  CONSTRAINT task_failure_pkey PRIMARY KEY (task_id, number)
);
COMMENT ON TABLE task_failure IS 'Units that failed in the last attempt of a task, as serialised messages; a bounded number.';

ALTER TABLE progress ADD COLUMN failures bigint NOT NULL DEFAULT 0;
ALTER TABLE progress ADD COLUMN unchanged_reason text NOT NULL DEFAULT '';
COMMENT ON COLUMN progress.failures IS 'How many units failed in the last attempt, also those that are not kept.';
COMMENT ON COLUMN progress.unchanged_reason IS 'Why nothing had to be done, if the task says so and no repository does.';

ALTER TABLE task_detail ADD COLUMN keeps_going boolean NOT NULL DEFAULT false;
ALTER TABLE task_detail ADD COLUMN only_failures boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN task_detail.keeps_going IS 'Units that fail are left out, and the rest is committed.';
COMMENT ON COLUMN task_detail.only_failures IS 'It does only what failed in the task that it was cloned from.';
