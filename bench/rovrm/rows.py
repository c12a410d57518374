"""Fills RoVRM's tables (bench/results/rovrm.md), one row after another, many at once, the main rows first.

usage: rows.py SETTINGS XDS_TRAIN WORLD OUT LIBTORCH SECONDS SEEDS WORKERS
  SETTINGS   scenes.json or scienceqa.json
  XDS_TRAIN  the trainer          WORLD    folder with what pack.py or scienceqa.py packed
  OUT        folder for runs      LIBTORCH folder of a libtorch with CUDA, or "" for the trainer's own
  SECONDS    no run is begun after so many; rows that rows.jsonl in OUT holds are not run again
  SEEDS      with commas between  WORKERS  runs at once on one device

Phases that rows have in common are trained once: one start, and for each seed and selection one model of text, one of captions.
"""
import json, os, random, subprocess, sys, threading, time

settings, trainer, world, out, libtorch, seconds, seeds, workers = sys.argv[1:9]
world, out, begun, lock = os.path.abspath(world), os.path.abspath(out), time.time(), threading.Condition()
settings = json.load(open(settings))
settings.update(json.loads(os.environ.get("SCENES", "{}")))  # for a trial run
budgets = settings["visual_steps"]
methods = {"ot": "full (V2)", "random": "random selection", "all": "without selection", "less": "LESS", "distance": "V1"}
methods = {method: methods[method] for method in settings["methods"]}
common = ["--max_length", settings["max_length"], "--logging_steps", "50", "--adam_beta2", "0.95", "--save_steps", "1000000", "--resume_from_checkpoint", "true", "--per_device_eval_batch_size", "128"]
env = dict(os.environ, OMP_NUM_THREADS="1", DOTNET_gcServer="0")  # many run at once
os.makedirs(out, exist_ok=True)
table = os.path.join(out, "rows.jsonl")
done = {(row["row"], row["budget"], row["seed"]) for row in map(json.loads, open(table))} if os.path.exists(table) else set()


def run(arguments, name):
    if libtorch and arguments[0] != "rovrm":
        arguments = arguments + ["--libtorch", libtorch]
    for _ in range(2):  # what was saved is gone on from
        result = subprocess.run([trainer] + arguments, env=env, capture_output=True, text=True)
        if result.returncode == 0:
            return
        print("failed:", name, result.stderr[-400:], flush=True)
    raise RuntimeError(name)


def lines(name):
    return open(os.path.join(world, name)).read().splitlines()


def write(name, rows):  # beside the images, which they name; before any run begins
    open(os.path.join(world, name), "w").write("\n".join(rows) + "\n")


def train(stage, model, data, folder, seed, steps, tests=(), most=10**9, more=(), rate=""):
    """Trains from a model to folder/final, and tests what it came to."""
    size = min(settings["batch"], most)
    subprocess.run(["rm", "-rf", folder])
    run([stage, "--model_name_or_path", model, "--train_data", *data, "--output_dir", folder, "--learning_rate", rate or settings[stage + "_rate"],
         "--per_device_train_batch_size", str(size), "--max_steps", str(steps), "--seed", str(seed)] + (["--test_data", *tests] if tests else []) + common + list(more), folder)


def save(name, budget, seed, folder):
    row = {"row": name, "budget": budget, "seed": seed, "seconds": round(time.time() - begun)}
    for line in map(json.loads, open(os.path.join(folder, "test.jsonl"))):
        if line["benchmark"] == "pairs":
            row |= {f"{line['file'].split('.')[0]}_accuracy": line["accuracy"], f"{line['file'].split('.')[0]}_low": line["low"], f"{line['file'].split('.')[0]}_high": line["high"]}
        elif line["benchmark"] == "best-of-n":
            row |= {kind: line["picked"][kind] for kind in ("coverage", "hallucination")} | {f"{kind}_all": line["all"][kind] for kind in ("coverage", "hallucination")}
        else:
            row |= {f"described_{kind}": line[kind] for kind in ("coverage", "hallucination")}
    with lock:
        if (name, budget, seed) not in done:
            open(table, "a").write(json.dumps(row) + "\n")
            done.add((name, budget, seed))
            print(json.dumps(row), flush=True)


judged, described, textual, captioned = ([test.replace("=", f"={world}/") for test in settings["tests"][kind]] for kind in ("judged", "described", "textual", "caption"))
base = f"{out}/base/final"


def start():
    train("sft", world, [f"{world}/{name}" for name in settings["start"]], f"{out}/base", 1, settings["start_steps"], described[:1], more=["--from_scratch", "true"])
    if described:
        save("start", 0, 0, f"{out}/base")


def phases(method, seed):
    """Selection, texts, captions; and how the model of captions judges images that it has not learnt from."""
    folder, recipe = f"{out}/{method}-{seed}", os.path.join(out, f"{method}-{seed}.yaml")
    keep = (lambda phase: "") if method == "all" else (lambda phase: f", keep: {settings[phase + '_keep']}")
    open(recipe, "w").write(f"""model_name_or_path: {base}
output_dir: {folder}
{f"libtorch: {libtorch}" if libtorch else ""}
learning_rate: {settings["bt_rate"]}
per_device_train_batch_size: {settings["batch"]}
per_device_eval_batch_size: 128
max_length: {settings["max_length"]}
logging_steps: 50
seed: {seed}
save_steps: 1000000
selection: {{method: {method}, lora_r: 8, lora_alpha: 16, warmup_candidates: 1000, warmup_targets: 500, targets: 500, feature_dimension: 1024, max_steps: {settings["warmup_steps"]}}}
textual: {{train_data: {world}/textual.train.jsonl{keep("textual")}, max_steps: {settings["textual_steps"]}, test_data: {json.dumps(textual + judged[:1])}}}
caption: {{train_data: {world}/caption.train.jsonl{keep("caption")}, max_steps: {settings["caption_steps"]}, test_data: {json.dumps(captioned + judged)}}}
visual: {{train_data: {world}/visual.500.{seed}.jsonl, max_steps: 1}}
""")
    run(["rovrm", "--config", recipe], recipe)
    save(methods[method], 0, seed, f"{folder}/caption")
    save(f"{methods[method]}, texts alone", 0, seed, f"{folder}/textual")


