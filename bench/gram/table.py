"""Tables, and the adaptation curve, of the lines that experiments.sh and lrhp.sh wrote: table.py LINES.jsonl [CURVE.svg]; tables go to standard output as Markdown."""
import collections
import json
import math
import re
import sys

TESTS = ("alpaca", "pandalm", "hhh_alignment", "judgebench", "rm_bench", "harmless-test")
COLOURS = {"bt": ("#d62728", "Bradley-Terry"), "judge": ("#1f77b4", "judge without stage 1, one order"), "gram": ("#2ca02c", "GRAM, one order"),
           "judge-both": ("#17becf", "judge without stage 1, both orders"), "gram-both": ("#bcbd22", "GRAM, both orders")}


def mean(values):
    return sum(values) / len(values)


def spread(values):
    return math.sqrt(sum((value - mean(values)) ** 2 for value in values) / max(1, len(values) - 1) / len(values))


def shown(values, digits=1):
    return f"{mean(values):.{digits}f} ± {spread(values):.{digits}f}" if values else "–"


def main(lines, picture=None):
    cells, picks, adapted, agreed, chosen = (collections.defaultdict(list) for _ in range(5))
    for line in map(json.loads, open(lines)):
        test = line["file"].removesuffix(".jsonl.gz")
        if found := re.fullmatch(r"adapt-([\w-]+)-(\d+)-\d+", line["run"]):
            adapted[found[1], test, int(found[2])].append(100 * line["accuracy"])
            agreed[found[1], test, int(found[2])].append(100 * line["consistency"])
        elif found := re.fullmatch(r"(bt|gram)-([a-z]+)-(\d+)-\d+", line["run"]):
            chosen[found[1], found[2], int(found[3])].append(100 * line["accuracy"])
        elif found := re.fullmatch(r"(\w+-[a-z-]+)-\d+", line["run"]):
            if "picked" in line:
                picks[found[1]].append(line["picked"]["scores"])
            else:
                for name in ("accuracy", "length_balanced", "consistency"):
                    cells[found[1], test, name].append(100 * line[name])
                if found[1] in ("nano-bt", "nano-judge", "nano-gram"):
                    for kind in COLOURS:
                        if kind.removesuffix("-both") == found[1].removeprefix("nano-"):
                            adapted[kind, test, 0].append(100 * line["accuracy"])
                            agreed[kind, test, 0].append(100 * line["consistency"])
    rows = sorted({name for name, _, _ in cells})
    for name in ("accuracy", "length_balanced", "consistency"):
        print(f"\n| {name} | seeds | {' | '.join(TESTS)} | best of n |\n|---|{'---:|' * (len(TESTS) + 2)}")
        for row in rows:
            print(f"| {row} | {len(cells[row, TESTS[0], name])} | {' | '.join(shown(cells[row, test, name]) for test in TESTS)} | {shown(picks[row], 3)} |")
    labels = sorted({count for _, _, count in adapted})
    for test in ("harmless-test", "hhh_alignment"):
        print(f"\n| {test} | {' | '.join(map(str, labels))} |\n|---|{'---:|' * len(labels)}")
        for kind, (_, name) in COLOURS.items():
            print(f"| {name} | {' | '.join(shown(adapted[kind, test, count]) for count in labels)} |")
        for kind, (_, name) in COLOURS.items():
            print(f"| {name}: alike in both orders | {' | '.join(shown(agreed[kind, test, count]) for count in labels)} |")
    for (stage, method, budget), values in sorted(chosen.items()):
        print(f"{stage} {method} {budget}: {shown(values)} ({len(values)})")
    if picture:
        draw(picture, adapted, labels)


def draw(path, adapted, labels):
    """Accuracy on the held-out harmless pairs over the labels learnt from; bars are standard errors over seeds."""
    def x(count):
        return 70 + 430 * labels.index(count) / (len(labels) - 1)

    def y(value):
        return 330 - 300 * (value - 40) / 30
    svg = ['<svg xmlns="http://www.w3.org/2000/svg" width="800" height="390" font-family="sans-serif" font-size="12">', '<rect width="800" height="390" fill="white"/>']
    for tick in range(40, 71, 5):
        svg.append(f'<line x1="70" x2="500" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="{"#888" if tick == 50 else "#ddd"}"/><text x="62" y="{y(tick) + 4:.1f}" text-anchor="end">{tick}</text>')
    svg += [f'<text x="{x(count):.1f}" y="350" text-anchor="middle">{count:,}</text>' for count in labels]
    svg += ['<text x="285" y="375" text-anchor="middle">harmless labels</text>', '<text x="20" y="180" transform="rotate(-90 20 180)" text-anchor="middle">accuracy on held-out harmless pairs, %</text>']
    for place, (kind, (colour, name)) in enumerate(COLOURS.items()):
        points = [(x(count) + 3 * (place - 2), adapted[kind, "harmless-test", count]) for count in labels if adapted[kind, "harmless-test", count]]
        if len(points) < 3:
            continue
        svg += [f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(mean(values) - spread(values)):.1f}" y2="{y(mean(values) + spread(values)):.1f}" stroke="{colour}"/>' for at, values in points]
        svg.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="' + " ".join(f"{at:.1f},{y(mean(values)):.1f}" for at, values in points) + '"/>')
        svg.append(f'<line x1="520" x2="540" y1="{60 + 22 * place}" y2="{60 + 22 * place}" stroke="{colour}" stroke-width="2"/><text x="548" y="{64 + 22 * place}">{name}</text>')
    open(path, "w").write("\n".join(svg + ["</svg>"]) + "\n")


main(*sys.argv[1:])
