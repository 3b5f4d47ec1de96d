"""The `openai` client against a server: BASE_URL CHAT_MODEL EMBEDDING_MODEL [TOOL_MODEL]."""

import json
import sys
import time

import openai

base, chat_model, embedding_model, *tool_models = sys.argv[1:]
client = openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)
question = [{"role": "user", "content": "What is 2 plus 2? Answer with one number."}]


def models():
    ids = [model.id for model in client.models.list()]
    assert chat_model in ids, ids
    assert client.models.retrieve(chat_model).id == chat_model


def chat():
    answer = client.chat.completions.create(model=chat_model, messages=question, max_completion_tokens=16, temperature=0)
    assert "4" in answer.choices[0].message.content, answer
    assert answer.choices[0].finish_reason in ("stop", "length"), answer
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and usage.prompt_tokens > 5, usage
    again = client.chat.completions.create(model=chat_model, messages=question, max_completion_tokens=16, temperature=0)
    assert again.choices[0].message.content == answer.choices[0].message.content
    return answer.choices[0].message.content


def stream(whole):
    chunks = list(
        client.chat.completions.create(
            model=chat_model,
            messages=question,
            max_completion_tokens=16,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole, (text, whole)
    assert chunks[-1].usage.completion_tokens > 0 and chunks[-1].choices == [], chunks[-1]
    assert any(chunk.choices and chunk.choices[0].finish_reason for chunk in chunks)


def several():
    answer = client.chat.completions.create(
        model=chat_model, messages=question, max_completion_tokens=8, n=3, seed=7, temperature=1, logprobs=True, top_logprobs=2
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    first = answer.choices[0].logprobs.content[0]
    assert len(first.top_logprobs) == 2 and first.logprob <= 0, first
    assert bytes(first.bytes).decode() == first.token, first


def completions():
    text = "The capital of France is Paris."
    answer = client.completions.create(
        model=chat_model, prompt=text, max_tokens=0, echo=True, logprobs=1, temperature=0
    ).choices[0]
    assert answer.text == text, answer
    logprobs = answer.logprobs
    assert "".join(logprobs.tokens) == text and logprobs.token_logprobs[0] is None, logprobs
    assert all(value <= 0 for value in logprobs.token_logprobs[1:]), logprobs
    assert [text[at:at + len(token)] for at, token in zip(logprobs.text_offset, logprobs.tokens)] == logprobs.tokens
    both = client.completions.create(model=chat_model, prompt=["One two three", "A B C"], max_tokens=4, temperature=0)
    assert [choice.index for choice in both.choices] == [0, 1], both
    pieces = client.completions.create(model=chat_model, prompt="One two three", max_tokens=4, temperature=0, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == both.choices[0].text


def responses():
    answer = client.responses.create(model=chat_model, input=question, max_output_tokens=16, temperature=0)
    assert "4" in answer.output_text, answer
    events = list(
        client.responses.create(model=chat_model, input=question, max_output_tokens=16, temperature=0, stream=True)
    )
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == answer.output_text, (text, answer.output_text)
    assert events[0].type == "response.created", events[0]
    assert events[-1].type in ("response.completed", "response.incomplete"), events[-1]


def embeddings():
    answer = client.embeddings.create(model=embedding_model, input=["a cat sits", "a kitten sits", "stock prices fell"])
    cat, kitten, prices = (row.embedding for row in answer.data)
    product = lambda one, other: sum(a * b for a, b in zip(one, other))
    assert abs(product(cat, cat) - 1) < 1e-3
    assert product(cat, kitten) > product(cat, prices), (product(cat, kitten), product(cat, prices))
    floats = client.embeddings.create(model=embedding_model, input="a cat sits", encoding_format="float")
    assert max(abs(a - b) for a, b in zip(floats.data[0].embedding, cat)) < 1e-6


def refusals():
    try:
        client.chat.completions.create(model="no-such-model", messages=question)
        raise AssertionError("an unknown model was taken")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found" and "GET /v1/models" in error.message, error
    try:
        client.chat.completions.create(model=chat_model, messages=question, extra_body={"no_such_field": 1})
        raise AssertionError("an unknown field was taken")
    except openai.BadRequestError as error:
        assert "no_such_field" in error.message, error
    try:
        client.chat.completions.create(model=chat_model, messages=[{"role": "user", "content": "word " * 20000}])
        raise AssertionError("a prompt beyond the context was taken")
    except openai.BadRequestError as error:
        assert error.code == "context_length_exceeded" and "tokens" in error.message, error
    try:
        client.chat.completions.create(model=chat_model, messages=question, temperature=-1)
        raise AssertionError("a temperature below zero was taken")
    except openai.BadRequestError as error:
        assert error.param == "temperature" and "from 0 up" in error.message, error


def batches(whole):
    def line(custom_id, **body):
        request = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(request) + "\n"

    good = dict(model=chat_model, messages=question, max_completion_tokens=16, temperature=0)
    text = "".join(line(f"good-{number}", **good) for number in range(3)) + line("bad", **{**good, "n": 0})
    file = client.files.create(file=("requests.jsonl", text.encode()), purpose="batch")
    assert file.bytes == len(text) and file.filename == "requests.jsonl" and file.purpose == "batch", file
    assert client.files.retrieve(file.id) == file and file in list(client.files.list(purpose="batch"))
    assert client.files.content(file.id).text == text
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"for": "test"}
    )
    assert batch.status == "validating" and batch.metadata == {"for": "test"}, batch
    end = time.monotonic() + 120
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() < end, batch
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    counts = batch.request_counts
    assert (batch.status, counts.total, counts.completed, counts.failed) == ("completed", 4, 3, 1), batch
    assert batch.id in [one.id for one in client.batches.list()]
    answered = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    assert [line["custom_id"] for line in answered] == ["good-0", "good-1", "good-2"], answered
    for answer in answered:
        message = answer["response"]["body"]["choices"][0]["message"]
        assert answer["response"]["status_code"] == 200 and message["content"] == whole, answer
    failed = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    assert [line["response"]["body"]["error"]["param"] for line in failed] == ["n"], failed
    try:
        client.batches.cancel(batch.id)
        raise AssertionError("it is completed")
    except openai.BadRequestError as error:
        assert "nothing is left to cancel" in error.message, error
    wrong = client.files.create(file=("wrong.jsonl", b"no request"), purpose="batch")
    refused = client.batches.create(
        input_file_id=wrong.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    while refused.status != "failed":
        assert time.monotonic() < end, refused
        time.sleep(0.2)
        refused = client.batches.retrieve(refused.id)
    assert (refused.errors.data[0].line, refused.errors.data[0].code) == (1, "invalid_json_line"), refused
    for kept in (file.id, wrong.id, batch.output_file_id, batch.error_file_id):
        assert client.files.delete(kept).deleted
    assert client.files.list().data == []


def tools(model):
    weather = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    ask = dict(
        model=model,
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[weather],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        temperature=0,
        max_completion_tokens=64,
    )
    answer = client.chat.completions.create(**ask).choices[0]
    assert answer.finish_reason == "tool_calls", answer
    call = answer.message.tool_calls[0]
    assert call.function.name == "get_weather" and "Paris" in call.function.arguments, call
    arguments = ""
    for chunk in client.chat.completions.create(**ask, stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            arguments += part.function.arguments or ""
    assert arguments == call.function.arguments, (arguments, call)
    history = ask["messages"] + [
        answer.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 21, "sky": "clear"}'},
    ]
    final = client.chat.completions.create(
        model=model, messages=history, tools=[weather], tool_choice="none", temperature=0, max_completion_tokens=48
    )
    assert "21" in final.choices[0].message.content, final


models()
answer = chat()
stream(answer)
batches(answer)
several()
completions()
responses()
embeddings()
refusals()
for model in tool_models:
    tools(model)
print("openai: all as expected")
