"""Makes cases.json: small images and what Pillow makes of them the way Hugging Face's CLIP image processor does."""
import base64
import io
import json
import random

from PIL import Image

SIZE = 14
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]


def picture(mode, width, height, seed):
    """A gradient with some noise."""
    draw = random.Random(seed)
    bands = len(Image.new(mode, (1, 1)).getbands())
    image = Image.new(mode, (width, height))
    for y in range(height):
        for x in range(width):
            values = [(x * 255 // width, y * 255 // height, (x + y) * 5 % 256, 90 + x % 100)[band] for band in range(bands)]
            values = [max(0, min(255, value + draw.randrange(-60, 61))) for value in values]
            image.putpixel((x, y), tuple(values) if bands > 1 else values[0])
    return image


def processed(image):
    image = image.convert("RGB")
    width, height = image.size
    short, long = min(width, height), max(width, height)
    other = int(SIZE * long / short)
    image = image.resize((SIZE, other) if width <= height else (other, SIZE), Image.BICUBIC)
    left, top = (image.size[0] - SIZE) // 2, (image.size[1] - SIZE) // 2
    return image.crop((left, top, left + SIZE, top + SIZE))


cases = []
for name, mode, width, height, kind in [
    ("shrunk", "RGB", 61, 40, "PNG"), ("grown", "RGB", 9, 5, "PNG"), ("tall", "RGB", 20, 33, "PNG"), ("thin", "RGB", 120, 2, "PNG"),
    ("same", "RGB", 14, 14, "PNG"), ("odd", "RGB", 15, 14, "PNG"), ("transparent", "RGBA", 31, 22, "PNG"), ("grey", "L", 33, 47, "PNG"),
    ("palette", "P", 40, 25, "PNG"), ("photo", "RGB", 48, 32, "JPEG"),
]:
    image = picture("RGB" if mode == "P" else mode, width, height, name)
    if mode == "P":
        image = image.quantize(64)
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    result = processed(Image.open(io.BytesIO(file.getvalue())))
    cases.append({
        "name": name, "width": width, "height": height, "file": base64.b64encode(file.getvalue()).decode(),
        "bytes": base64.b64encode(result.tobytes()).decode(), "tolerance": 4 if kind == "JPEG" else 0,
    })
first = processed(Image.open(io.BytesIO(base64.b64decode(cases[0]["file"])))).getpixel((3, 5))
print(json.dumps({
    "made_with": "Pillow " + Image.__version__, "size": SIZE,
    "normalised": {"x": 3, "y": 5, "values": [(first[c] / 255 - MEAN[c]) / STD[c] for c in range(3)]}, "cases": cases,
}, indent=1))
