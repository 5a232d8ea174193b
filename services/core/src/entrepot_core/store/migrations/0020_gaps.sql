-- The approval of a plan of core's own asks of each blob and unit whether the plan names it.

CREATE INDEX plan_item_name_idx ON plan_item (task_id, name);
