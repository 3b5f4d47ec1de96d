-- What the rows of a test ask, so that people who look at answers see what they are answers to.
--
-- Kept once for all runs on the same rows, whatever their candidates.

CREATE TABLE test_inputs (
    test_sha256 TEXT NOT NULL, -- as runs have it
    input TEXT NOT NULL, -- digest, as rows of runs have it
    fields TEXT NOT NULL, -- JSON: what the task reads of the row
    PRIMARY KEY (test_sha256, input)
) STRICT, WITHOUT ROWID;
