"""Writes what other implementations say of texts and labels, for the tests of crates/eval/src/metrics.

    pip install rouge-score==0.1.2 sacrebleu==2.6.0 scikit-learn==1.9.1 rapidfuzz==3.14.6 transformers==4.57.6 numpy==2.4.6
    python tools/reference/eval_metrics.py crates/eval/src/metrics/fixtures/figures.json

ROUGE is that of `rouge-score` without its stemmer, chrF that of `sacrebleu` as it comes, exact match and token F1 those
of SQuAD's evaluation as `transformers` had it up to version 4, edit similarity that of `rapidfuzz`, and what is counted
of labels that of `scikit-learn`. A second run writes the same bytes.
"""

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy
from rapidfuzz.distance import Levenshtein
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import CHRF
from sklearn import metrics as sklearn_metrics
from transformers.data.metrics.squad_metrics import get_raw_scores

# What is right, one or several texts, and what came.
TEXTS = [
    (["The cat sat on the mat."], "The cat sat on the mat."),
    (["The cat sat on the mat."], "the cat, sat on a mat"),
    (["The cat sat on the mat."], "On the mat sat the cat."),
    (["The cat sat on the mat."], "A dog lay under the table."),
    (["the the the the"], "the the"),
    (["the cat the cat the dog"], "cat cat cat the dog dog"),
    ([""], ""),
    ([""], "something"),
    (["something"], ""),
    (["a"], "the"),
    (["..."], "!"),
    (["Denver Broncos", "the Broncos", "Broncos"], "the broncos!"),
    (["Denver Broncos", "Carolina Panthers"], "The Denver Panthers"),
    (["", "forty-two"], "42"),
    (["", "..."], ""),
    (["forty-two", "42"], "It is 42."),
    (["1,234.50 EUR"], "1234.50 EUR"),
    (["Café Nord in Malmö"], "cafe nord in Malmo"),
    (["Café Nord in Malmö"], "CAFÉ NORD, MALMÖ"),
    (["Die Straße ist gesperrt."], "Die Strasse ist gesperrt"),
    (["今日は天気がいいですね"], "今日は天気が悪いですね"),
    (["今日は天気がいいですね", "いい天気です"], "いい天気ですね"),
    (["Москва — столица России"], "Столица России — Москва"),
    (["🙂 fine 🙂🙂"], "fine 🙂"),
    (["naïve co-operation"], "naive cooperation"),
    (["it's the U.S.'s own"], "its the US own"),
    (["line one\nline two\n"], "line one line two"),
    (["  spread   out\twords "], "spread out words"),
    (["an apple a day", "the apple of the day"], "apple day"),
    (["x"], "xxxxxxxxxxxx"),
    (["abcdefghij"], "abcdefghij"),
    (["abcdefghij"], "jihgfedcba"),
    (["return sum(values) / len(values)"], "return sum(value) / len(value)"),
    (["for i in range(10):\n    print(i)"], "for j in range(10):\n    print(j)"),
    (["if a == b:"], "if a != b:"),
    (
        ["The council agreed on Monday to close the old bridge for repairs until the end of May, "
         "after engineers found cracks in two of its four arches."],
        "The old bridge is closed until May because engineers found cracks in its arches, the council said on Monday.",
    ),
    (
        ["Ann asks Bob to bring the tickets. Bob left them at work and will fetch them before seven.",
         "Bob has forgotten the tickets at work; he will get them by seven, as Ann needs them."],
        "Bob forgot the tickets at work. He will fetch them before seven and bring them to Ann.",
    ),
    (["one two three four five six seven eight nine ten"], "ten nine eight seven six five four three two one"),
    (["one two three four five"], "zero one two six three seven four five eight"),
    (["state-of-the-art e-mail 3.5"], "state of the art email 35"),
]


