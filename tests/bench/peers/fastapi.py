"""FastAPI: a plain app under uvicorn with uvloop and httptools, a worker for each core.

Tuned by "Server Workers - Uvicorn with Workers" and "Concurrency and async / await" of FastAPI's documentation: short work
stays in the event loop (async def); a thread for each call costs more than these models.
"""
from .peer import CORES, Peer


class FastAPI(Peer):
    name = "fastapi"

    def start(self, run):
        run.start(self.bin("uvicorn"), "fastapi_app:app", "--host", "127.0.0.1", "--port", run.port, "--workers", CORES,
                  "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
