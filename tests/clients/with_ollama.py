"""The `ollama` client against a server: BASE_URL CHAT_MODEL EMBEDDING_MODEL."""

import sys

import ollama

base, chat_model, embedding_model = sys.argv[1:]
client = ollama.Client(host=base)
question = "What is 2 plus 2? Answer with one number."
greedy = {"temperature": 0, "num_predict": 16}

listed = [model.model for model in client.list().models]
assert chat_model in listed, listed

shown = client.show(chat_model)
assert shown.details.family and "completion" in shown.capabilities, shown

whole = client.generate(model=chat_model, prompt=question, options=greedy)
assert "4" in whole.response and whole.done and whole.eval_count > 0 and whole.total_duration > 0, whole
pieces = list(client.generate(model=chat_model, prompt=question, options=greedy, stream=True))
assert "".join(piece.response for piece in pieces) == whole.response, pieces
assert pieces[-1].done and pieces[-1].done_reason in ("stop", "length"), pieces[-1]

messages = [{"role": "user", "content": question}]
answer = client.chat(model=chat_model, messages=messages, options=greedy)
assert "4" in answer.message.content, answer
streamed = "".join(part.message.content for part in client.chat(model=chat_model, messages=messages, options=greedy, stream=True))
assert streamed == answer.message.content, (streamed, answer)

vectors = client.embed(model=embedding_model, input=["a cat sits", "stock prices fell"]).embeddings
assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1]) > 100
assert abs(sum(value * value for value in vectors[0]) - 1) < 1e-3

running = [model.model for model in client.ps().models]
assert chat_model in running, running

statuses = [progress.status for progress in client.pull(chat_model, stream=True)]
assert statuses[-1] == "success", statuses

client.copy(chat_model, "copied-by-a-test")
assert "copied-by-a-test" in [model.model.removesuffix(":latest") for model in client.list().models]
client.create(model="made-by-a-test", from_=chat_model, system="Answer in capital letters.", parameters={"temperature": 0})
assert client.show("made-by-a-test").parameters
for name in ("copied-by-a-test", "made-by-a-test"):
    client.delete(name)
assert not any("by-a-test" in model.model for model in client.list().models)

try:
    client.generate(model="no-such-model", prompt="x")
    raise AssertionError("an unknown model was taken")
except ollama.ResponseError as error:
    assert error.status_code == 404, error
try:
    client.generate(model=chat_model, prompt="x", options={"num_ctx": 10_000_000})
    raise AssertionError("a context larger than the model's was taken")
except ollama.ResponseError as error:
    assert error.status_code == 400 and "num_ctx" in error.error, error
print("ollama: all as expected")
