"""Ray Serve: a replica for each core, its high-throughput mode, dynamic request batching for what gains by it.

Tuned by "Performance Tuning", "Dynamic Request Batching" and "Enable High Throughput on Ray Serve with KubeRay" of Ray's
documentation: RAY_SERVE_THROUGHPUT_OPTIMIZED, HAProxy instead of the proxy in Python (its wheel comes with ray[serve]), no
access log. Ray's own services (GCS, raylet) are part of the tree that is weighed.
"""
from .peer import CORES, SERVERS, Peer
from .tuning import BATCH, WAIT_SECONDS


class RayServe(Peer):
    name = "ray"

    def start(self, run):
        run.start(self.bin("python"), SERVERS / "ray_app.py", run.port, CORES, BATCH[run.model.name], WAIT_SECONDS,
                  RAY_SERVE_THROUGHPUT_OPTIMIZED=1, RAY_SERVE_ENABLE_HA_PROXY=1, RAY_USAGE_STATS_ENABLED=0,
                  RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S=0)
