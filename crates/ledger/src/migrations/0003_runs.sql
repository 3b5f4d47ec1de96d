-- Evaluations: who was judged on which rows, and every answer with what it took.
--
-- An answer is known by what it answers: the candidate (all that its answers depend on), the input and the number of the
-- try. So a second run of the same rows finds it, and a run that was ended goes on.

CREATE TABLE answers (
    candidate TEXT NOT NULL, -- digest of all that answers depend on: task, model, weights, examples
    input TEXT NOT NULL, -- digest of the input
    try INTEGER NOT NULL, -- from 0; more where answers are sampled
    recorded_ms INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL, -- from when it was asked to its end
    busy_seconds REAL NOT NULL, -- of this machine's time: with many under way at once, its share
    is_alone INTEGER NOT NULL, -- nothing else was under way meanwhile
    dollars REAL, -- what a provider takes for it; null for this machine, whose seconds are counted
    warnings TEXT, -- a JSON array of texts; null where there are none
    prompt TEXT, -- as the candidate was given it; null for what needs none
    outcome TEXT NOT NULL, -- JSON
    PRIMARY KEY (candidate, input, try)
) STRICT;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER, -- null while it runs, or was ended by force
    fingerprint TEXT NOT NULL, -- the same candidates on the same rows have the same
    test_sha256 TEXT NOT NULL, -- of the test's rows, whatever file they are in
    spec TEXT NOT NULL, -- JSON: task, candidates, goal
    report TEXT -- JSON: figures and verdict, once it ended
) STRICT;

CREATE INDEX runs_by_fingerprint ON runs (fingerprint);
CREATE INDEX runs_by_test ON runs (test_sha256);

CREATE TABLE run_rows (
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL, -- of the candidate, from 0
    number INTEGER NOT NULL, -- of the test's row, from 1
    try INTEGER NOT NULL,
    candidate TEXT NOT NULL, -- with input and try the key of its answer
    input TEXT NOT NULL,
    score REAL, -- of the run's metric; null where it does not apply, or the row failed
    reason TEXT, -- why it has no answer
    expected TEXT NOT NULL, -- JSON: what is right
    PRIMARY KEY (run, position, number, try)
) STRICT;

-- Whoever removes a run looks whether others have its answers.
CREATE INDEX run_rows_by_answer ON run_rows (candidate, input, try);
