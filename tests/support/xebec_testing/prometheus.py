"""Reads Prometheus text 0.0.4, and minds its rules: HELP and TYPE before samples, no sample twice."""
import re

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)')


class Metrics:
    def __init__(self, text):
        self.help, self.type, self.samples = {}, {}, {}
        assert text.endswith("\n")
        for line in text.splitlines():
            self._read(line)

    def _read(self, line):
        if line.startswith("# "):
            _, kind, name, rest = line.split(" ", 3)
            table = {"HELP": self.help, "TYPE": self.type}[kind]
            assert name not in table, f"{kind} of {name} twice"
            table[name] = rest
            return
        name, labels, value = SAMPLE.match(line).groups()
        pairs = LABEL.findall(labels or "")
        assert sum(len(key) + len(text) + 4 for key, text in pairs) in (0, len(labels or "") + 1), line
        assert self.family(name) in self.help and self.family(name) in self.type, line
        key = (name, tuple(sorted(pairs)))
        assert key not in self.samples, f"twice: {line}"
        self.samples[key] = float(value)

    def family(self, name):
        stem = re.sub(r"_(bucket|sum|count)$", "", name)
        return stem if self.type.get(stem) in ("histogram", "summary") else name

    def sum(self, name, **labels):
        """All samples of this name whose labels include these."""
        return sum(value for (sample, pairs), value in self.samples.items()
                   if sample == name and labels.items() <= dict(pairs).items())

    def buckets(self, name, **labels):
        """[(upper bound, cumulative count)] of one histogram, ascending."""
        found = [(float(dict(pairs)["le"]), value) for (sample, pairs), value in self.samples.items()
                 if sample == name + "_bucket" and labels.items() <= dict(pairs).items()]
        return sorted(found)
