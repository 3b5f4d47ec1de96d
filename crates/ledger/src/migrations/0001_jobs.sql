-- Jobs of many rows, and what came of each row.
--
-- Times are milliseconds since 1970, in UTC. Counts and tokens of a job are sums over its rows, kept by the
-- transaction that changes a row, so that a list of jobs reads no rows.

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: the lock file of a job is named by it
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    spec TEXT NOT NULL, -- JSON; whoever made the job goes on with it by what stands here
    fingerprint TEXT NOT NULL, -- the same work on the same inputs has the same
    input_sha256 TEXT, -- of the inputs that the job began with, where they stay outside
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    reason TEXT, -- why it failed
    total INTEGER, -- rows, once they were counted
    done INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    milliseconds INTEGER NOT NULL DEFAULT 0,
    owner_token TEXT, -- of the claim that may write; a new claim writes its own
    owner_process INTEGER,
    owner_host TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX jobs_by_fingerprint ON jobs (fingerprint);

-- A row that has not been done yet is here only if it failed and is to be tried again.
-- What may be long stands last, so that a look at the rest does not read it.
CREATE TABLE job_rows (
    job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL, -- from 1, in the order of the inputs
    state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    milliseconds INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL, -- what the source calls it: a file, a line
    reason TEXT, -- why it failed
    warnings TEXT, -- a JSON array of texts; null where there are none
    outcome TEXT, -- JSON
    PRIMARY KEY (job, number)
) STRICT;

CREATE INDEX job_rows_not_done ON job_rows (job, state, number) WHERE state <> 'done';
