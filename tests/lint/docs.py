#!/usr/bin/python3
"""Checks what the pages say against what is there: links and their anchors, files that are named, metrics, events of the
log, causes of errors, the figures of the README against those of docs/benchmarks.md and docs/peers.md; and that the README
leads to every page.

    docs.py [ROOT]

Keys of the configuration are compared by config_docs.py, what operators copy by deploy.py.
"""
import pathlib
import re
import sys
import unicodedata

PAGES = ["README.md", "docs/*.md", "gateway/README.md", "containers/**/*.md", "deploy/**/*.md", "tests/**/*.md"]
LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(([^()\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
HEADING = re.compile(r"^#{1,6} +(.+?)(?: +#+)? *$", re.M)
FOLDERS = r"(?:configs|containers|deploy|docs|gateway|proto|tests)"
NO_METRICS = {"xebec_gateway", "xebec_model", "xebec_worker"}  # a service of a Swarm, a struct of C, a platform
LAYERS = r"(?:edge|infer|judge|replica|support|config|rollouts|commands)"
FILE = re.compile(rf"(?<![\w/.-])((?:{FOLDERS}|{LAYERS})/[\w./-]*\.(?:c|h|cc|py|sh|md|ya?ml|proto|txt|json))\b")
EVENT = re.compile(r'\blog_(?:info|warn|error)\(\s*"(\w+)"|LOG_(?:INFO|WARN|ERROR)_LEVEL,\s*"(\w+)"|\{"(\w+)",\s*LOG_(?:INFO|WARN|ERROR)_LEVEL')


class Tree:
    """The checkout, and the Markdown pages in it."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.pages = sorted({page for pattern in PAGES for page in self.root.glob(pattern) if "node_modules" not in page.parts})

    def text(self, path):
        file = self.root / path
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def name(self, page):
        return str(page.relative_to(self.root))

    def code(self):
        return "\n".join(file.read_text(encoding="utf-8") for file in sorted((self.root / "gateway").rglob("*.[ch]")))


# --- links and files ---------------------------------------------------------------------------------------------------

def anchors_of(text):
    """The anchors that GitHub gives the headings of a page: lower case, no punctuation, spaces as dashes, -1 for the second."""
    anchors, seen = set(), {}
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        kept = "".join(each for each in words if each in " -_" or unicodedata.category(each)[0] in "LN")
        slug = kept.replace(" ", "-")
        seen[slug] = seen.get(slug, -1) + 1
        anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
    return anchors


def check_links(tree):
    for page in tree.pages:
        for target in LINK.findall(re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))):
            path, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            file = page.parent / path if path else page
            if not file.exists():
                yield f"{tree.name(page)}: links to {target}, which is not there"
            elif anchor and anchor not in anchors_of(file.read_text(encoding="utf-8")):
                yield f"{tree.name(page)}: links to {target}; that page has no such heading"


def check_pages(tree):
    """Whoever begins at the README finds every page."""
    linked = {target.partition("#")[0] for target in LINK.findall(tree.text("README.md"))}
    for page in sorted((tree.root / "docs").glob("*.md")):
        if tree.name(page) not in linked:
            yield f"README.md: does not link to {tree.name(page)}"


def check_files(tree):
    """Files that pages name, from the root, from gateway/, or from the folder of the page."""
    for page in tree.pages:
        for path in sorted(set(FILE.findall(page.read_text(encoding="utf-8")))):
            if not any((base / path).exists() for base in (tree.root, tree.root / "gateway", page.parent)):
                yield f"{tree.name(page)}: names {path}, which is not there"


# --- metrics, events, causes, figures ----------------------------------------------------------------------------------

def section_of(text, heading):
    """What stands below a heading, up to the next of its level."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,3}} |\Z)", text, re.M | re.S)
    return found[2] if found else ""


def compare(known, told, page, what):
    for name in sorted(known - told):
        yield f"{page}: {what} {name} is missing"
    for name in sorted(told - known):
        yield f"{page}: {what} {name} is not known to the gateway"


def check_metrics(tree):
    known = set(re.findall(r'"(xebec_\w+)"', tree.text("gateway/support/metrics.h")))
    told = {}
    for page in [*(tree.root / "docs").glob("*.md"), *(tree.root / "deploy/prometheus").iterdir()]:
        text = re.sub(r"endpoint:xebec_\w+:\w+", "", page.read_text(encoding="utf-8"))  # names of recording rules
        for name in re.findall(r"(?<![\w/])xebec_[a-z0-9_]+(?![\w-])", text):
            base = name if name in known else re.sub(r"_(bucket|sum|count)$", "", name)
            told.setdefault(base, set()).add(tree.name(page))
    for name in sorted(known - {name for name, pages in told.items() if any(page.startswith("docs/") for page in pages)}):
        yield f"docs/operating.md: metric {name} is missing, here and on all other pages"
    for name in sorted(told.keys() - known - NO_METRICS):
        yield f"{', '.join(sorted(told[name]))}: metric {name} is not known to the gateway"


def check_events(tree):
    known = {name for found in EVENT.findall(tree.code()) for name in found if name}
    rows = re.findall(r"^\| (`.*?) \|", section_of(tree.text("docs/operating.md"), "The log"), re.M)
    yield from compare(known, {name for row in rows for name in re.findall(r"`(\w+)`", row)}, "docs/operating.md", "event")


def check_causes(tree):
    known = set(re.findall(r'X\(GW_\w+,\s*(\d+),\s*\d+,\s*"(\w+)"', tree.text("gateway/support/err.h")))
    told = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", section_of(tree.text("docs/rest.md"), "Errors"), re.M))
    yield from compare({" ".join(each) for each in known} - {"200 ok"}, {" ".join(each) for each in told}, "docs/rest.md", "cause")


def check_figures(tree):
    """What the README claims is what was measured, word for word."""
    measured = [line for page in ("docs/benchmarks.md", "docs/peers.md") for line in tree.text(page).splitlines()]
    for line in re.findall(r"^\| .*\d.*\|$", section_of(tree.text("README.md"), "How fast"), re.M):
        if line not in measured:
            yield f"README.md: {line.strip('| ')}: a row of neither docs/benchmarks.md nor docs/peers.md"


def main():
    tree = Tree(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    checks = [check_links, check_pages, check_files, check_metrics, check_events, check_causes, check_figures]
    problems = [problem for check in checks for problem in check(tree)]
    print(*problems, f"{len(tree.pages)} pages, {len(problems)} problems", sep="\n")
    return 1 if problems or not tree.pages else 0


if __name__ == "__main__":
    sys.exit(main())
