"""Whether `bantam eval --suite mmlu` is what lm-eval finds through `/v1/completions` of `bantam serve`, question by question.

    mmlu_lm_eval.py BANTAM MODEL DATA SCRATCH [QUESTIONS]

Needs lm-eval[api]==0.4.13. Prompts are made by lm-eval's own task files of mmlu; only their data sets, which lie on a hub,
are replaced by the questions of DATA that Bantam drew. Both must choose the same answer of each, and their log-likelihoods be
within TOLERANCE of each other: Bantam reads a prompt once and goes on from it four times, the server reads all four whole.
"""

import gzip
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import lm_eval
import yaml
from lm_eval.tasks import TaskManager

TOLERANCE = 1e-4
LETTERS = "ABCD"

bantam, model, data, scratch = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4])
questions = int(sys.argv[5]) if len(sys.argv) > 5 else 500
scratch.mkdir(parents=True, exist_ok=True)
own_tasks = pathlib.Path(lm_eval.__file__).parent / "tasks/mmlu/default"


def published(split):
    """The questions of a split, in the order of its file."""
    plain = data / f"{split}.jsonl"
    file = open(plain, encoding="utf-8") if plain.exists() else gzip.open(f"{plain}.gz", "rt", encoding="utf-8")
    with file:
        return [json.loads(line) for line in file]


def judged():
    """What Bantam says of each question that it drew, by its place in the file from 1."""
    name = f"mmlu-{os.getpid()}"
    suite = ["eval", "--suite", "mmlu", "--data", str(data), "--limit", str(questions), "--models", model, "--name", name]
    subprocess.run([bantam, *suite], check=True, stdout=subprocess.DEVNULL)
    rows = scratch / "rows.jsonl"
    subprocess.run([bantam, "eval", "export", name, "--out", str(rows)], check=True)
    subprocess.run([bantam, "eval", "remove", name], check=True)
    return {row["row"]: row for row in map(json.loads, rows.read_text(encoding="utf-8").splitlines())}


def write_tasks(rows):
    """A task of each subject: lm-eval's own, with these questions; the names of the tasks."""
    test, dev = published("test"), published("dev")
    by_subject = {}
    for place in rows:
        by_subject.setdefault(test[place - 1]["subject"], []).append(place)
    template = yaml.safe_load((own_tasks / "_default_template_yaml").read_text())
    names = []
    for subject, places in by_subject.items():
        own = yaml.safe_load((own_tasks / f"mmlu_{subject}.yaml").read_text())
        shots = [row | {"place": 0} for row in dev if row["subject"] == subject]
        files = {}
        for split, chosen in [("test", [test[place - 1] | {"place": place} for place in places]), ("dev", shots)]:
            file = scratch / f"{subject}.{split}.jsonl"
            lines = (json.dumps(row | {"answer": LETTERS.index(row["answer"])}) + "\n" for row in chosen)
            file.write_text("".join(lines), encoding="utf-8")
            files[split] = str(file)
        name = f"local_{own['task']}"
        task = template | {"task": name, "description": own["description"]}
        task |= {"dataset_path": "json", "dataset_kwargs": {"data_files": files}}
        (scratch / f"{name}.yaml").write_text(yaml.safe_dump(task))
        names.append(name)
    return names


def serve():
    """A server of its own; its process and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process, address = subprocess.Popen([bantam, "serve", model, "--host", host], **quiet), f"http://{host}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{address}/v1/models").read()
            return process, address
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server does not answer")


rows = {place: row for place, row in judged().items() if row["error"] is None}
names = write_tasks(rows)
process, address = serve()
try:
    results = lm_eval.simple_evaluate(
        model="local-completions",
        model_args={
            "model": model,
            "base_url": f"{address}/v1/completions",
            "num_concurrent": 4,
            "tokenizer_backend": "remote",
            "max_length": 8192,
        },
        tasks=names,
        task_manager=TaskManager(include_path=str(scratch)),
        num_fewshot=5,
        log_samples=True,
        bootstrap_iters=0,
    )
finally:
    process.terminate()
    process.wait()

right, compared, furthest, failures = 0, 0, 0.0, []
for name in names:
    for sample in results["samples"][name]:
        row = rows[sample["doc"]["place"]]
        theirs = [float(response[0][0]) for response in sample["resps"]]
        ours = [row["outcome"]["log_likelihoods"][letter] for letter in LETTERS]
        prompt = sample["arguments"][0][0]
        distance = max(abs(one - other) for one, other in zip(theirs, ours))
        choice = LETTERS[theirs.index(max(theirs))]
        if prompt != row["prompt"]:
            failures.append(f"row {row['row']}: the prompts differ")
        if choice != row["outcome"]["label"] or sample["acc"] != row["score"] or distance > TOLERANCE:
            failures.append(f"row {row['row']}: lm-eval has {theirs}, bantam {ours}")
        compared, right, furthest = compared + 1, right + int(row["score"]), max(furthest, distance)
for failure in failures:
    print(failure)
print(f"{compared} questions: {compared - len(failures)} alike, {right} right; log-likelihoods differ by {furthest:.1e} at most")
if failures or compared != len(rows) or not compared:
    raise SystemExit(1)
