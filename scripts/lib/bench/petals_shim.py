"""Lets the last release of Petals run beside the hivemind that installs today: what it imports from
hivemind's top level is put there, and it does not ask the network for newer versions of itself."""

import builtins
import sys

import hivemind
import hivemind.compression
import hivemind.p2p
import hivemind.utils
import hivemind.utils.asyncio
import hivemind.utils.nested
import hivemind.utils.tensor_descr


def apply():
    for module in [
        hivemind.utils.tensor_descr,
        hivemind.utils.nested,
        hivemind.compression,
        hivemind.p2p,
        hivemind.utils,
    ]:
        for name in dir(module):
            if not name.startswith("_") and not hasattr(hivemind, name):
                setattr(hivemind, name, getattr(module, name))
    for module in [hivemind, hivemind.utils.asyncio]:
        if not hasattr(module, "anext"):
            module.anext = builtins.anext
    for name in ["TensorDescriptor", "BatchTensorDescriptor"]:
        if not hasattr(hivemind.utils, name):
            setattr(hivemind.utils, name, getattr(hivemind.utils.tensor_descr, name))


def serve():
    """Petals' run_server with these changes; its options are those of the command line."""
    import petals.cli.run_server as run_server

    run_server.validate_version = lambda: None
    run_server.main()


apply()
if __name__ == "__main__":
    sys.argv[0] = "run_server"
    serve()
