"""The no-op model as a worker of Xebec in Python: `python xebec_noop.py LISTEN`."""
import sys

from xebec_worker import Tensor, serve

ROW = {"x": Tensor("FP32", [-1, 4])}

serve(lambda x: {"y": x}, model="m", version="v", inputs=ROW, outputs={"y": ROW["x"]}, listen=sys.argv[1], digest="noop")
