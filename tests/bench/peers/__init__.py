"""Xebec beside other model servers: the same models, the same machine, the same client, in turns. See __main__.py."""
