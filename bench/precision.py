#!/usr/bin/env python3
"""What each type of weights costs a model: its size, how far numbers move, and the perplexity of a text.

The model is decoded to f32 first; then its matrices are quantised to one type at a time, the embedding to q8_0, and each file is scored with f32 activations on the
first windows of the text. A type whose groups a tensor's rows are no whole of gives that tensor to the type that `tvmc quantize` takes instead: the column
`matrices` counts those that became what was asked for. `seconds` is the whole command, reading and writing included.

    bench/precision.py --text wikitext2-test.txt --out results smollm2          # results.json, results.md
    bench/precision.py --text TEXT --types q8_0,iq3_s --rule 'blk.*.ffn_down=q6_k' MODEL

A type that fails is a row with its error.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TYPES = (
    "f32 bf16 f16 q8_0 q6_k q5_1 q5_0 q5_k q4_1 q4_0 q4_k iq4_nl iq4_xs nvfp4 mxfp4 q3_k iq3_s iq3_xxs q2_k iq2_s iq2_xs iq2_xxs iq1_m iq1_s"
    " q2_0 tq2_0 tq1_0 q1_0"
)


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no words"])[0])
    return json.loads(done.stdout)


def measure(arguments, source, folder, kind):
    output = pathlib.Path(folder) / f"{kind}.gguf"
    command = [arguments.tvmc, "quantize", source, output, "--type", kind, "--rule", "token_embd=q8_0", "--json"]
    for rule in arguments.rule:
        command += ["--rule", rule]
    begin = time.monotonic()
    report = run(command)
    seconds = time.monotonic() - begin
    scored = run(
        [arguments.tvmc, "perplexity", output, "--text", arguments.text, "--windows", arguments.windows, "--act", "f32", "--json"]
    )
    output.unlink()
    matrices = [t for t in report["tensors"] if len(t["shape"]) > 1 and not t["name"].startswith("token_embd")]
    became = [t for t in matrices if t["to"] == kind]
    elements = sum(size(t) for t in became)
    moved = sum(t["error"] * size(t) for t in became) / elements if became else None
    return {
        "type": kind,
        "bits": 8 * sum(t["bytes"] for t in became) / elements if became else None,
        "matrices": f"{len(became)} of {len(matrices)}",
        "moved": moved,
        "perplexity": scored["perplexity"],
        "megabytes": report["bytes_after"] / 1e6,
        "seconds": seconds,
    }


def size(tensor):
    count = 1
    for extent in tensor["shape"]:
        count *= extent
    return count


def table(rows):
    lines = ["| type | bits a weight | matrices | moved by | perplexity | MB | seconds |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['type']} | - | - | - | {row['error']} | - | - |")
            continue
        bits = "-" if row["bits"] is None else f"{row['bits']:.2f}"
        moved = "-" if row["moved"] is None else f"{100 * row['moved']:.2f} %"
        perplexity = row["perplexity"]
        perplexity = f"{perplexity:.2f}" if perplexity < 1e4 else f"{perplexity:.1e}"
        cells = [row["type"], bits, row["matrices"], moved, perplexity, f"{row['megabytes']:.0f}", f"{row['seconds']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a fetched model's name, or a path")
    parser.add_argument("--tvmc", default=str(ROOT / "target/release/tvmc"))
    parser.add_argument("--text", required=True)
    parser.add_argument("--windows", default="8", help="windows of 512 tokens")
    parser.add_argument("--types", default=",".join(TYPES.split()))
    parser.add_argument("--rule", action="append", default=[], help="a further rule of `tvmc quantize`")
    parser.add_argument("--out", help="write PATH.json and PATH.md")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "source.gguf"
        run([arguments.tvmc, "quantize", arguments.model, source, "--type", "f32", "--json"])
        for kind in arguments.types.split(","):
            try:
                rows.append(measure(arguments, source, folder, kind))
            except (RuntimeError, ValueError, KeyError) as error:
                rows.append({"type": kind, "error": str(error)})
            print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(rows))
    if arguments.out:
        pathlib.Path(arguments.out + ".json").write_text(json.dumps(rows, indent=1) + "\n")
        pathlib.Path(arguments.out + ".md").write_text(table(rows))


if __name__ == "__main__":
    main()
