"""Packs what rows.py needs of a world of scenes into one file: pack.py WORLD FILE.tar.xz [IMAGES]

The first 5,000 visual pairs, so many described images (12,000), 500 scenes to rank, 1,000 pairs of each test, captions for the start to copy, the texts.
"""
import io, json, sys, tarfile

world, target, described = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 12000
copied = 8000  # captions that the start copies; they are not among the pairs


def read(name, first=0, last=None):
    return open(f"{world}/{name}.jsonl").read().splitlines()[first:last]


captions = read("caption.train")
files = {
    "describe.train": read("describe.train", 0, described),
    "copy": [json.dumps({"prompt": one["prompt"], "completion": one["prompt"].rsplit("\n", 1)[0]}) for one in map(json.loads, captions[-copied:])],
    "textual.train": read("textual.train"), "caption.train": captions[:-copied], "visual.train": read("visual.train", 0, 5000),
    "textual.test": [line for line in read("textual.test") if '"list"' in line][:1000], "caption.test": read("caption.test", 0, 1000), "visual.test": read("visual.test", 0, 1000),
    "samples": read("samples", 0, 500),
}
with tarfile.open(target, "w:xz") as pack:
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        pack.add(f"{world}/{name}", name)
    for name, lines in files.items():
        text = ("\n".join(lines) + "\n").encode()
        entry = tarfile.TarInfo(f"{name}.jsonl")
        entry.size = len(text)
        pack.addfile(entry, io.BytesIO(text))
        for image in (json.loads(line).get("image") for line in lines):
            if image:
                pack.add(f"{world}/{image}", image)
