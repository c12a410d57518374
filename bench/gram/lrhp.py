"""LRHP's experiments (bench/results/gram.md) between two trainings: features, selection, margins, the plot; then the table.

usage: lrhp.py select XDS DATA MODELS BASE   lrhp.py table LINES
  XDS     the command xds                    DATA   folder that bench/gram wrote; what is made goes into DATA/lrhp
  MODELS  folder of lrhp.sh's first part     BASE   the language model that both began with
  LINES   test.jsonl of lrhp.sh's second part, one after another
"""
import collections, json, math, os, re, subprocess, sys

budgets, seeds = (250, 500, 1000), (1, 2, 3)


def xds(*arguments):
    result = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"xds {' '.join(map(str, arguments))}: {result.stderr[-600:]}")
    return result.stdout


def represent(pairs, kind, model, name):
    features = f"{out}/{name}.{kind}.features"
    if not os.path.exists(features):
        xds("represent", f"{data}/{pairs}.jsonl.gz", "--feature", kind, "--model", model, "--out", features + ".part")
        os.rename(features + ".part", features)
    return features


def select():
    os.makedirs(out, exist_ok=True)
    trained = {"preference": f"{models}/lrhp/final", "embedding": base, "reward": f"{models}/lrhp-bt/final"}
    for kind, method in (("preference", "pds"), ("embedding", "embedding")):
        pool, targets = (represent(f"lrhp-{name}", kind, trained[kind], name) for name in ("pool", "targets"))
        for budget in budgets:
            print(kind, xds("select", "--method", "pds", "--candidates", pool, "--targets", targets, "--keep", budget,
                            "--pairs", f"{data}/lrhp-pool.jsonl.gz", "--out", f"{out}/{method}-{budget}.jsonl").strip())
            for seed in seeds if kind == "preference" else ():
                xds("select", "--method", "random", "--seed", seed, "--candidates", pool, "--targets", targets, "--keep", budget,
                    "--pairs", f"{data}/lrhp-pool.jsonl.gz", "--out", f"{out}/random-{budget}-{seed}.jsonl")
    for name in sorted(os.listdir(out)):
        if name.endswith(".jsonl"):
            rows = [json.loads(line) for line in open(f"{out}/{name}")]
            print(f"{name}: {sum(row['subset'] == 'harmless' for row in rows)} of {len(rows)} are harmless pairs")
    print("| margins from | fit | MSE | of the mean | Pearson | Spearman |\n|---|---|---:|---:|---:|---:|")
    for kind, model in trained.items():
        for fit in ("ridge", "mlp"):
            found = json.loads(xds("margin", "--features", represent("lrhp-margins", kind, model, "margins"), "--pairs", f"{data}/lrhp-margins.jsonl.gz", "--method", fit, "--json"))
            print(f"| {kind} | {fit} | {found['mse']:.4f} | {found['mse_of_mean']:.4f} | {found['pearson']:.3f} | {found['spearman']:.3f} |")
    for kind in ("preference", "embedding"):
        sets = [represent(f"lrhp-{name}" if name != "pandalm" else name, kind, trained[kind], name) for name in ("targets", "margins", "pandalm")]
        print(kind, xds("project", *sets, "--plot", f"{out}/{kind}.svg"), sep="\n")


def table():
    cells = collections.defaultdict(list)
    for line in map(json.loads, open(sys.argv[2])):
        stage, method, budget = re.match(r"(bt|gram)-([a-z]+)-(\d+)", line["run"]).groups()
        cells[stage, method, int(budget)].append(100 * line["accuracy"])
    for stage, method, budget in sorted(cells):
        values = cells[stage, method, budget]
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1) / len(values))
        print(f"| {stage} | {method} | {budget} | {mean:.1f} ± {spread:.1f} | {len(values)} |")


if sys.argv[1] == "select":
    tool, data, models, base = sys.argv[2:6]
    out = f"{data}/lrhp"
    select()
else:
    table()
