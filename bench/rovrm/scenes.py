"""Fills the table of the world of scenes (bench/results/rovrm.md), one row after another, many at once.

usage: scenes.py XDS_TRAIN WORLD OUT LIBTORCH SECONDS SEEDS
  XDS_TRAIN  the trainer          WORLD    folder that `xds scenes --pairs 5000 --held 300 --size 48` wrote
  OUT        folder for runs      LIBTORCH folder of a libtorch with CUDA, or "" for the trainer's own
  SECONDS    no run is begun after so many; rows that rows.jsonl in OUT holds are not run again
"""
import json, os, random, subprocess, sys, threading, time

trainer, world, out, libtorch, seconds, seeds = sys.argv[1:7]
begun, lock = time.time(), threading.Lock()
budgets, epochs, rate = (1000, 300, 5000, 100), {100: 20, 300: 10, 1000: 5, 5000: 2}, "1e-3"
methods = {"ot": "full (V2)", "random": "random selection", "all": "without selection", "less": "LESS", "distance": "V1"}
common = ["--max_length", "256", "--logging_steps", "50", "--adam_beta2", "0.95", "--save_total_limit", "1", "--resume_from_checkpoint", "true"]
env = dict(os.environ, OMP_NUM_THREADS="1")  # many run at once
os.makedirs(out, exist_ok=True)
table = os.path.join(out, "rows.jsonl")
done = {(row["row"], row["budget"], row["seed"]) for row in map(json.loads, open(table))} if os.path.exists(table) else set()


def run(arguments, name):
    if time.time() - begun > float(seconds):
        raise TimeoutError(name)
    if libtorch and arguments[0] != "rovrm":
        arguments = arguments + ["--libtorch", libtorch]
    result = subprocess.run([trainer] + arguments, env=env, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{name}: {result.stderr[-600:]}")


def lines(name):
    return open(os.path.join(world, name)).read().splitlines()


def write(name, rows):  # beside the images, which they name
    path = os.path.join(world, name)
    open(path, "w").write("\n".join(rows) + "\n")
    return path


def reward(model, data, folder, seed, many, test=()):
    run(["bt", "--model_name_or_path", model, "--train_data", data, "--output_dir", folder, "--learning_rate", rate, "--per_device_train_batch_size", "32",
         "--num_train_epochs", str(many), "--seed", str(seed)] + (["--test_data", *test] if test else []) + common, folder)


def visual(model, name, seed):
    for budget in budgets:
        if (name, budget, seed) in done:
            continue
        folder = os.path.join(out, f"{name}-{budget}-{seed}".replace(" ", "_"))
        reward(model, f"{world}/visual.{budget}.{seed}.jsonl", folder, seed, epochs[budget], (f"pairs={world}/visual.test.jsonl", f"best-of-n={world}/samples.jsonl"))
        pairs, best = map(json.loads, lines(os.path.join(os.path.abspath(folder), "test.jsonl"))[:2])
        row = {"row": name, "budget": budget, "seed": seed, "accuracy": pairs["accuracy"], "low": pairs["low"], "high": pairs["high"],
               "coverage": best["picked"]["coverage"], "hallucination": best["picked"]["hallucination"],
               "coverage_all": best["all"]["coverage"], "hallucination_all": best["all"]["hallucination"]}
        with lock:
            open(table, "a").write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def whole(method, seed):
    folder, keep = f"{out}/{method}-{seed}", "" if method == "all" else ", keep: 1000"
    recipe = os.path.join(out, f"{method}-{seed}.yaml")
    open(recipe, "w").write(f"""model_name_or_path: {base}
output_dir: {folder}
{f"libtorch: {libtorch}" if libtorch else ""}
learning_rate: {rate}
per_device_train_batch_size: 32
num_train_epochs: 6
max_length: 256
seed: {seed}
save_total_limit: 1
selection: {{method: {method}, lora_r: 8, lora_alpha: 16, warmup_candidates: 300, warmup_targets: 300, targets: 300, feature_dimension: 1024, num_train_epochs: 3}}
textual: {{train_data: {world}/textual.some.jsonl{keep}}}
caption: {{train_data: {world}/caption.some.jsonl{keep}}}
visual: {{train_data: {world}/visual.300.{seed}.jsonl, max_steps: 1}}
""")
    run(["rovrm", "--config", recipe], recipe)
    visual(f"{folder}/caption/final", methods[method], seed)
    if method == "ot":
        visual(f"{folder}/textual/final", "without phase 2", seed)
        reward(base, f"{folder}/selection/caption/selected.jsonl", f"{out}/captions-{seed}", seed, 6)
        visual(f"{out}/captions-{seed}/final", "without phase 1", seed)


def attempt(job):
    try:
        job()
    except (RuntimeError, TimeoutError) as failure:
        print("not run:", failure, flush=True)


# The start describes images and copies captions; those it copies are not among the pairs.
base = f"{out}/base/final"
if not os.path.exists(base):
    copies = [json.loads(line) for line in lines("caption.train.jsonl")[3000:]]
    copy = write("copy.jsonl", [json.dumps({"prompt": one["prompt"], "completion": one["prompt"].rsplit("\n", 1)[0]}) for one in copies])
    run(["sft", "--model_name_or_path", world, "--from_scratch", "true", "--train_data", f"{world}/describe.train.jsonl", copy, "--output_dir", f"{out}/base",
         "--learning_rate", "2e-3", "--per_device_train_batch_size", "64", "--num_train_epochs", "12"] + common, "base")
write("textual.some.jsonl", lines("textual.train.jsonl")[:3000])
write("caption.some.jsonl", lines("caption.train.jsonl")[:3000])
jobs = []
for seed in map(int, seeds.split(",")):
    shuffled = lines("visual.train.jsonl")
    random.Random(seed).shuffle(shuffled)
    for budget in budgets:
        write(f"visual.{budget}.{seed}.jsonl", shuffled[:budget])
    jobs.append(lambda seed=seed: visual(base, "phase 3 alone", seed))
    jobs += [lambda seed=seed, method=method: whole(method, seed) for method in methods]
threads = [threading.Thread(target=attempt, args=(job,)) for job in jobs]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