def texts():
    rouge = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    chrf = CHRF()
    cases = []
    for number, (right, given) in enumerate(TEXTS):
        scores = rouge.score_multi(right, given)
        example = SimpleNamespace(qas_id=number, answers=[{"text": text} for text in right])
        exact, f1 = get_raw_scores([example], {number: given})
        strip = [text.strip() for text in right]
        cases.append({
            "right": right,
            "given": given,
            "rouge_1": scores["rouge1"].fmeasure,
            "rouge_2": scores["rouge2"].fmeasure,
            "rouge_l": scores["rougeL"].fmeasure,
            "chrf": chrf.sentence_score(given, right).score / 100,
            "exact_match": exact[number],
            "token_f1": f1[number],
            "edit_similarity": max(Levenshtein.normalized_similarity(text, given.strip()) for text in strip),
        })
    # sacrebleu wants as many references of every text: a text that comes again does not change which is best.
    most = max(len(right) for right, _ in TEXTS)
    references = [[right[min(index, len(right) - 1)] for right, _ in TEXTS] for index in range(most)]
    corpus = chrf.corpus_score([given for _, given in TEXTS], references).score / 100
    return cases, corpus


def one_label(seed, labels, seen, rows):
    """Rows of one label each; of the labels only `seen` come as the right one, and the model is right by half."""
    chance = random.Random(seed)
    expected = [chance.choice(labels[:seen]) for _ in range(rows)]
    given = [label if chance.random() < 0.5 else chance.choice(labels) for label in expected]
    scores = [[round(chance.random(), 6) for _ in labels] for _ in expected]
    best_first = [[labels[index] for index in numpy.argsort([-score for score in row])] for row in scores]
    numbers = [labels.index(label) for label in expected]
    top = {
        f"top_{k}": sklearn_metrics.top_k_accuracy_score(numbers, scores, k=k, labels=range(len(labels)))
        for k in (3, 5)
    }
    each = sklearn_metrics.precision_recall_fscore_support(expected, given, labels=labels, zero_division=0)
    return {
        "labels": labels,
        "expected": expected,
        "given": given,
        "best_first": best_first,
        "accuracy": sklearn_metrics.accuracy_score(expected, given),
        "balanced_accuracy": balanced_accuracy(expected, given),
        "macro_f1": sklearn_metrics.f1_score(expected, given, average="macro", zero_division=0),
        "micro_f1": sklearn_metrics.f1_score(expected, given, average="micro", zero_division=0),
        **top,
        "each": [[float(figure) for figure in figures] for figures in each[:3]],
        "confusion": sklearn_metrics.confusion_matrix(expected, given, labels=labels).tolist(),
    }


def balanced_accuracy(expected, given):
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels that were given and never came
        return sklearn_metrics.balanced_accuracy_score(expected, given)


def several_labels(seed, labels, rows):
    chance = random.Random(seed)
    expected = [[int(chance.random() < 0.4) for _ in labels] for _ in range(rows)]
    given = [[flag if chance.random() < 0.7 else 1 - flag for flag in row] for row in expected]
    names = lambda rows: [[label for label, flag in zip(labels, row) if flag] for row in rows]
    return {
        "labels": labels,
        "expected": names(expected),
        "given": names(given),
        "accuracy": sklearn_metrics.accuracy_score(numpy.array(expected), numpy.array(given)),
        "macro_f1": sklearn_metrics.f1_score(expected, given, average="macro", zero_division=0),
        "micro_f1": sklearn_metrics.f1_score(expected, given, average="micro", zero_division=0),
    }


def main():
    cases, corpus = texts()
    labels = ["bug", "question", "praise", "order", "größe", "other"]
    figures = {
        "texts": cases,
        "chrf_of_all": corpus,
        "one_label": [one_label(1, labels, 6, 60), one_label(2, labels, 3, 25), one_label(3, labels, 1, 4)],
        "several_labels": [several_labels(4, labels[:4], 40), several_labels(5, labels[:2], 6)],
    }
    # A case a line.
    line = lambda value: json.dumps(value, ensure_ascii=False)
    cases = lambda value: "[\n" + ",\n".join(map(line, value)) + "\n]" if isinstance(value, list) else line(value)
    parts = [f"{line(name)}: {cases(value)}" for name, value in figures.items()]
    Path(sys.argv[1]).write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
