"""Plain text for a base model, from unpacked Debian documentation packages: corpus.py FOLDER TARGET.jsonl.gz [MEGABYTES]

Reads HTML, reStructuredText, Pod, manual pages, dictionaries and text under FOLDER, keeps paragraphs of English prose, each once, and writes JSON lines with
a `text` of up to a few thousand characters. The order of files is drawn (seed 1), so that a cut by size keeps a bit of everything.
packages.txt names the packages (Debian 12) of the deeper base: apt-get download $(cat packages.txt), dpkg-deb -x each into FOLDER, and 125 megabytes.
"""
import gzip
import html
import json
import pathlib
import random
import re
import sys

LONGEST = 6000  # characters of a text
SKIP = re.compile(r"(changelog|copyright|/(fr|de|es|it|ja|zh|pt|ru|pl|nl|sv|da|nb|nb-NO|cs|ca|fi|hu|ko|el|ro|sl|sr|tr|uk|vi|id|hr|gl|eu|lt|lv|bg|ar|fa|zh-CN|zh-TW|zh_CN|zh_TW|pt-BR|pt_BR|pt-PT|es-ES|de-DE|fr-FR|it-IT|ja-JP|ko-KR|pl-PL|ru-RU|sv-SE|tr-TR|vi-VN|nl-NL|en_GB|sr@latin)/|search-index|/src/rustc|\.source-)", re.I)
COMMON = set("the of and to a in is that it for on with as be are this by or an from not can you which at if".split())


def prose(block):
    """Whether a block reads like English sentences."""
    words = re.findall(r"[A-Za-z']+", block)
    letters = sum(c.isalpha() or c.isspace() for c in block)
    return len(words) >= 12 and letters > 0.85 * len(block) and sum(w.lower() in COMMON for w in words) > 0.18 * len(words)


def blocks(path):
    raw = path.read_bytes()
    if path.suffix == ".gz" or path.suffix == ".dz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError):
            return
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    name = path.name.removesuffix(".gz").removesuffix(".dz")
    if name.endswith((".html", ".htm", ".xhtml", ".page", ".docbook", ".xml")):
        text = re.sub(r"(?is)<(script|style|pre|nav|header|footer|code)\b.*?</\1>", " ", text)
        text = re.sub(r"(?i)</?(p|div|li|h[1-6]|td|tr|br|section|dd|dt|item|title|para)\b[^>]*>", "\n\n", text)
        text = html.unescape(re.sub(r"(?s)<[^>]+>", "", text))
    elif re.search(r"\.[1-8]$", name):
        text = re.sub(r'(?m)^\.\\".*$', "", text)
        text = re.sub(r"(?m)^\.(PP|P|LP|TP|IP|SH|SS|br|sp)\b.*$", "\n\n", text)
        text = re.sub(r"(?m)^\.[A-Z]+ ?", "", text)
        text = re.sub(r"\\f.|\\-|\\&|\\\(..", "", text)
    elif name.endswith(".pod"):
        text = re.sub(r"[A-Z]<+([^<>]*)>+", r"\1", text)
    for block in re.split(r"\n\s*\n", text):
        block = re.sub(r"\s+", " ", block).strip()
        if prose(block):
            yield block


def main(source, target, megabytes):
    ends = (".html", ".htm", ".xhtml", ".txt", ".rst", ".pod", ".page", ".docbook", ".dict", ".txt.gz", ".gz", ".dz")
    files = [f for f in sorted(pathlib.Path(source).rglob("*")) if f.is_file() and not f.is_symlink()
             and (f.name.endswith(ends) or "games/fortunes" in str(f)) and not SKIP.search(str(f))]
    random.Random(1).shuffle(files)
    seen, size, count = set(), 0, 0
    with gzip.open(target, "wt", encoding="utf-8") as out:
        for file in files:
            text = []

            def flush():
                nonlocal text, size, count
                if text:
                    joined = "\n\n".join(text)
                    out.write(json.dumps({"text": joined}, ensure_ascii=False) + "\n")
                    size, count, text = size + len(joined.encode()), count + 1, []

            for block in blocks(file):
                key = hash(block)
                if key in seen:
                    continue
                seen.add(key)
                text.append(block[:LONGEST])
                if sum(map(len, text)) > LONGEST:
                    flush()
            flush()
            if size > megabytes * 1e6:
                break
    print(f"{count} texts, {size / 1e6:.1f} MB")


main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 1e9)
