"""Writes what the tests of `crates/eval/src/statistics` compare with, by published packages.

Run from the repository's root; the same bytes come out each time:

    pip install numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0 scikit-learn==1.9.1
    eval_statistics.py             writes crates/eval/src/statistics/fixtures/published.json
    eval_statistics.py --check     writes nothing; fails where the file would change
"""

import json
import pathlib
import sys

import numpy
import scipy
import sklearn
import statsmodels
from scipy import optimize, stats
from sklearn import metrics
from statsmodels.stats import contingency_tables, inter_rater, multitest, proportion

OUTPUT = pathlib.Path("crates/eval/src/statistics/fixtures/published.json")

LEVELS = [0.9, 0.95, 0.995]
SHARES = [(0, 1), (1, 1), (0, 20), (1, 20), (19, 20), (20, 20), (45, 50), (90, 100), (173, 200), (499, 500), (9_150, 10_000)]
SPLITS = [(0, 0), (0, 1), (3, 3), (2, 9), (12, 5), (0, 8), (40, 60), (300, 250)]
FAMILIES = [[0.01], [0.01, 0.04, 0.03], [0.5, 0.5, 0.5], [0.2, 0.001, 0.04, 0.001, 0.9], [0.0, 1.0]]


def proportions():
    for right, count in SHARES:
        for level in LEVELS:
            error = 1 - level
            wilson = stats.binomtest(right, count).proportion_ci(level, method="wilson")
            exact = proportion.proportion_confint(right, count, alpha=error, method="beta")
            yield {
                "right": right,
                "all": count,
                "level": level,
                "wilson": [wilson.low, wilson.high],
                "clopper_pearson": [0.0 if right == 0 else float(exact[0]), 1.0 if right == count else float(exact[1])],
                "mid_p": [mid_p(right, count, error), 1 - mid_p(count - right, count, error)],
            }


def mid_p(right, count, error):
    """The rate at which more than was seen, and half of what was seen, have the probability of a tail."""
    if right == 0:
        return 0.0
    tail = lambda rate: stats.binom.sf(right, count, rate) + stats.binom.pmf(right, count, rate) / 2 - error / 2
    return float(optimize.brentq(tail, 0, 1, xtol=1e-15, rtol=1e-15))


def mcnemars():
    for first, second in SPLITS:
        test = contingency_tables.mcnemar([[10, first], [second, 10]], exact=True)
        yield {"first": first, "second": second, "probability": min(1.0, float(test.pvalue))}


def holms():
    for family in FAMILIES:
        yield {"given": family, "adjusted": multitest.multipletests(family, method="holm")[1].tolist()}


def confidences():
    """Rounded, so that some are tied."""
    random = numpy.random.default_rng(6)
    for count, decimals in [(12, 1), (60, 2), (300, 6)]:
        confidence = random.beta(4, 2, count).round(decimals)
        right = random.random(count) < confidence ** 1.5
        yield {
            "confidence": confidence.tolist(),
            "right": right.tolist(),
            "area_under_curve": float(metrics.roc_auc_score(right, confidence)),
            "brier": float(metrics.brier_score_loss(right, confidence)),
        }


def kappas():
    random = numpy.random.default_rng(7)
    for count, labels in [(30, 2), (80, 3), (200, 5)]:
        one = random.integers(0, labels, count)
        other = numpy.where(random.random(count) < 0.6, one, random.integers(0, labels, count))
        # Every label, so that the table has the same size everywhere.
        one[:labels] = other[:labels] = range(labels)
        case = {"labels": labels, "pairs": [[int(a), int(b)] for a, b in zip(one, other)]}
        for name, weights in [("equal", None), ("linear", "linear"), ("quadratic", "quadratic")]:
            case[name] = float(metrics.cohen_kappa_score(one, other, weights=weights))
        table = metrics.confusion_matrix(one, other)
        assert abs(inter_rater.cohens_kappa(table).kappa - case["equal"]) < 1e-12
        yield case


def quantiles():
    """Ranks of the order statistics, counted from 0; none where the values are too few."""
    for count, share in [(5, 0.5), (20, 0.5), (100, 0.5), (100, 0.95), (1000, 0.95), (1000, 0.99)]:
        below = [rank for rank in range(1, count + 1) if stats.binom.cdf(rank - 1, count, share) <= 0.025]
        above = [rank for rank in range(1, count + 1) if stats.binom.sf(rank - 1, count, share) <= 0.025]
        yield {
            "count": count,
            "share": share,
            "low": max(below) - 1 if below else None,
            "high": min(above) - 1 if above else None,
        }


def main():
    made = {
        "packages": {module.__name__: module.__version__ for module in (numpy, scipy, sklearn, statsmodels)},
        "proportions": list(proportions()),
        "mcnemar": list(mcnemars()),
        "holm": list(holms()),
        "confidences": list(confidences()),
        "kappa": list(kappas()),
        "quantiles": list(quantiles()),
    }
    lines = []
    for name, cases in made.items():
        if isinstance(cases, dict):
            lines.append(f"  {json.dumps(name)}: {json.dumps(cases)}")
        else:
            rows = ",\n".join(f"    {json.dumps(case)}" for case in cases)
            lines.append(f"  {json.dumps(name)}: [\n{rows}\n  ]")
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if "--check" in sys.argv[1:]:
        sys.exit(None if OUTPUT.read_text() == text else f"{OUTPUT} would change")
    OUTPUT.write_text(text)


if __name__ == "__main__":
    main()
