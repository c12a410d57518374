"""Packs ScienceQA, as rows.py takes it, into one file: scienceqa.py DATA TOKENIZER FILE.tar.xz (needs ImageMagick's convert).

DATA holds scienceqa.jsonl.gz, scienceqa_images.tar and alpaca_eval's three files; TOKENIZER is a folder with tokenizer.json and tokenizer_config.json. Questions are split:
every fifth is held out, all of its answer pairs with it. Textual pairs are AlpacaEval's (two generators, by the difference of their labels), captions ScienceQA's own.
"""
import collections, gzip, io, json, os, random, subprocess, sys, tarfile, tempfile

data, tokenizer, target = sys.argv[1:4]
size, patch = 96, 16
image_id = next(one["id"] for one in json.load(open(f"{tokenizer}/tokenizer.json"))["added_tokens"] if one["content"] == "<|image_pad|>")
end_id = next(one["id"] for one in json.load(open(f"{tokenizer}/tokenizer.json"))["added_tokens"] if one["content"] == "<|im_end|>")


def read(name):
    return [json.loads(line) for line in gzip.open(f"{data}/{name}.jsonl.gz")]


files, images, draw = collections.defaultdict(list), [], random.Random(1)
for place, one in enumerate(read("scienceqa")):
    end, right = ("test" if place % 5 == 0 else "train"), one["options"][one["answer"]]
    question = f"{one['hint']}\n{one['question']}"[-900:] if one["hint"] else one["question"]
    images.append(one["image"])
    if end == "train":
        files["describe.train"].append({"prompt": "<image>\nDescribe the image.", "image": f"images/{one['image']}", "completion": one["caption"]})
    for letter, wrong in one["options"].items():
        if letter != one["answer"]:
            pair = {"chosen": right, "rejected": wrong, "subset": "scienceqa"}
            files[f"visual.{end}"].append({"prompt": f"<image>\n{question}", "image": f"images/{one['image']}", **pair})
            files[f"caption.{end}"].append({"prompt": f"{one['caption']}\n{question}", **pair})
prompts = {one["id"]: one["prompt"] for one in read("alpaca_eval.prompts")}
texts = {(one["prompt"], one["generator"]): one["text"] for one in read("alpaca_eval.responses") if 0 < len(one["text"].strip()) < 700 and len(prompts[one["prompt"]]) < 300}
short = sorted(texts)
draw.shuffle(short)
files["replies.train"] = [{"prompt": prompts[prompt], "completion": texts[prompt, generator]} for prompt, generator in short[:12000]]
judged = collections.defaultdict(list)
for one in read("alpaca_eval.judgments"):
    if (one["prompt"], one["b"]) in texts:
        judged[one["prompt"]].append((one["p_b"], one["b"]))
for prompt, labels in sorted(judged.items()):
    for _ in range(60):
        (a, one), (b, other) = draw.sample(labels, 2) if len(labels) > 1 else [(0, ""), (0, "")]
        if abs(a - b) > 0.2:
            better, worse = (one, other) if a > b else (other, one)
            files["textual.train"].append({"prompt": prompts[prompt], "chosen": texts[prompt, better], "rejected": texts[prompt, worse], "subset": "alpaca"})
draw.shuffle(files["textual.train"])
config = {
    "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "image_token_index": image_id, "eos_token_id": end_id, "vision_feature_layer": -1,
    "vision_config": {"model_type": "clip_vision_model", "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": size, "patch_size": patch},
    "text_config": {"model_type": "llama", "vocab_size": 8192, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": 1024},
}
with tempfile.TemporaryDirectory() as folder, tarfile.open(target, "w:xz") as pack:
    def add(name, text):
        entry = tarfile.TarInfo(name)
        entry.size = len(text)
        pack.addfile(entry, io.BytesIO(text))

    add("config.json", json.dumps(config).encode())
    add("preprocessor_config.json", json.dumps({"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}).encode())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        pack.add(f"{tokenizer}/{name}", name)
    for name, rows in files.items():
        add(f"{name}.jsonl", ("\n".join(map(json.dumps, rows)) + "\n").encode())
    tarfile.open(f"{data}/scienceqa_images.tar").extractall(folder, filter="data")
    os.mkdir(f"{folder}/small")
    subprocess.run(["mogrify", "-path", f"{folder}/small", "-resize", f"{size}x{size}^", "-gravity", "center", "-extent", f"{size}x{size}", "-quality", "90", *(f"{folder}/{name}" for name in images)], check=True)
    for name in images:
        pack.add(f"{folder}/small/{name}", f"images/{name}")
print({name: len(rows) for name, rows in files.items()})
