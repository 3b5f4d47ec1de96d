#!/usr/bin/env python3
"""Writes what others say of encoders: small goldens of every family, and the vectors of a real model.

    pip install torch==2.15.0 transformers==5.23.0 sentence-transformers==6.2.0 safetensors==0.8.0 gguf==0.19.0 numpy==2.4.6
    encoders.py goldens                  # crates/model/testdata_encoders/
    encoders.py sentences MINILM_FOLDER  # tests/embeddings/minilm.f32
    encoders.py gguf MINILM_FOLDER MINILM.gguf  # tests/embeddings/minilm_q3.f16

`goldens` builds each model of transformers from a small configuration with seeded random weights, saves it as
safetensors (in the names of the published checkpoints) and as GGUF (in llama.cpp's names), and computes in float32 what
it gives for lists of token ids: unit vectors, or one score for each pair.

`sentences` embeds tests/embeddings/sentences.txt with sentence-transformers. MINILM_FOLDER holds config.json,
tokenizer.json and model.safetensors of all-MiniLM-L6-v2 (any file name that ends in .safetensors will do).

`gguf` embeds them with transformers in float32 on the dequantised weights of a GGUF file of the same model: what the file
itself says, without an engine's rounding. It also prints how far that is from minilm.f32.
"""
import json
import pathlib
import shutil
import sys
import tempfile

import numpy
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "crates" / "model" / "testdata_encoders"
SENTENCES = ROOT / "tests" / "embeddings"
VOCABULARY = 60

BERT = dict(
    vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
    max_position_embeddings=40, type_vocab_size=2, layer_norm_eps=1e-12, attn_implementation="eager",
)

# llama.cpp's names, by ours of transformers; from gguf-py's tensor_mapping.py.
BERT_NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "encoder.layer.{}.attention.self.query": "blk.{}.attn_q",
    "encoder.layer.{}.attention.self.key": "blk.{}.attn_k",
    "encoder.layer.{}.attention.self.value": "blk.{}.attn_v",
    "encoder.layer.{}.attention.output.dense": "blk.{}.attn_output",
    "encoder.layer.{}.attention.output.LayerNorm": "blk.{}.attn_output_norm",
    "encoder.layer.{}.intermediate.dense": "blk.{}.ffn_up",
    "encoder.layer.{}.output.dense": "blk.{}.ffn_down",
    "encoder.layer.{}.output.LayerNorm": "blk.{}.layer_output_norm",
    "pooler.dense": "cls",
    "classifier": "cls.output",
}
NOMIC_NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.token_type_embeddings": "token_types",
    "emb_ln": "token_embd_norm",
    "encoder.layers.{}.attn.Wqkv": "blk.{}.attn_qkv",
    "encoder.layers.{}.attn.out_proj": "blk.{}.attn_output",
    "encoder.layers.{}.norm1": "blk.{}.attn_output_norm",
    "encoder.layers.{}.mlp.fc11": "blk.{}.ffn_up",
    "encoder.layers.{}.mlp.fc12": "blk.{}.ffn_gate",
    "encoder.layers.{}.mlp.fc2": "blk.{}.ffn_down",
    "encoder.layers.{}.norm2": "blk.{}.layer_output_norm",
}


