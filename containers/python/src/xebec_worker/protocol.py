"""Makes worker_pb2.py of proto/worker.proto with protoc.

A wheel carries the module ready-made. In a checkout, where the .proto is at hand, it is made when first
imported and whenever the .proto is newer; it is never committed.
"""
import pathlib
import shutil
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
MODULE = HERE / "worker_pb2.py"
PROTO = HERE.parents[3] / "proto/worker.proto" if len(HERE.parents) > 3 else HERE / "worker.proto"


def refresh():
    """Brings worker_pb2.py up to date with the .proto; does nothing where only the module is there."""
    if not PROTO.exists():
        if not MODULE.exists():
            raise RuntimeError(f"neither {MODULE} nor {PROTO} is there: install xebec-worker from a checkout or a wheel")
        return
    if MODULE.exists() and MODULE.stat().st_mtime >= PROTO.stat().st_mtime:
        return
    if shutil.which("protoc") is None:
        raise RuntimeError(f"protoc is needed to make {MODULE.name}: apt-get install protobuf-compiler")
    # Workers that start together each make their own, and rename it into place whole.
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".protoc-") as out:
        # The package's name goes into protobuf's process-wide registry of files; "worker.proto" alone could collide.
        subprocess.run(["protoc", f"-Ixebec_worker={PROTO.parent}", f"--python_out={out}",
                        f"xebec_worker/{PROTO.name}"], check=True)
        (pathlib.Path(out) / "xebec_worker/worker_pb2.py").replace(MODULE)
