"""Makes tables and the few-shot curve of what rows.py filled: table.py ROWS.jsonl [CURVE.svg]; tables go to standard output as Markdown."""
import collections, json, math, sys

rows = [json.loads(line) for line in open(sys.argv[1])]
order = ["phase 3 alone", "without phase 1", "without phase 2", "without selection", "random selection", "LESS", "V1", "full (V2)"]
policies = ["start", "DPO", "RoDPO"]
cells = collections.defaultdict(list)
for row in rows:
    cells[row["row"], row["budget"]].append(row)
budgets = sorted({row["budget"] for row in rows if "visual_accuracy" in row and row["row"] in order})


def mean(found, name):
    values = [row[name] for row in found if name in row]
    return sum(values) / len(values) if values else None


def spread(found, name):
    values = [row[name] for row in found]
    return math.sqrt(sum((value - sum(values) / len(values)) ** 2 for value in values) / (len(values) - 1))


def cell(found):
    if not found:
        return ""
    best = f" · {mean(found, 'coverage'):.2f} · {mean(found, 'hallucination'):.2f}" if mean(found, "coverage") is not None else ""
    around = f" ± {100 * spread(found, 'visual_accuracy'):.1f}" if len(found) > 1 else ""
    return f"{100 * mean(found, 'visual_accuracy'):.1f}{around}{best} ({len(found)})"


print("|  | " + " | ".join(f"{budget} pairs" for budget in budgets) + " |\n|---|" + "---|" * len(budgets))
for name in order:
    if any((name, budget) in cells for budget in budgets):
        print(f"| {name} | " + " | ".join(cell(cells.get((name, budget), [])) for budget in budgets) + " |")
print("\n| before any visual pair | textual pairs | caption pairs | visual pairs |\n|---|---|---|---|")
for (name, budget), found in cells.items():
    if budget == 0 and name not in policies:
        told = [f"{100 * mean(found, kind):.1f}" if mean(found, kind) is not None else "" for kind in ("textual_accuracy", "caption_accuracy", "visual_accuracy")]
        print(f"| {name} ({len(found)}) | " + " | ".join(told) + " |")
if any(name in policies for name, _ in cells):
    print("\n| policy | visual pairs | coverage | hallucination | pairs told apart |\n|---|---|---|---|---|")
    for (name, budget), found in sorted(cells.items(), key=lambda one: (policies.index(one[0][0]), one[0][1]) if one[0][0] in policies else (9, 0)):
        if name in policies:
            told = [f"{scale * mean(found, kind):{form}}" if mean(found, kind) is not None else "" for kind, scale, form in (("described_coverage", 1, ".3f"), ("described_hallucination", 1, ".3f"), ("visual_accuracy", 100, ".1f"))]
            print(f"| {name} ({len(found)}) | {budget} | " + " | ".join(told) + " |")

if len(sys.argv) > 2:
    colours = dict(zip(order, ["#444444", "#e69f00", "#56b4e9", "#009e73", "#999933", "#0072b2", "#cc79a7", "#d55e00"]))
    shown = [budget for budget in budgets if budget > 0]
    low = 5 * math.floor(min(100 * row["visual_accuracy"] for row in rows if row["row"] in order) / 5)
    high = 5 * math.ceil(max(100 * row["visual_accuracy"] for row in rows if row["row"] in order) / 5)
    x = lambda budget: 70 + 420 * math.log(budget / shown[0]) / math.log(shown[-1] / shown[0])
    y = lambda accuracy: 330 - 290 * (100 * accuracy - low) / (high - low)
    svg = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 390" width="980" height="390" font-family="sans-serif" font-size="12">', '<rect width="980" height="390" fill="white"/>']
    for tick in range(low, high + 1, 5):
        svg.append(f'<line x1="70" x2="500" y1="{y(tick / 100):.1f}" y2="{y(tick / 100):.1f}" stroke="#ddd"/><text x="62" y="{y(tick / 100) + 4:.1f}" text-anchor="end">{tick}</text>')
    svg += [f'<text x="{x(budget):.1f}" y="350" text-anchor="middle">{budget}</text>' for budget in shown]
    svg += ['<text x="280" y="375" text-anchor="middle">visual pairs</text>', '<text x="20" y="185" transform="rotate(-90 20 185)" text-anchor="middle">accuracy on unseen visual pairs, %</text>']
    for place, name in enumerate(name for name in order if any((name, budget) in cells for budget in shown)):
        colour, means = colours[name], [(budget, cells[name, budget]) for budget in shown if (name, budget) in cells]
        svg += [f'<circle cx="{x(budget):.1f}" cy="{y(row["visual_accuracy"]):.1f}" r="2" fill="{colour}" fill-opacity="0.45"/>' for budget, found in means for row in found]
        svg.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="' + " ".join(f'{x(budget):.1f},{y(mean(found, "visual_accuracy")):.1f}' for budget, found in means) + '"/>')
        svg.append(f'<line x1="520" x2="540" y1="{60 + 22 * place}" y2="{60 + 22 * place}" stroke="{colour}" stroke-width="2"/><text x="548" y="{64 + 22 * place}">{name}</text>')
    # The paper's own, of LLaVA-1.5-7B: of another world and another measure, so beside the curve and not on it.
    svg.append('<text x="690" y="32" font-weight="bold">The paper\'s own figures (another world)</text><text x="690" y="48">LLaVA-Bench-W, best of 8, higher is better</text>')
    for place, (name, colour, value) in enumerate([("base model", "#bbbbbb", 66.7), ("phase 3 alone", colours["phase 3 alone"], 73.6), ("without phase 1", colours["without phase 1"], 71.3), ("without phase 2", colours["without phase 2"], 78.0),
                                                   ("without selection", colours["without selection"], 80.6), ("random selection", colours["random selection"], 77.2), ("RoVRM", colours["full (V2)"], 82.0)]):
        svg.append(f'<rect x="800" y="{66 + 24 * place}" width="{(value - 60) * 5.5:.1f}" height="16" fill="{colour}"/><text x="792" y="{79 + 24 * place}" text-anchor="end">{name}</text><text x="{806 + (value - 60) * 5.5:.1f}" y="{79 + 24 * place}">{value}</text>')
    svg.append('<text x="690" y="262">bars begin at 60</text>')
    open(sys.argv[2], "w").write("\n".join(svg + ["</svg>"]) + "\n")
