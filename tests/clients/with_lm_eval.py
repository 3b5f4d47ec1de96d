"""`lm-eval` against a server: BASE_URL MODEL SCRATCH_FOLDER. Prints one JSON object a line: what was scored, and by how much.

The task is written here: each document has a question and two answers, one of which is likelier.
"""

import json
import pathlib
import sys

import lm_eval
from lm_eval.tasks import TaskManager

base, model, scratch = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
documents = [
    {"question": "The capital of France is", "choices": ["Paris", "a purple bicycle"], "answer": 0},
    {"question": "Two plus two equals", "choices": ["seven hundred", "four"], "answer": 1},
    {"question": "The opposite of hot is", "choices": ["cold", "the parliament"], "answer": 0},
    {"question": "A dog is an", "choices": ["equation", "animal"], "answer": 1},
]
data = scratch / "questions.jsonl"
data.write_text("".join(json.dumps(document) + "\n" for document in documents))
(scratch / "questions.yaml").write_text(
    f"""
task: questions
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list: [{{metric: acc}}]
"""
)
results = lm_eval.simple_evaluate(
    model="local-completions",
    model_args={
        "model": model,
        "base_url": f"{base}/v1/completions",
        "num_concurrent": 4,
        "tokenizer_backend": "remote",
        "max_length": 2048,
    },
    tasks=["questions"],
    task_manager=TaskManager(include_path=str(scratch)),
    log_samples=True,
    bootstrap_iters=0,
)
accuracy = results["results"]["questions"]["acc,none"]
assert accuracy == 1.0, results["results"]
for sample in results["samples"]["questions"]:
    for choice, (logprob, _) in zip(sample["doc"]["choices"], (response[0] for response in sample["resps"])):
        print(json.dumps({"prompt": sample["doc"]["question"], "choice": choice, "logprob": float(logprob)}))
