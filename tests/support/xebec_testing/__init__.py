"""What the integration tests are written with: the real gateway, replicas that obey, and a client of raw sockets."""
import pathlib

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
