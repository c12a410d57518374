"""Packs what rows.py needs of a world of scenes into one file: pack.py WORLD FILE.tar.xz [IMAGES]

The first 5,000 visual pairs, so many described images (12,000), 500 scenes to rank, 1,000 pairs of each test, the texts. Its
model is deeper than that of the world's own recipe.
"""
import io, json, sys, tarfile

world, target, described = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 12000


def read(name, first=0, last=None):
    return open(f"{world}/{name}.jsonl").read().splitlines()[first:last]


files = {
    "describe.train": read("describe.train", 0, described), "rewrite.train": read("rewrite.train", 0, described),
    "textual.train": read("textual.train"), "caption.train": read("caption.train"), "visual.train": read("visual.train", 0, 5000),
    "textual.test": [line for line in read("textual.test") if '"list"' in line][:1000], "caption.test": read("caption.test", 0, 1000), "visual.test": read("visual.test", 0, 1000),
    "samples": read("samples", 0, 500),
}
with tarfile.open(target, "w:xz") as pack:
    def add(name, text):
        entry = tarfile.TarInfo(name)
        entry.size = len(text)
        pack.addfile(entry, io.BytesIO(text))

    config = json.load(open(f"{world}/config.json"))
    config["text_config"]["num_hidden_layers"] = 6
    add("config.json", json.dumps(config).encode())
    for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        pack.add(f"{world}/{name}", name)
    for name, lines in files.items():
        add(f"{name}.jsonl", ("\n".join(lines) + "\n").encode())
        for image in (json.loads(line).get("image") for line in lines):
            if image:
                pack.add(f"{world}/{image}", image)