def randomize(model, seed):
    """Weights large enough that every part of a layer shows in the result."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            is_norm = "LayerNorm" in name or "layernorm" in name
            weight.copy_(1 + 0.2 * noise if is_norm and name.endswith("weight") else 0.25 * noise)
    return model.eval()


def texts(generator, lengths, pairs):
    """Ids, and where the second text of a pair begins."""
    rows = []
    for length in lengths:
        ids = torch.randint(0, VOCABULARY, (length,), generator=generator).tolist()
        second = length // 2 if pairs else length
        rows.append({"ids": ids, "types": [0] * second + [1] * (length - second)})
    return rows


def run(model, rows, pooling):
    vectors = []
    for row in rows:
        with torch.no_grad():
            out = model(input_ids=torch.tensor([row["ids"]]), token_type_ids=torch.tensor([row["types"]]))
        if pooling == "score":
            vectors.append(out.logits[0])
            continue
        hidden = out.last_hidden_state[0]
        vector = hidden[0] if pooling == "cls" else hidden.mean(0)
        vectors.append(vector / vector.norm())
    return torch.stack(vectors)


def gguf(folder, architecture, config, names, tensors, pooling, extra):
    import gguf

    writer = gguf.GGUFWriter(str(folder / "model.gguf"), architecture)
    writer.add_context_length(config["context"])
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type({"mean": gguf.PoolingType.MEAN, "cls": gguf.PoolingType.CLS, "score": gguf.PoolingType.RANK}[pooling])
    extra(writer)
    for name, tensor in tensors.items():
        stem, kind = name.removeprefix("bert.").rsplit(".", 1)
        layer = next((part for part in stem.split(".") if part.isdigit()), "")
        pattern = stem.replace(f".{layer}.", ".{}.") if layer else stem
        if pattern not in names:
            print("left out:", name)
            continue
        writer.add_tensor(names[pattern].format(layer) + "." + kind, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def golden(name, model, pooling, seed, lengths, config=None, context=40, names=BERT_NAMES, architecture="bert", extra=lambda writer: None):
    from safetensors.torch import load_file

    folder = GOLDENS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    randomize(model, seed)
    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    gguf(folder, architecture, {"context": context}, names, tensors, pooling, extra)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    if pooling != "score":
        modules = [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ]
        (folder / "modules.json").write_text(json.dumps(modules, indent=1) + "\n")
        (folder / "1_Pooling").mkdir()
        modes = {"word_embedding_dimension": 32, "pooling_mode_cls_token": pooling == "cls",
                 "pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_max_tokens": False,
                 "pooling_mode_mean_sqrt_len_tokens": False}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes, indent=1) + "\n")
    rows = texts(torch.Generator().manual_seed(seed + 100), lengths, pooling == "score")
    (folder / "texts.json").write_text(json.dumps(rows) + "\n")
    run(model, rows, pooling).numpy().astype("<f4").tofile(folder / "expected.f32")
    print(name, [path.name + ":" + str(path.stat().st_size) for path in sorted(folder.iterdir())])


def goldens():
    import transformers

    lengths = [1, 2, 7, 16, 33, 40]
    bert = transformers.BertModel(transformers.BertConfig(**BERT), add_pooling_layer=False)
    golden("bert-mean", bert, "mean", 1, lengths)
    config = transformers.BertConfig(**BERT | {"hidden_act": "gelu_new"})
    # Its pooler is not read: the vector is that of the first token before it.
    golden("bert-cls", transformers.BertModel(config), "cls", 2, lengths)
    judge = transformers.BertForSequenceClassification(transformers.BertConfig(**BERT, num_labels=1))
    golden("bert-score", judge, "score", 3, [3, 8, 21, 40])

    # The published configuration has other keys than the class of transformers that reads it.
    config = transformers.NomicBertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=64, attn_implementation="eager",
    )
    published = {
        "architectures": ["NomicBertModel"], "model_type": "nomic_bert", "activation_function": "swiglu", "causal": False,
        "layer_norm_epsilon": 1e-12, "max_trained_positions": 64, "mlp_fc1_bias": False, "mlp_fc2_bias": False,
        "n_embd": 32, "n_head": 4, "n_inner": 48, "n_layer": 2, "n_positions": 256, "prenorm": False,
        "qkv_proj_bias": False, "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None, "rotary_scaling_factor": None, "type_vocab_size": 2, "use_rms_norm": False,
        "vocab_size": VOCABULARY,
    }
    nomic = lambda: transformers.NomicBertModel(config, add_pooling_layer=False)
    rope = lambda writer: writer.add_rope_freq_base(1000.0)
    lengths = lengths + [64]
    golden("nomic-bert", nomic(), "mean", 4, lengths, published, 64, NOMIC_NAMES, "nomic-bert", rope)
    # The same with the configuration that transformers itself writes.
    golden("nomic-bert-native", nomic(), "mean", 5, lengths, None, 64, NOMIC_NAMES, "nomic-bert", rope)


def sentences(folder):
    import sentence_transformers
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    lines = (SENTENCES / "sentences.txt").read_text().splitlines()
    assert len(lines) == 100, len(lines)
    with tempfile.TemporaryDirectory() as copy:
        for path in pathlib.Path(folder).iterdir():
            name = "model.safetensors" if path.suffix == ".safetensors" else path.name
            if name in ("model.safetensors", "config.json", "tokenizer.json"):
                shutil.copy(path, pathlib.Path(copy) / name)
        transformer = Transformer(
            copy, max_seq_length=512, model_kwargs={"dtype": torch.float32, "attn_implementation": "eager"},
            # A user's text is never read as a special token in Bantam.
            processor_kwargs={"split_special_tokens": True},
        )
        pooling = Pooling(transformer.get_embedding_dimension(), "mean")
        model = sentence_transformers.SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")
        vectors = model.encode(lines, batch_size=1, convert_to_numpy=True)
    assert numpy.allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    vectors.astype("<f4").tofile(SENTENCES / "minilm.f32")
    print(vectors.shape, vectors[0, :4])


def gguf_sentences(folder, path):
    import gguf
    import transformers

    lines = (SENTENCES / "sentences.txt").read_text().splitlines()
    ours = {theirs: name for name, theirs in BERT_NAMES.items()}
    weights = {}
    for tensor in gguf.GGUFReader(path).tensors:
        stem, kind = tensor.name.rsplit(".", 1)
        layer = next((part for part in stem.split(".") if part.isdigit()), "")
        pattern = stem.replace(f".{layer}.", ".{}.") if layer else stem
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype("<f4")
        weights[ours[pattern].format(layer) + "." + kind] = torch.tensor(values)
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    model.load_state_dict(weights)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = []
    for line in lines:
        ids = tokenizer(line, truncation=True, max_length=512, padding=False, split_special_tokens=True).input_ids
        rows.append({"ids": ids, "types": [0] * len(ids)})
    vectors = run(model, rows, "mean").numpy()
    vectors.astype("<f2").tofile(SENTENCES / "minilm_q3.f16")
    half = numpy.fromfile(SENTENCES / "minilm.f32", "<f4").reshape(vectors.shape)
    cosines = (vectors * half).sum(1)
    print("cosine to minilm.f32: mean", cosines.mean(), "least", cosines.min())


if __name__ == "__main__":
    {"goldens": goldens, "sentences": sentences, "gguf": gguf_sentences}[sys.argv[1]](*sys.argv[2:])