def captions(seed):
    train("bt", base, [f"{out}/ot-{seed}/selection/caption/selected.jsonl"], f"{out}/captions-{seed}", seed, settings["caption_steps"], captioned + judged)
    save("without phase 1", 0, seed, f"{out}/captions-{seed}")


def visual(stage, name, model, budget, seed):
    folder = os.path.join(out, f"{name}-{budget}-{seed}".replace(" ", "_"))
    train(stage, model, [f"{world}/visual.{budget}.{seed}.jsonl"], folder, seed, budgets[str(budget)], judged if stage == "bt" else described, budget // 2, rate=settings["visual_rate"] if stage == "bt" else "")
    save(name, budget, seed, folder)
    subprocess.run(["rm", "-rf", folder])


def texts_for_policy(seed):
    """RoDPO's first phases, over the pairs that were selected for the reward model."""
    train("dpo", base, [f"{out}/ot-{seed}/selection/textual/selected.jsonl"], f"{out}/dpo-texts-{seed}", seed, settings["dpo_steps"])
    train("dpo", f"{out}/dpo-texts-{seed}/final", [f"{out}/ot-{seed}/selection/caption/selected.jsonl"], f"{out}/dpo-captions-{seed}", seed, settings["dpo_steps"], described)
    save("RoDPO", 0, seed, f"{out}/dpo-captions-{seed}")


class Job:
    def __init__(self, rank, name, action, needs=()):
        self.rank, self.name, self.action, self.needs, self.state = rank, name, action, needs, "waiting"


def work():
    while True:
        with lock:
            while True:
                waiting = [job for job in jobs if job.state == "waiting"]
                for job in waiting:
                    if any(need.state == "failed" for need in job.needs) or time.time() - begun > float(seconds):
                        job.state = "failed"
                ready = [job for job in waiting if job.state == "waiting" and all(need.state == "done" for need in job.needs)]
                if ready or not any(job.state == "waiting" for job in jobs):
                    break
                lock.wait(5)
            if not ready:
                return
            job = min(ready, key=lambda one: one.rank)
            job.state = "running"
        try:
            job.action()
            state = "done"
        except Exception as failure:  # its rows are missing then; the others go on
            state = "failed"
            print("not run:", job.name, repr(failure)[:900], flush=True)
        with lock:
            job.state = state
            lock.notify_all()


jobs = []
beginning = Job(0, "start", start)
if os.path.exists(base):
    beginning.state = "done"
for seed in map(int, seeds.split(",")):
    shuffled = lines("visual.train.jsonl")
    random.Random(seed).shuffle(shuffled)
    for budget in [500, *map(int, budgets)]:
        write(f"visual.{budget}.{seed}.jsonl", shuffled[:budget])

    def rows(rank, name, model, needs, stage="bt", sizes=[int(budget) for budget in budgets], seed=seed):
        return [Job((rank, size, seed), f"{name} {size} {seed}", lambda size=size: visual(stage, name, model, size, seed), needs) for size in sizes if (name, size, seed) not in done]

    def prepared(rank, name, action, wanted, needs):  # a model that rows begin with, made if any of them is missing
        job = Job((rank, 0, seed), f"{name} {seed}", action, needs)
        rest = wanted([job])
        if rest:
            jobs.extend([job, *rest])
        return job

    for rank, method in enumerate(methods):
        def wanted(needs, rank=rank, method=method):
            first, more = rows(2 * max(1, rank), methods[method], f"{out}/{method}-{seed}/caption/final", needs), []
            if method == "ot" and settings["dpo_budgets"]:
                more += later(2, "policy", lambda seed=seed: texts_for_policy(seed), lambda needs: rows(2, "RoDPO", f"{out}/dpo-captions-{seed}/final", needs, "dpo", settings["dpo_budgets"]), needs)
            if method == "ot" and settings["ablations"]:
                more += rows(20, "without phase 2", f"{out}/ot-{seed}/textual/final", needs)
                more += later(20, "captions alone", lambda seed=seed: captions(seed), lambda needs: rows(20, "without phase 1", f"{out}/captions-{seed}/final", needs), needs)
            return first + more

        def later(rank, name, action, after, needs, seed=seed):
            job = Job((rank, 0, seed), f"{name} {seed}", action, needs)
            rest = after([job])
            return [job, *rest] if rest else []

        prepared(2 * max(1, rank) - 1, f"phases {method}", lambda method=method, seed=seed: phases(method, seed), wanted, [beginning])
    jobs += rows(1, "phase 3 alone", base, [beginning])
    jobs += rows(2, "DPO", base, [beginning], "dpo", settings["dpo_budgets"])
jobs.append(beginning)
beginning.rank = (0, 0, 0)
threads = [threading.Thread(target=work) for _ in range(int(workers))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(f"{len(done)} rows after {time.time() - begun:.0f} s; {sum(job.state == 'failed' for job in jobs)} runs left", flush=True)
