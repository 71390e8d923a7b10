#!/usr/bin/python3
"""Checks that docs/configuration.md and configs/reference.yaml say what the gateway's key table says. Keys of TLS name files that
must be there, so their sample is configs/tls.yaml.

    config_docs.py XEBEC [ROOT]

XEBEC check --keys prints the table: path, type, default, meaning, with tabs between.
"""
import pathlib
import re
import subprocess
import sys


def known_keys(xebec):
    """{path: (type, default)} in the order of the table."""
    text = subprocess.run([xebec, "check", "--keys"], check=True, capture_output=True, text=True).stdout
    rows = [line.split("\t") for line in text.splitlines()]
    return {row[0]: (row[1], row[2]) for row in rows}


def documented_keys(path):
    """The same from the tables of a Markdown page: | `path` | type | default | meaning |"""
    keys = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            keys[cells[0]] = (cells[1], cells[2])
    return keys


def sample_keys(path):
    """[(path, value)] of a sample in block style: indentation, `- ` and comments are all it reads."""
    found, open_keys = [], []  # open_keys: (indent, path) from the outermost in
    for line in path.read_text(encoding="utf-8").splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).rstrip()
        if not line:
            continue
        indent = len(line) - len(line.lstrip())
        text = line.lstrip()
        while open_keys and open_keys[-1][0] >= indent:
            open_keys.pop()
        parent = open_keys[-1][1] if open_keys else ""
        if text.startswith("- "):
            open_keys.append((indent, parent + "[]"))
            parent, indent, text = parent + "[]", indent + 2, text[2:]
        match = re.fullmatch(r"([\w.-]+):(?:\s+(.*))?", text)
        if match:
            name = f"{parent}.{match[1]}" if parent else match[1]
            open_keys.append((indent, name))
            found.append((name, match[2] or ""))
    return found


def tls_keys(path):
    return [(key, value) for key, value in (sample_keys(path) if path.exists() else []) if "tls" in key.split(".")]


def pattern_of(path, patterns):
    """The known key that a concrete path is an instance of; None for a name or a section between keys."""
    for pattern in patterns:
        regex = re.escape(pattern).replace("NAME", r"[\w-]+")
        if re.fullmatch(regex, path):
            return pattern
    return None


def is_between(path, patterns):
    """Whether known keys lie below a path: a section, or a member of a collection."""
    regexes = [re.escape(pattern).replace("NAME", r"[\w-]+") for pattern in patterns]
    parts = path.count(".") + 1
    return any(re.fullmatch(r"\.".join(regex.split(r"\.")[:parts]), path) for regex in regexes)


def compare_docs(known, documented):
    for key in known:
        if key not in documented:
            yield f"docs/configuration.md: key {key} is missing"
        elif documented[key] != known[key]:
            yield (f"docs/configuration.md: {key} is {' | '.join(documented[key])}, "
                   f"the gateway says {' | '.join(known[key])}")
    for key in documented:
        if key not in known:
            yield f"docs/configuration.md: key {key} is not known to the gateway"


def compare_sample(known, sample):
    seen = set()
    for path, value in sample:
        key = pattern_of(path, known)
        if key is None:
            if not is_between(path, known):
                yield f"configs/reference.yaml: key {path} is not known to the gateway"
            continue
        seen.add(key)
        default = known[key][1]
        if value and default not in ("required", "none") and value != default:
            yield f"configs/reference.yaml: {path} is {value}, the default is {default}"
    for key in known:
        if key not in seen:
            yield f"configs/reference.yaml: key {key} is missing"


def main():
    root = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else pathlib.Path(__file__).parents[2])
    known = known_keys(sys.argv[1])
    problems = [*compare_docs(known, documented_keys(root / "docs/configuration.md")),
                *compare_sample(known, [*sample_keys(root / "configs/reference.yaml"), *tls_keys(root / "configs/tls.yaml")])]
    for problem in problems:
        print(problem)
    print(f"{len(known)} keys, {len(problems)} problems")
    return 1 if problems or not known else 0


if __name__ == "__main__":
    sys.exit(main())
