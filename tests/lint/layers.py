#!/usr/bin/python3
"""Checks that includes in gateway/ go one way, and that each library is included from its home alone.

    layers.py [ROOT]

    top (shard, admin, rollouts/, commands/, ...) -> edge -> infer -> judge -> replica -> support
    config/config.h, config/document.h: from all but support
"""
import pathlib
import re
import sys

LAYERS = ["support", "replica", "judge", "infer", "edge", "top"]  # a layer includes itself and what stands before it
TOP_FOLDERS = {"rollouts", "commands"}
CONFIG_MAY = re.compile(r"config/.*|support/.*|replica/tensor\.h")
CONFIG_IS = {"config/config.h", "config/document.h"}  # what config is to others
LIBRARY_HOMES = [  # an include, and the only files that may have it
    (r"event2/.*", {"support/loop.c", "support/redis_link.h", "support/redis_link.c", "edge/listener.c", "edge/conn.c", "edge/conn_parts.h",
                    "replica/rpc_dial.h", "replica/rpc_dial.c", "replica/rpc_h2_link.c"}),
    (r"nghttp2/.*", {"replica/rpc_h2_session.c", "edge/http2.c"}),
    (r"http_parser\.h", {"edge/http1.c"}),
    (r"grpc/.*", {"replica/rpc_core.c", "replica/rpc_queue.h", "replica/rpc_queue.c"}),
    (r".*\.pb-c\.h|protobuf-c/.*", {"replica/worker_judge.c", "replica/worker_describe.c", "replica/worker_claims.h"}),
    (r"simdjson\.h", {"infer/codec_json.hh"}),
    (r"hiredis/.*", {"support/resp.c"}),
    (r"zlib\.h", {"edge/coding.c"}),
    (r"openssl/.*", {"support/tls.c", "support/tls_context.c"}),
    (r"yaml\.h", {"config/yaml.c"}),
    (r"sodium\.h|sodium/.*", {
        "infer/cache.c", "infer/cache_value.c", "infer/cache_redis.c", "infer/cache_redis_part.c",
        "infer/shadow.c", "infer/split.c",
        "judge/worst.c", "replica/replica.c", "main.c", "admin_permit.c",
        "rollouts/rollout_file.c", "rollouts/rollouts.c"}),
]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.M)


def layer_of(path):
    """The layer of a file below gateway/: a folder's name, or "top"."""
    folder, _, file = path.rpartition("/")
    return folder if file and folder and folder not in TOP_FOLDERS else "top"


def judge_own(path, include):
    """What is wrong with an include of one of our headers; None when nothing is."""
    source, target = layer_of(path), layer_of(include)
    if source == "config":
        return None if CONFIG_MAY.fullmatch(include) else "config may include support/ and replica/tensor.h alone"
    if target == "config":
        if include not in CONFIG_IS:
            return "config.h and document.h are the headers of config"
        return "support knows nothing of configuration" if source == "support" else None
    if source not in LAYERS or target not in LAYERS:
        return "no such layer"
    if LAYERS.index(target) > LAYERS.index(source):
        return f"{source} is below {target}: includes go one way"
    return None


def judge(path, include, quoted, own):
    for pattern, homes in LIBRARY_HOMES:
        if re.fullmatch(pattern, include):
            return None if path in homes else "this library's home is " + ", ".join(sorted(homes))
    if not quoted:
        return None
    return judge_own(path, include) if include in own else "no such header below gateway/"


def sources(gateway):
    return sorted(file for file in gateway.rglob("*") if file.suffix in (".c", ".h", ".cc", ".hh"))


def violations(gateway):
    """Yields (file, line, include, what is wrong)."""
    own = {str(file.relative_to(gateway)) for file in gateway.rglob("*") if file.suffix in (".h", ".hh")}
    for file in sources(gateway):
        path = str(file.relative_to(gateway))
        text = file.read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            include = match[2]
            wrong = judge(path, include, match[1] == '"', own)
            if wrong:
                yield path, text.count("\n", 0, match.start()) + 1, include, wrong


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    found = list(violations(root / "gateway"))
    for path, line, include, wrong in found:
        print(f"gateway/{path}:{line}: {include}: {wrong}")
    files = len(sources(root / "gateway"))
    print(f"{files} files, {len(found)} violations")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
