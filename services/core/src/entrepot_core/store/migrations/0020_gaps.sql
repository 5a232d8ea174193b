-- What is created besides tasks can be asked for again, too.

ALTER TABLE creation_request ADD COLUMN resource text NOT NULL DEFAULT '';
COMMENT ON COLUMN creation_request.resource IS 'The name of what was made; empty: the task of task_id.';
COMMENT ON TABLE creation_request IS 'Which request made what, so that asking again makes no second one; kept 7 days.';

-- Lists of tasks by priority. Most tasks are normal, and cost nothing here.

CREATE INDEX task_priority_idx ON task (priority, task_id) WHERE priority <> 1;

-- The approval of a plan of core's own asks of each blob and unit whether the plan names it.

CREATE INDEX plan_item_name_idx ON plan_item (task_id, name);
