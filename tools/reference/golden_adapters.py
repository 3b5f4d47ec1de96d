"""Makes the goldens under crates/model/testdata-adapters: LoRA adapters with seeded random weights, and the logits of their
bases with them.

The bases are the checkpoints of golden_models.py, the texts the first of each. An adapter is made and saved by PEFT and,
where its settings can be said in a GGUF file, converted by llama.cpp's own script (never by Bantam); the logits are those
of PEFT in f32 at every position. Run it with the versions of requirements.txt:

    python golden_adapters.py --llama-cpp <unpacked llama_cpp_python>/vendor/llama.cpp --out ../../crates/model

Both halves of every pair are random: PEFT starts the second as zeros, with which an adapter does nothing. Weights are
rounded to the type that they are stored in before anything is computed.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# name: (base, settings, type of the stored weights, whether llama.cpp's script can say the same)
CASES = {
    "llama-plain": ("llama-gqa-untied", dict(r=4, lora_alpha=6, target_modules=ALL), torch.float32, True),
    "llama-patterns": (
        "llama-gqa-untied",
        dict(
            r=4,
            lora_alpha=8,
            target_modules="all-linear",
            rank_pattern={"q_proj": 6, "layers.1.mlp.down_proj": 3, r"layers\.[0-9]+\.mlp\.up_proj": 2},
            alpha_pattern={"^model.layers.0.self_attn.k_proj": 3, "v_proj": 5},
        ),
        torch.float16,
        False,
    ),
    # Heads that are wider than the model's width divided by their number.
    "llama-wide-heads": (
        "llama-tied-llama3-rope",
        dict(r=3, lora_alpha=5, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]),
        torch.bfloat16,
        True,
    ),
    "phi3-fused": (
        "phi3-window",
        dict(r=5, lora_alpha=7, target_modules=r".*\.(qkv|o|gate_up|down)_proj"),
        torch.float32,
        True,
    ),
    "qwen2-stabilised": (
        "qwen2-tied",
        dict(r=8, lora_alpha=4, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"], layers_to_transform=[1]),
        torch.bfloat16,
        False,
    ),
}


def adapted(base, settings, element, seed):
    """The base with an adapter whose weights are random in both halves."""
    base._hf_peft_config_loaded = False
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_" in name:
                noise = torch.randn(parameter.shape, generator=generator)
                value = noise / math.sqrt(parameter.shape[1])
                parameter.copy_(value.to(element).to(torch.float32))
    return model


def save(model, base_name, element, folder):
    """A folder as users get it: the configuration and the tensors."""
    model.peft_config["default"].base_model_name_or_path = base_name
    model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    weights = folder / "adapter_model.safetensors"
    save_file({name: t.to(element).contiguous() for name, t in load_file(weights).items()}, weights, {"format": "pt"})
    for extra in folder.iterdir():
        if extra.name not in ("adapter_config.json", "adapter_model.safetensors"):
            extra.unlink()


def convert(llama_cpp, base, folder, element):
    names = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}
    script = llama_cpp / "convert_lora_to_gguf.py"
    out = ["--outfile", str(folder / "adapter.gguf"), "--outtype", names[element]]
    subprocess.run([sys.executable, str(script), "--base", str(base), *out, str(folder)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder that holds testdata")
    parser.add_argument("--only", help="one case by name")
    arguments = parser.parse_args()
    for seed, (name, (base_name, settings, element, converts)) in enumerate(CASES.items()):
        if arguments.only not in (None, name):
            continue
        base_folder = arguments.out / "testdata" / base_name
        ids = json.loads((base_folder / "texts.json").read_text())[0]
        base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32, attn_implementation="eager").eval()
        with torch.no_grad():
            plain = base(torch.tensor([ids]), use_cache=False).logits[0].numpy()
            model = adapted(base, settings, element, 2000 + seed)
            golden = model(torch.tensor([ids]), use_cache=False).logits[0].numpy()
        target = arguments.out / "testdata-adapters" / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        save(model, base_name, element, target)
        if converts:
            convert(arguments.llama_cpp, base_folder, target, element)
        golden.astype("<f4").tofile(target / "logits.f32")
        (target / "base.txt").write_text(base_name + "\n")
        moved = np.abs(golden - plain)
        print(f"{name}: {len(ids)} tokens, logits moved by {moved.mean():.2f}, at most {moved.max():.2f}")


if __name__ == "__main__":
    main()
