"""One sample of Petals as a private swarm of three servers on this machine, in f32, on loopback.

Reads {"model": folder, "blocks", "threads", "tokens", "prompt", "decode"} from standard input and writes
one JSON object: greedy decoding behind one prompt, and the time to the first token behind another.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from contenders import end_on_signals

HERE = Path(__file__).resolve().parent
START_SECONDS = 180
ASK_SECONDS = 300
# For the client and then for the servers to end; who interrupts this script waits for ten seconds.
END_SECONDS = 3


class Server:
    """A server of some blocks. Its log is read, lest it block."""

    def __init__(self, name, options, folder, threads):
        command = [sys.executable, str(HERE / "petals_shim.py"), *options]
        command += ["--identity_path", str(Path(folder) / f"{name}.id")]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        self.name, self.lines, self._bell = name, [], threading.Condition()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._bell:
                self.lines.append(line)
                self._bell.notify_all()
        with self._bell:
            self.lines.append(None)
            self._bell.notify_all()

    def wait_for(self, pattern):
        """The first line in which the pattern is found."""
        limit, seen = time.monotonic() + START_SECONDS, 0
        with self._bell:
            while True:
                for line in self.lines[seen:]:
                    if line is None:
                        raise RuntimeError(f"{self.name} ended:\n{self.told()}")
                    found = re.search(pattern, line)
                    if found:
                        return found
                seen = len(self.lines)
                if not self._bell.wait(limit - time.monotonic()):
                    raise RuntimeError(f"{self.name}: no {pattern!r}:\n{self.told()}")

    def told(self):
        return "".join(line for line in self.lines[-30:] if line)


def end_groups(processes):
    """Ends processes and those that they started, which share their groups, all at once."""
    for number, patience in [(signal.SIGTERM, END_SECONDS), (signal.SIGKILL, None)]:
        for process in processes:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                pass
        limit = time.monotonic() + (patience or 0)
        for process in processes:
            try:
                process.wait(patience and max(0.0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass


def serve(job, folder):
    """Three servers that all serve."""
    blocks, servers, peers = job["blocks"], [], []
    try:
        for part in range(3):
            first, last = blocks * part // 3, blocks * (part + 1) // 3
            options = [job["model"], "--block_indices", f"{first}:{last}", "--throughput", "100"]
            options += ["--no_auto_relay", "--num_handlers", "2", "--torch_dtype", "float32"]
            options += ["--host_maddrs", "/ip4/127.0.0.1/tcp/0", "--device", "cpu"]
            options += ["--attn_cache_tokens", "4096", "--quant_type", "none"]
            options += ["--initial_peers", *peers] if peers else ["--new_swarm"]
            options += ["--dht_prefix", "bench", "--update_period", "10"]
            server = Server(f"server{part}", options, folder, job["threads"])
            servers.append(server)
            if not peers:
                found = server.wait_for(r"Running a server on .*?(/ip4/127\.0\.0\.1/tcp/\d+/p2p/\w+)")
                peers = [found.group(1)]
        for server in servers:
            server.wait_for(r"Started")
    except BaseException:
        end(servers)
        raise
    return servers, peers


def end(servers):
    end_groups([server.process for server in servers])


def measure(job):
    import petals_shim  # noqa: F401, before petals
    import torch
    from petals import AutoDistributedModelForCausalLM

    torch.set_num_threads(job["threads"])
    model = AutoDistributedModelForCausalLM.from_pretrained(
        job["model"], initial_peers=job["peers"], dht_prefix="bench", torch_dtype=torch.float32
    )

    def answer(tokens, most):
        """Tokens, seconds to the first of them, and seconds for the others."""
        inputs, chosen = torch.tensor([tokens]), []
        with torch.inference_mode(), model.inference_session(max_length=len(tokens) + most):
            started = time.perf_counter()
            for _ in range(most):
                token = int(model(inputs).logits[0, -1].argmax())
                if not chosen:
                    first = time.perf_counter()
                chosen.append(token)
                inputs = torch.tensor([[token]])
            return chosen, first - started, time.perf_counter() - first

    # The first request finds the servers.
    answer(job["tokens"], 2)
    chosen, _, decode = answer(job["tokens"], job["decode"])
    _, prefill, _ = answer(job["prompt"], 1)
    return {
        "prefill_seconds": prefill,
        "decode_seconds": decode,
        "decoded": len(chosen) - 1,
        "token_ids": chosen,
    }


def client():
    """Measures, in a process of its own: Petals forks, which does not go with the threads that read
    the servers' logs."""
    report = measure(json.load(sys.stdin))
    print(json.dumps(report), flush=True)
    # The client's peer daemon keeps threads that an orderly end would wait for.
    os._exit(0)


def ask(job):
    """What the client measures. What it writes to standard error goes to a file, lest it block, and what
    it leaves behind may hold its pipes open, so that its end is not theirs."""
    with tempfile.TemporaryFile("w+") as told:
        asking = subprocess.Popen(
            [sys.executable, __file__, "--client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
            start_new_session=True,
        )
        watch = threading.Timer(ASK_SECONDS, end_groups, [[asking]])
        watch.start()
        try:
            asking.stdin.write(json.dumps(job))
            asking.stdin.close()
            line = asking.stdout.readline()
        finally:
            watch.cancel()
            end_groups([asking])
        if not line:
            told.seek(0)
            raise RuntimeError(f"the client ended:\n{told.read()[-4000:]}")
        return json.loads(line)


def main():
    # The servers have groups of their own: nobody else ends them.
    end_on_signals()
    job = json.load(sys.stdin)
    # Nobody's cache of other swarms, nor a folder that a later run finds.
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PETALS_CACHE"] = folder
        servers, peers = serve(job, folder)
        try:
            print(json.dumps(ask({**job, "peers": peers})))
        finally:
            end(servers)


if __name__ == "__main__":
    client() if sys.argv[1:] == ["--client"] else main()
