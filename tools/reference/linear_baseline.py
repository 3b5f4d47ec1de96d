"""Learns the labels of a table with scikit-learn, as `cargo xtask baseline --peer` compares it with.

    python -m venv venv && venv/bin/pip install scikit-learn==1.9.1
    venv/bin/python tools/reference/linear_baseline.py train.csv test.csv text label

Prints one line of JSON: the share of test rows that got their label, the seconds to learn (texts to classifier) and the
test rows a second. It does not know the Rust code; the grams and the cost are the same as in
crates/eval/src/baselines/linear.
"""

import csv
import json
import sys
import time

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC


def read(path, text, label):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row[text] for row in rows], [row[label] for row in rows]


def main():
    train, test, text, label = sys.argv[1:]
    texts, labels = read(train, text, label)
    unheard, right = read(test, text, label)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    model = make_pipeline(make_union(words, pieces), LinearSVC(C=0.5))
    began = time.perf_counter()
    model.fit(texts, labels)
    learned = time.perf_counter()
    given = model.predict(unheard)
    ended = time.perf_counter()
    correct = sum(one == other for one, other in zip(given, right))
    result = {
        "right": correct / len(right),
        "train_seconds": learned - began,
        "rows_per_second": len(right) / (ended - learned),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
