#!/usr/bin/env python3
"""Writes tests/real_models.json: what two independent engines say of real models and real text.

For each model and each text of tests/texts it records the first 2,000 token ids (llama.cpp's tokenizer) and the mean
log-probability of those tokens as transformers computes it in float32 on the dequantised file (`gguf_file=`), and as
llama.cpp computes it. Bantam must agree with both; `cargo xtask verify` and the tests compare.

    pip install torch==2.15.0 transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0
    pip install --no-binary llama-cpp-python llama-cpp-python==0.3.36
    real_models.py NAME=FILE.gguf [NAME=FILE.gguf ...] [--only transformers|llama.cpp] [--check]

With --check nothing is written: it fails where an id differs, or a figure by more than BOUNDS. The two may live in different environments: each run fills in what it can compute and keeps the rest of the file.
"""
import argparse
import copy
import hashlib
import json
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULT = ROOT / "tests" / "real_models.json"
TEXTS = ["english", "code", "chinese"]
TOKENS = 2000
# Relative differences between two machines: transformers computes in f32, llama.cpp rounds activations to 8 bits and
# chooses its kernels by the processor.
BOUNDS = {"transformers": 1e-4, "llama_cpp": 5e-3}


def llama_cpp(path, texts, entry):
    import llama_cpp
    import numpy

    entry["llama_cpp_version"] = llama_cpp.__version__
    model = llama_cpp.Llama(path, n_ctx=2048, n_batch=512, n_threads=2, logits_all=True, verbose=False)
    for name, text in texts.items():
        ids = model.tokenize(text.encode(), add_bos=True, special=False)[:TOKENS]
        assert len(ids) == TOKENS, f"{name}: only {len(ids)} tokens"
        model.reset()
        model.eval(ids)
        logits = model.scores[: len(ids)].astype(numpy.float64)
        record = entry["texts"].setdefault(name, {})
        record["ids"] = ids
        # The first token has no context and does not count.
        rows = logits[:-1] - logits[:-1].max(1, keepdims=True)
        chosen = rows[numpy.arange(len(ids) - 1), ids[1:]]
        record["llama_cpp"] = float((chosen - numpy.log(numpy.exp(rows).sum(1))).mean())
        print(name, "llama.cpp", record["llama_cpp"], flush=True)


def transformers_f32(path, entry):
    import torch
    import transformers

    entry["transformers_version"] = transformers.__version__
    folder, file = os.path.split(os.path.abspath(path))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    model.eval()
    for name, record in entry["texts"].items():
        ids = record["ids"]
        with torch.no_grad():
            hidden = model.model(torch.tensor([ids])).last_hidden_state[0]
            total = 0.0
            for start in range(0, len(ids) - 1, 250):
                rows = model.lm_head(hidden[start : min(start + 250, len(ids) - 1)]).double()
                target = torch.tensor(ids[start + 1 : start + 1 + rows.shape[0]])
                total += rows.log_softmax(-1).gather(1, target[:, None]).sum().item()
        record["transformers"] = total / (len(ids) - 1)
        print(name, "transformers", record["transformers"], flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--only", choices=["transformers", "llama.cpp"])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    texts = {name: (ROOT / "tests" / "texts" / f"{name}.txt").read_text() for name in TEXTS}
    for model in arguments.models:
        name, path = model.split("=", 1)
        entry = results.setdefault(name, {"texts": {}})
        committed = copy.deepcopy(entry)
        entry["sha256"] = hashlib.sha256(open(path, "rb").read()).hexdigest()
        print(name, flush=True)
        if arguments.only != "transformers":
            llama_cpp(path, texts, entry)
        if arguments.only != "llama.cpp":
            transformers_f32(path, entry)
        if arguments.check:
            compare(name, committed, entry)
        else:
            RESULT.write_text(compact_ids(json.dumps(results, indent=1)) + "\n")


def compare(name, committed, computed):
    assert committed.get("sha256") == computed["sha256"], f"{name}: another file"
    for text in TEXTS:
        before, now = committed["texts"][text], computed["texts"][text]
        assert before["ids"] == now["ids"], f"{name}, {text}: other ids"
        for peer, bound in BOUNDS.items():
            difference = abs(now[peer] / before[peer] - 1)
            assert difference <= bound, f"{name}, {text}, {peer}: {now[peer]} now, {before[peer]} committed"
    print(name, "as committed", flush=True)


def compact_ids(text):
    """One line per list of ids: a diff shows which text changed."""
    import re

    return re.sub(r"\[\s+([\d,\s]+?)\s+\]", lambda found: "[" + re.sub(r"\s+", "", found[1]) + "]", text)


main()
