-- Which tasks wait for a plugin that was removed: looked for every second, among any number of others that wait.

CREATE INDEX task_waiting_plugin_idx ON task (split_part(task_type, '/', 1), task_id) WHERE state = 'waiting';
