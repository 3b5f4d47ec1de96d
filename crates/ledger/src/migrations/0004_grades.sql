-- What a grader said of an answer, where a run's metric counts grades: a judge model, tests, a command.
--
-- A grade is known by what was graded and by whom, so that a second run of the same answers finds it.

ALTER TABLE run_rows ADD COLUMN graded TEXT; -- digest of the grader, the row and the answer
ALTER TABLE run_rows ADD COLUMN grade TEXT; -- JSON: the score, and what the grader said

CREATE INDEX run_rows_by_grade ON run_rows (graded) WHERE graded IS NOT NULL;
