"""Coverage-guided fuzzing with Atheris (libFuzzer).

    python tests/fuzz/fuzz.py load --seconds 60     one target of targets.py
    python tests/fuzz/fuzz.py all --seconds 300     each of them, so long
    python tests/fuzz/fuzz.py svg --keep            and what reached new code joins corpus/, minimised

The corpus beside this file is where each run begins; `pytest` replays it without Atheris. An input that fails is
written into the current folder as crash-*, and the command ends with status 1. Needs the extra `fuzz`.
"""

import argparse
import copy
import json
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
NAMES = ("load", "dot", "svg", "player", "explain")
LONGEST = 1024  # bytes of one input
AWKWARD = [0, 1, -1, 2**63, 2**64, 8, 16, 24, 1.0, True, None, [], {}, "", "F64", "F32", "F16", [1], [1, 2], [0, 8]]


def fuzz(name, arguments):
    """Runs one target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["tinygrad_lite", "graphviz"]):
        from targets import TARGETS

    options = {"custom_mutator": mutated_file} if name == "load" else {}
    # libFuzzer starts itself anew, by a shell, to merge
    again = shlex.join([sys.executable, __file__, "--libfuzzer", name])
    atheris.Setup([again, *arguments], TARGETS[name], **options)
    atheris.Fuzz()


def mutated_file(data, most, seed):
    """A file whose header is changed, or its numbers, and whose first eight bytes mostly stay true."""
    import atheris

    (length,) = struct.unpack("<Q", data[:8].ljust(8, b"\0"))
    if seed % 4 == 0 or length > len(data):
        return atheris.Mutate(data, most)
    header, numbers = data[8 : 8 + length], data[8 + length :]
    if seed % 4 == 1:
        numbers = atheris.Mutate(numbers, len(numbers) + 16)
    elif seed % 4 == 2:
        header = atheris.Mutate(header, len(header) + 64)
    else:
        header = changed_json(header, seed)
    return (struct.pack("<Q", len(header)) + header + numbers)[:most]


def changed_json(header, seed):
    """The header with one of its values replaced, by one of its own or by an awkward one."""
    try:
        found = json.loads(header)
        places = list(_places(found))
    except (ValueError, RecursionError):
        return header
    if places:
        inside, key = places[seed // 4 % len(places)]
        replacements = [*AWKWARD, *(box[k] for box, k in places)]
        inside[key] = copy.deepcopy(replacements[seed // 1024 % len(replacements)])
    return json.dumps(found).encode()


def _places(box):
    """(container, key) of everything in nested lists and dicts."""
    for key, part in list(box.items() if isinstance(box, dict) else enumerate(box) if isinstance(box, list) else ()):
        yield box, key
        yield from _places(part)


def run(name, seconds, keep):
    """Fuzzes in a process of its own. True where nothing was found."""
    with tempfile.TemporaryDirectory() as work:
        new, kept = Path(work) / "new", CORPUS / name
        new.mkdir()
        kept.mkdir(parents=True, exist_ok=True)
        limits = [f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=4096"]
        status = _libfuzzer(name, [f"-max_total_time={seconds}", "-len_control=0", *limits, str(new), str(kept)])
        if keep and not status:
            merged = Path(work) / "merged"
            merged.mkdir()
            few = ["-set_cover_merge=1", "-use_counters=0"]  # the fewest that reach all lines that were reached
            status = _libfuzzer(name, [*few, *limits, str(merged), str(kept), str(new)])
            if not status:
                shutil.rmtree(kept)
                shutil.copytree(merged, kept)
        return not status


def _libfuzzer(name, arguments):
    return subprocess.run([sys.executable, __file__, "--libfuzzer", name, *arguments]).returncode


def main():
    if sys.argv[1:2] == ["--libfuzzer"]:
        return fuzz(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description="Coverage-guided fuzzing of files, pictures and explanations.")
    parser.add_argument("target", choices=[*NAMES, "all"])
    parser.add_argument("--seconds", type=int, default=60, help="how long each target is fuzzed (default: 60)")
    parser.add_argument("--keep", action="store_true", help="put what reaches new code into the corpus")
    options = parser.parse_args()
    targets = NAMES if options.target == "all" else [options.target]
    clean = [run(name, options.seconds, options.keep) for name in targets]
    return int(not all(clean))


if __name__ == "__main__":
    sys.exit(main())
