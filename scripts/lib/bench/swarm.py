"""One sample of three local workers: the demo, its workers' memory, and when its first token came."""

import json
import os
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path

DEMO_SECONDS = 600
MEMORY_PERIOD = 0.2


def parents():
    """The parent of every process that /proc shows."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name is in parentheses and may hold anything.
                rest = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found[int(entry.name)] = int(rest[1])
    return found


def descendants(root):
    """The processes that a process started, and those that they started."""
    parent_of, known = parents(), {root}
    grown = True
    while grown:
        more = {pid for pid, parent in parent_of.items() if parent in known} - known
        grown = bool(more)
        known |= more
    return known - {root}


def status_of(pid):
    """/proc/PID/status by field, empty for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


class Memory:
    """Peak resident bytes of each `quipu-worker` under a process, sampled until stopped."""

    def __init__(self, root):
        self.peak = {}
        self._root = root
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._end.wait(MEMORY_PERIOD):
            for pid in descendants(self._root):
                status = status_of(pid)
                if status.get("Name") == "quipu-worker" and "VmHWM" in status:
                    self.peak[pid] = 1024 * int(status["VmHWM"].split()[0])

    def stop(self):
        self._end.set()
        self._thread.join()


def sample(program, environment, prompts, max_tokens):
    """Runs the demo. Its figures by prompt, in the order of the prompts.

    Raises RuntimeError where the demo fails or answers less than it was asked.
    """
    command = [program, "--json", "--validators", "1", "--max-tokens", str(max_tokens)]
    for prompt in prompts:
        command += ["--prompt", prompt]
    first_token = None
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        demo = subprocess.Popen(
            command, stdout=output, stderr=subprocess.PIPE, env={**os.environ, **environment}
        )
        killer = threading.Timer(DEMO_SECONDS, demo.kill)
        killer.start()
        memory = Memory(demo.pid)
        told = b""
        # Tokens come without line ends, so chunks are read.
        while chunk := os.read(demo.stderr.fileno(), 65536):
            told += chunk
            if first_token is None and re.search(rb"first token at", told):
                first_token = time.perf_counter() - started
        status = demo.wait()
        memory.stop()
        killer.cancel()
        demo.stderr.close()
        output.seek(0)
        lines = output.read().splitlines()
    if status != 0 or not lines:
        raise RuntimeError(f"the demo gave {status}:\n{told.decode(errors='replace')[-4000:]}")
    report = json.loads(lines[-1])
    if report.get("verified") is not True or first_token is None:
        raise RuntimeError("the demo ended without a verified answer")
    if len(memory.peak) != 3:
        raise RuntimeError(f"{len(memory.peak)} workers were seen, not three")
    return {
        "start_to_first_token_seconds": first_token,
        "worker_peak_rss_bytes": sorted(memory.peak.values()),
        "prompts": [
            {
                "prompt_tokens": len(answer["prompt_token_ids"]),
                "first_token_seconds": answer["first_token_seconds"],
                "tokens_per_second": answer["tokens_per_second"],
                "token_ids": answer["token_ids"],
            }
            for answer in report["prompts"]
        ],
    }
