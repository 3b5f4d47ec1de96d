-- Whether a job was ever done, and so its results written: rows that failed may be tried again after that, and whoever
-- goes on with them replaces the results of the job itself and not another's.

ALTER TABLE jobs ADD COLUMN was_done INTEGER NOT NULL DEFAULT 0;

UPDATE jobs SET was_done = 1 WHERE state = 'done';
