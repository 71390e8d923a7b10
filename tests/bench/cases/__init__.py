"""The cases, in the order in which they are run; a file for each family."""

from .calls import case_latency, case_transport
from .dialects import case_dialects
from .large import case_large
from .memory import case_memory
from .redis_cache import case_redis_hit, case_redis_miss, case_redis_paused
from .replicas import case_replicas, case_shards
from .shadow import case_shadow
from .svm import case_svm
from .throughput import case_noop, case_cached, case_json784, case_all_miss
from .tls import case_tls

CASES = {"noop": case_noop, "cached": case_cached, "json784": case_json784, "latency": case_latency,
         "transport": case_transport, "large": case_large, "svm": case_svm, "all_miss": case_all_miss,
         "redis_hit": case_redis_hit, "redis_miss": case_redis_miss, "redis_paused": case_redis_paused,
         "shadow": case_shadow, "replicas": case_replicas, "shards": case_shards,
         "dialects": case_dialects, "tls": case_tls, "memory": case_memory}
