"""Doubles the layers of a language model without changing what it computes: deepen.py MODEL TARGET (two Hugging Face folders)

Behind each layer comes a copy of it whose last matrices, of attention and of the feed-forward network, are zero: it adds nothing until it is trained.
"""
import json
import pathlib
import shutil
import struct
import sys

source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True, exist_ok=True)
for file in source.glob("tokenizer*"):
    shutil.copyfile(file, target / file.name)
config = json.loads((source / "config.json").read_text())
config["num_hidden_layers"] *= 2
config.pop("layer_types", None)
config.pop("max_window_layers", None)
(target / "config.json").write_text(json.dumps(config, indent=2))

raw = (source / "model.safetensors").read_bytes()
size = struct.unpack("<Q", raw[:8])[0]
tensors = []  # name, description, bytes
for name, found in json.loads(raw[8:8 + size]).items():
    if name == "__metadata__":
        continue
    begin, end = found["data_offsets"]
    data = raw[8 + size + begin:8 + size + end]
    if not name.startswith("model.layers."):
        tensors.append((name, found, data))
        continue
    _, _, layer, rest = name.split(".", 3)
    zero = rest in ("self_attn.o_proj.weight", "mlp.down_proj.weight")
    tensors.append((f"model.layers.{2 * int(layer)}.{rest}", found, data))
    tensors.append((f"model.layers.{2 * int(layer) + 1}.{rest}", found, bytes(len(data)) if zero else data))
head, place = {"__metadata__": {"format": "pt"}}, 0
for name, found, data in tensors:
    head[name] = {"dtype": found["dtype"], "shape": found["shape"], "data_offsets": [place, place + len(data)]}
    place += len(data)
head = json.dumps(head).encode()
head += b" " * (-len(head) % 8)
with open(target / "model.safetensors", "wb") as out:
    out.write(struct.pack("<Q", len(head)) + head)
    for _, _, data in tensors:
        out.write(data)
