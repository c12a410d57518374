"""Times Hugging Face transformers on a model shape with random weights: one decode step at each batch and its context.

python3 transformers_shapes.py SHAPE_FOLDER [--batch 1 10] [--context 512 2048] [--compile] [--layers N]
"""
import argparse
import gc
import statistics
import time

import torch
from transformers import AutoConfig, AutoModelForCausalLM, StaticCache

parser = argparse.ArgumentParser()
parser.add_argument("shape")
parser.add_argument("--batch", type=int, nargs="+", default=[1])
parser.add_argument("--context", type=int, nargs="+", default=[512], help="one for each batch")
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
print("parameters", sum(p.numel() for p in model.parameters()) / 1e9, "billion on", torch.cuda.get_device_name(), "experts by", getattr(model.config, "_experts_implementation", None), flush=True)


def measure(batch, context):
    cache = StaticCache(config=config, max_cache_len=context + arguments.steps + 16)
    prompt = torch.randint(0, config.vocab_size, (batch, context), device="cuda")
    for start in range(0, context, 512):
        end = min(context, start + 512)
        model(prompt[:, start:end], past_key_values=cache, cache_position=torch.arange(start, end, device="cuda"), use_cache=True, logits_to_keep=1)
    torch.cuda.synchronize()

    def step(token, position):
        return model(token, past_key_values=cache, cache_position=position, use_cache=True).logits[:, -1].argmax(-1, keepdim=True)

    run = torch.compile(step, mode="max-autotune-no-cudagraphs" if batch > 64 else "reduce-overhead", fullgraph=False) if arguments.compile else step
    token = prompt[:, -1:].clone()
    times = []
    for i in range(arguments.steps):
        position = torch.tensor([context + i], device="cuda")
        torch.cuda.synchronize()
        begin = time.perf_counter()
        token = run(token, position).clone()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    later = times[len(times) // 2:]
    print(f"transformers, batch {batch}, context {context}, compiled {arguments.compile}: median {statistics.median(later) * 1000:.2f} ms a step (first {times[0]:.1f} s)", flush=True)


for batch, context in zip(arguments.batch, arguments.context, strict=True):
    measure(batch, context)
    # What was compiled for one batch is not taken for the next, nor recompiled with sizes left open.
    torch._dynamo.reset()
    gc.collect()
    torch.cuda.empty_cache()
