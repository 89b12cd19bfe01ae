"""One sample of each contender, each in processes of its own."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SAMPLE_SECONDS = 900
# How long who is interrupted may take to end.
END_SECONDS = 10


def output_of(command, timeout=SAMPLE_SECONDS, **options):
    """Standard output of a command, stripped; what it wrote to standard error where it fails. Nothing
    that it started outlives a timeout, or an interruption of this process."""
    given = options.pop("input", None)
    stdin = subprocess.DEVNULL if given is None else subprocess.PIPE
    pipe = subprocess.PIPE
    process = None
    try:
        with signals_held():
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=pipe,
                stderr=pipe,
                text=True,
                start_new_session=True,
                **options,
            )
        out, told = process.communicate(given, timeout)
    except BaseException as error:
        if process:
            end_group(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise RuntimeError(f"{command[0]} took more than {timeout:.3g} s") from None
        raise
    finally:
        for end in (process.stdin, process.stdout, process.stderr) if process else ():
            if end:
                end.close()
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} gave {process.returncode}:\n{told[-4000:]}")
    return out.strip()


def end_group(process):
    """Interrupts a process and those of its group, so that they clean up, and kills who is still there
    when the process has ended or ten seconds are over."""
    try:
        os.killpg(process.pid, signal.SIGINT)
        # Takes what it still writes, lest it wait for that.
        process.communicate(timeout=END_SECONDS)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def signals_held():
    """Signals that come within are answered at its end: nothing is started that nobody knows of."""
    came, usual = [], {}
    for each in (signal.SIGINT, signal.SIGTERM):
        usual[each] = signal.signal(each, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for each, handler in usual.items():
            signal.signal(each, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def end_on_signals():
    """SIGINT and SIGTERM end this process by an exception, so that what it started is ended as well. Only
    the first of them: ending is not interrupted. SIGINT also where a shell has it ignored."""

    def end(number, _):
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, end)


def last_object(text):
    """The JSON object on the last line."""
    return json.loads(text.splitlines()[-1])


def python_job(python, script, job):
    """A script of this folder, which reads a job and writes a report."""
    return last_object(output_of([str(python), str(HERE / script)], input=json.dumps(job)))


def environment(threads, bin_folder):
    return {**os.environ, "RAYON_NUM_THREADS": str(threads), "QUIPU_BIN": str(bin_folder)}


def engine(bin_folder, weights, prompt, decode, threads, exact=False):
    """The engine in one process, on Burn or on the reproducible kernels."""
    command = [str(bin_folder / "examples/generate"), "--model", str(weights), "--prompt", prompt]
    command += ["--max-tokens", str(decode), "--ignore-end", "--warm-up", "--json"]
    if exact:
        command += ["--exact", "--threads", str(threads)]
    return last_object(output_of(command, env=environment(threads, bin_folder)))


def llamacpp(weights, tokens, decode, threads, flash=False, sessions=None):
    """llama.cpp with one sequence, or with each of some numbers of sequences at once."""
    job = {"model": str(weights), "threads": threads, "tokens": tokens, "decode": decode}
    job["flash"] = flash
    if sessions:
        job["sessions"] = sessions
    return python_job(sys.executable, "llamacpp.py", job)


def candle(program, model, tokens, decode, threads):
    """candle in f32 on a folder in Hugging Face's layout, or on a GGUF file as it is stored."""
    job = {"model": str(model), "threads": threads, "tokens": tokens, "decode": decode}
    return last_object(output_of([str(program)], input=json.dumps(job)))


def sessions(bin_folder, weights, prompt, decode, threads, counts):
    """The engine's sessions in one process, a batch a step."""
    command = [str(bin_folder / "quipu-bench"), "process", "--model", str(weights)]
    command += ["--sessions", ",".join(map(str, counts)), "--prompt", prompt]
    command += ["--max-tokens", str(decode), "--threads", str(threads)]
    return last_object(output_of(command, env=environment(threads, bin_folder)))


def swarm(bin_folder, weights, prompts, decode, threads, counts):
    """Three local workers: several sessions behind the first prompt, one behind the second."""
    command = [str(bin_folder / "quipu-bench"), "swarm", "--model", str(weights)]
    command += ["--sessions", ",".join(map(str, counts)), "--prompt", prompts[0]]
    command += ["--long-prompt", prompts[1], "--max-tokens", str(decode), "--threads", str(threads)]
    return last_object(output_of(command, env=environment(threads, bin_folder)))


def links(bin_folder, weights, delays, decode, rounds, failover, limit=None):
    """Three local workers behind emulated links. By default the limit grows with the rounds: a token takes
    four times the delay, whatever the machine."""
    command = [str(bin_folder / "quipu-bench-links"), "--json", "--model", str(weights)]
    command += ["--delays", ",".join(map(str, delays)), "--max-tokens", str(decode)]
    command += ["--rounds", str(rounds)] + ([] if failover else ["--without-failover"])
    limit = limit or (1 + rounds) * SAMPLE_SECONDS
    return last_object(output_of(command, env=environment(1, bin_folder), timeout=limit))


def order(bench_program, home, seconds, limit=None):
    """What the order of sums costs, by the Criterion bench `matrix`: (time in order / time in the fastest
    other order) - 1 of each of its groups. Each case is measured for so many seconds."""
    command = [str(bench_program), "--bench", "order/", "--warm-up-time", str(seconds / 2)]
    command += ["--measurement-time", str(seconds)]
    text = output_of(command, limit or SAMPLE_SECONDS, env={**os.environ, "CRITERION_HOME": str(home)})
    return cost_of_order(text)


UNITS = {"ps": 1e-12, "ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def cost_of_order(text):
    """The figures of `order` from what Criterion prints; none where it measured nothing of it."""
    times, name = {}, None
    for line in text.splitlines():
        found = re.match(r"order/(\S+)/(.*?)\s*(?:time:|$)", line)
        if found:
            name = found.groups()
        found = re.search(r"time:\s+\[\S+ \S+ (\S+) (\S+) ", line)
        if found and name:
            times.setdefault(name[0], {})[name[1]] = float(found[1]) * UNITS[found[2]]
            name = None
    return {
        group: by_order["in order"] / min(t for o, t in by_order.items() if o != "in order") - 1
        for group, by_order in times.items()
        if "in order" in by_order and len(by_order) > 1
    }
