"""Times Hugging Face transformers on a model shape with random weights: one decode step at a batch and a context.

python3 transformers_shapes.py SHAPE_FOLDER [--batch 1] [--context 512] [--compile] [--layers N]
"""
import argparse
import statistics
import time

import torch
from transformers import AutoConfig, AutoModelForCausalLM, StaticCache

parser = argparse.ArgumentParser()
parser.add_argument("shape")
parser.add_argument("--batch", type=int, default=1)
parser.add_argument("--context", type=int, default=512)
parser.add_argument("--steps", type=int, default=30)
parser.add_argument("--compile", action="store_true")
parser.add_argument("--experts", default=None, help="implementation of the experts: grouped_mm, batched_mm or eager")
parser.add_argument("--layers", type=int, default=None)
arguments = parser.parse_args()

torch.set_grad_enabled(False)
config = AutoConfig.from_pretrained(arguments.shape)
if arguments.layers:
    config.num_hidden_layers = arguments.layers
options = {"experts_implementation": arguments.experts} if arguments.experts else {}
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda"):
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, **options).eval()
print("parameters", sum(p.numel() for p in model.parameters()) / 1e9, "billion on", torch.cuda.get_device_name(), flush=True)
cache = StaticCache(config=config, max_cache_len=arguments.context + arguments.steps + 16)
prompt = torch.randint(0, config.vocab_size, (arguments.batch, arguments.context), device="cuda")
for start in range(0, arguments.context, 512):
    end = min(arguments.context, start + 512)
    model(prompt[:, start:end], past_key_values=cache, cache_position=torch.arange(start, end, device="cuda"), use_cache=True, logits_to_keep=1)
torch.cuda.synchronize()


def step(token, position):
    return model(token, past_key_values=cache, cache_position=position, use_cache=True).logits[:, -1].argmax(-1, keepdim=True)


run = torch.compile(step, mode="max-autotune-no-cudagraphs" if arguments.compile and arguments.batch > 64 else "reduce-overhead", fullgraph=False) if arguments.compile else step
token = prompt[:, -1:].clone()
times = []
for i in range(arguments.steps):
    position = torch.tensor([arguments.context + i], device="cuda")
    torch.cuda.synchronize()
    begin = time.perf_counter()
    token = run(token, position).clone()
    torch.cuda.synchronize()
    times.append(time.perf_counter() - begin)
later = times[len(times) // 2:]
print(f"transformers, batch {arguments.batch}, context {arguments.context}, compiled {arguments.compile}: median {statistics.median(later) * 1000:.2f} ms a step (first {times[0]:.1f} s)")
