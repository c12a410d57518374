#!/usr/bin/env python3
"""Time to the first token of a prompt that is computed, and of the same prompt from host memory and from disk after a restart.

usage: tiers.py XDS [--model DIR] [--lengths 256,1024,...] [--rounds N] [--cold]

Starts servers of its own on 127.0.0.1, one after the other, with a device cache of one sequence, so that each prompt evicts
the one before. --cold drops the cache files from the page cache before each prompt (POSIX_FADV_DONTNEED).
"""
import argparse, http.client, json, os, random, shutil, signal, statistics, subprocess, sys, tempfile, time

PORT = 8917


def serve(arguments, folder, host):
    command = [arguments.xds, "serve", "--port", str(PORT), "--max-num-seqs", "4", "--max-num-batched-tokens", "512"]
    command += ["--max-model-len", str(max(arguments.lengths) + 32)]
    command += ["--num-gpu-blocks-override", str((max(arguments.lengths) + 64) // 16)]
    command += ["--model", arguments.model] if arguments.model else []
    command += ["--kv-offloading-size", str(host)] if host else []
    command += ["--disk-cache", folder] if folder else []
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
            connection.request("GET", "/v1/models")
            if connection.getresponse().status == 200:
                return server
        except OSError:
            pass
        if server.poll() is not None:
            raise SystemExit("The server ended at once.")
        time.sleep(0.1)
    stop(server)
    raise SystemExit("The server did not start.")


def stop(server):
    server.send_signal(signal.SIGTERM)
    server.wait(60)


def ask(model, prompt, salt):
    body = json.dumps({"model": model, "prompt": prompt, "max_tokens": 4, "temperature": 0, "ignore_eos": True, "cache_salt": salt, "stream": True})
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
    start = time.perf_counter()
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    first, text = None, ""
    for line in answer:
        if line.startswith(b"data: {"):
            first = first or time.perf_counter() - start
            text += json.loads(line[6:])["choices"][0]["text"]
    return first * 1e3, text


def name():
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    connection.request("GET", "/v1/models")
    return json.loads(connection.getresponse().read())["data"][0]["id"]


def hits():
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return {source: sum(float(line.split()[-1]) for line in lines if f'source="{source}"' in line) for source in ("host_cache_hit", "disk_cache_hit")}


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))  # so that the server ends, too
    parser = argparse.ArgumentParser()
    parser.add_argument("xds")
    parser.add_argument("--model")
    parser.add_argument("--lengths", default="64,256,1024,1984", type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--cold", action="store_true")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="xds-tiers-")
    rows, answers = {}, {}

    def round_of(source, salted, drop=False):
        model, before = name(), hits()
        for length in arguments.lengths:
            times = []
            for number in range(arguments.rounds):
                prompt = random.Random(length * 1000 + number).choices(range(5, 200), k=length)
                if drop:
                    for file in os.listdir(folder):
                        with open(os.path.join(folder, file), "rb") as opened:
                            os.fsync(opened.fileno())
                            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                taken, text = ask(model, prompt, salted)
                if answers.setdefault((length, number), text) != text:
                    raise SystemExit(f"Another answer from {source} for {length} tokens.")
                times.append(taken)
                ask(model, random.choices(range(5, 200), k=max(arguments.lengths)), f"{random.random()}")  # evicts it
                time.sleep(0.05)
            rows.setdefault(length, {})[source] = statistics.median(times)
        print(source, {key: value - before[key] for key, value in hits().items()})

    server = None
    try:
        server = serve(arguments, folder, 1)
        ask(name(), [7] * max(arguments.lengths), "warm")
        round_of("computed", "a")
        round_of("host", "a")
        stop(server)
        server = serve(arguments, folder, 1)
        ask(name(), [7] * max(arguments.lengths), "warm2")
        round_of("disk", "a", arguments.cold)
        stop(server)
    finally:
        if server and server.poll() is None:
            stop(server)
        shutil.rmtree(folder)
    print("| tokens | computed | host | disk |\n|---:|---:|---:|---:|")
    for length, row in rows.items():
        print(f"| {length} | {row['computed']:.1f} ms | {row['host']:.1f} ms | {row['disk']:.1f} ms |")


main()
