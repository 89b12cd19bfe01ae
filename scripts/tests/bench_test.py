"""What scripts/bench computes from samples, draws and writes, and what it makes of other programs' words."""

import argparse
import io
import json
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
LIB = Path(__file__).resolve().parent.parent / "lib" / "bench"
sys.path.insert(0, str(LIB))

import contenders
import figures
import measure
import petals_swarm
import plot
from report import END, START, publish, table

LINKS = {
    "rate_mbit": 100,
    "max_tokens": 64,
    "links": [
        {
            "delay_ms": delay,
            "bound_steps_per_second": bound,
            "failover": {"stall_seconds": 1.5} if delay else None,
            "prompts": [
                {
                    "prompt": "Write a story about a dragon.",
                    "plain": {"tokens_per_second": plain, "of_bound": bound and plain / bound},
                    "drafting": {"tokens_per_second": 2 * plain},
                },
                {
                    "prompt": "Repeat <this>",
                    "plain": {"tokens_per_second": plain, "of_bound": bound and 0.99},
                    "drafting": {"tokens_per_second": 3 * plain},
                },
            ],
        }
        for delay, bound, plain in [(0, None, 80.0), (10, 25.0, 20.0), (100, 2.5, 2.4)]
    ],
}


def round_of(engine, workers, same=True):
    """A round with rates for the engine at two thread counts, and workers."""
    sample = {"decode": engine, "prefill": 10 * engine, "load_seconds": 1.0}
    worker = {
        "decode": workers,
        "prefill": 8 * workers,
        "aggregate_1": workers,
        "aggregate_8": 3 * workers,
        "first_token_seconds": 0.5,
        "start_to_first_token_seconds": 20.0,
        "worker_rss_ratio": 1.25,
        "worker_rss_bytes": 2**27,
        "worker_peak_rss_bytes": 2**28,
        "worker_weights_bytes": 2**25,
        "worker_configured_cache_bytes": 2**26,
        "same_tokens_as_one_process": same,
    }
    return {
        "exact/1": sample,
        "exact/2": {name: value / 2 for name, value in sample.items()},
        "swarm3/2": worker,
    }


def results_of(rounds, **more):
    results = {
        "date": "2026-01-02T03:04:05+00:00",
        "command": "scripts/bench --rounds 4",
        "machine": {"cpu": "a CPU", "cores": 2, "memory_gib": 8.0, "system": "Linux"},
        "versions": {"burn": "0.21.0"},
        "load_average_before": 0.25,
        "rounds": [
            {"samples": samples, "load_average": 1.5, "copy_gb_per_second": 9.0} for samples in rounds
        ],
        "failures": {},
        "prompts": {
            "decode_prompt_tokens": 43,
            "prefill_prompt_tokens": 256,
            "decode_tokens": 128,
            "session_tokens": 64,
        },
        **more,
    }
    measure.summarise(results)
    return results


class Figures(unittest.TestCase):
    # One round ran at a third of the speed, for everybody.
    rounds = [round_of(60.0, 48.0), round_of(20.0, 15.0), round_of(62.0, 31.0)]

    def test_medians_are_over_rounds(self):
        middle = figures.medians(self.rounds)
        self.assertEqual(middle["exact/1"]["decode"], 60.0)
        self.assertEqual(middle["swarm3/2"]["decode"], 31.0)

    def test_a_contender_that_failed_once_has_medians_of_the_other_rounds(self):
        rounds = [*self.rounds, {**round_of(60.0, 48.0), "torch/1": {"decode": 25.0}}]
        middle = figures.medians(rounds)
        self.assertEqual(middle["torch/1"], {"decode": 25.0})
        value, reason = figures.ratio(rounds, middle, "decode", ["exact"], ["torch"])
        self.assertAlmostEqual(value, 2.4)
        self.assertIsNone(reason)

    def test_a_truth_has_to_hold_in_every_round(self):
        middle = figures.medians(self.rounds)
        self.assertIs(middle["swarm3/2"]["same_tokens_as_one_process"], True)
        once_not = [*self.rounds, round_of(60.0, 48.0, same=False)]
        middle = figures.medians(once_not)
        self.assertIs(middle["swarm3/2"]["same_tokens_as_one_process"], False)

    def test_ratios_are_paired_by_round_at_the_best_variant(self):
        middle = figures.medians(self.rounds)
        self.assertEqual(figures.best(middle, ["exact"], "decode"), "exact/1")
        values, reasons = figures.ratios(self.rounds, middle)
        # 48/60, 15/20 and 31/62; the ratio of the medians would be 31/60.
        self.assertAlmostEqual(values["swarm3_vs_single"], 0.75)
        self.assertIsNone(values["decode_vs_llamacpp_q4_1"])
        self.assertIn("llamacpp-q4_1", reasons["decode_vs_llamacpp_q4_1"])

    def test_variants_of_a_contender_are_told_from_another_contender(self):
        rounds = [
            {
                "exact/1": {"decode": 90.0},
                "exact-q4_0/1": {"decode": 500.0},
                "llamacpp-q4_1/1": {"decode": 60.0},
                "llamacpp-q4_1/2 flash attention": {"decode": 75.0},
                "llamacpp-q4_0/1": {"decode": 100.0},
            }
        ]
        values, _ = figures.ratios(rounds, figures.medians(rounds))
        self.assertAlmostEqual(values["decode_vs_llamacpp_q4_1"], 1.2)
        self.assertAlmostEqual(values["decode_vs_llamacpp_best"], 0.9)
        self.assertAlmostEqual(values["decode_q4_0_vs_llamacpp_q4_0"], 5.0)

    def test_candle_counts_in_the_format_in_which_it_is_faster(self):
        rounds = [
            {"exact/1": {"decode": 90.0}, "candle/1": {"decode": f32}, "candle-q4_1/1": {"decode": 9.0}}
            for f32 in [18.0, 30.0]
        ]
        values, _ = figures.ratios(rounds, figures.medians(rounds))
        self.assertAlmostEqual(values["decode_vs_candle"], 4.0)

    def test_the_bound_of_100_ms_is_that_of_the_worst_prompt(self):
        self.assertAlmostEqual(figures.latency_bound(LINKS), 0.96)
        self.assertIsNone(figures.latency_bound({"links": LINKS["links"][:2]}))
        self.assertIsNone(figures.latency_bound(None))

    def test_the_memory_of_a_worker_is_that_of_the_worst_variant(self):
        middle = {f"swarm3/{at}": {"worker_rss_ratio": ratio} for at, ratio in [(1, 1.1), (2, 1.4)]}
        self.assertEqual(figures.worker_memory({**middle, "exact/1": {}}), 1.4)
        self.assertIsNone(figures.worker_memory({}))

    def test_common_prefixes(self):
        self.assertEqual(figures.common_prefix([1, 2, 3], [1, 2, 4]), 2)
        self.assertEqual(figures.common_prefix([1, 2], [1, 2, 4]), 2)
        self.assertEqual(figures.common_prefix([], [1]), 0)


class Results(unittest.TestCase):
    def test_every_promised_key_is_there_with_a_reason_where_it_is_null(self):
        results = results_of(Figures.rounds, failures={"reproducible_cost": "no compiler"})
        for key in figures.PROMISED:
            self.assertIn(key, results)
            self.assertEqual(results[key] is None, key in results["reasons"], key)
        self.assertEqual(results["worker_rss_ratio"], 1.25)
        self.assertEqual(results["reasons"]["reproducible_cost"], "no compiler")
        json.dumps(results)

    def test_the_table_shows_spread_a_difference_in_tokens_and_what_is_missing(self):
        rounds = [*Figures.rounds, round_of(60.0, 48.0, same=False)]
        text = table(results_of(rounds, links=LINKS, order_cost={"a": -0.5, "b": 0.04}))
        self.assertIn("| engine, reproducible kernels | 1 | 60.0 (20.0 – 62.0) |", text)
        self.assertIn("| 2 | 128 MiB | 256 MiB | 32 MiB | 64 MiB | 0.50 s | 20.0 s | NO |", text)
        self.assertIn("| three local workers, reproducible kernels | 2 | 39.5 | 118.5 |", text)
        self.assertIn("not taken: petals was not measured | ≥ 10 |", text)
        self.assertIn("| 100 ms | Write a story about… | 2.50 | 2.40 | 0.960 | 4.80 | 1.50 s |", text)
        self.assertIn("| time that the order of sums costs | 0.020 |", text)
        self.assertNotIn("llama.cpp, Q4_0 |", text)

    def test_plots_are_xml_with_a_line_for_each_series(self):
        drawn = plot.plots(results_of(Figures.rounds, links=LINKS))
        self.assertEqual(set(drawn), {"sessions.svg", "latency.svg"})
        for name, lines in [("sessions.svg", 1), ("latency.svg", 5)]:
            tree = xml.etree.ElementTree.fromstring(drawn[name])
            found = tree.findall("{http://www.w3.org/2000/svg}polyline")
            self.assertEqual(len(found), lines, name)
            for line in found:
                for point in line.get("points").split():
                    x, y = map(float, point.split(","))
                    self.assertTrue(0 <= x <= plot.WIDTH and 0 <= y <= plot.HEIGHT)

    def test_without_links_there_is_no_plot_of_them(self):
        self.assertEqual(set(plot.plots(results_of(Figures.rounds))), {"sessions.svg"})

    def test_results_go_between_the_marks_of_a_page(self):
        with tempfile.TemporaryDirectory() as folder:
            page, plots = Path(folder) / "page.md", Path(folder) / "found"
            plots.mkdir()
            (plots / "sessions.svg").write_text("<svg/>")
            page.write_text(f"before\n{START}\nold\n{END}\nafter\n")
            publish(page, "new\n", plots)
            publish(page, "newer\n", plots)
            text = page.read_text()
            self.assertEqual(text.count(START), 1)
            self.assertTrue(text.startswith("before\n") and text.endswith("after\n"))
            self.assertNotIn("old", text)
            self.assertIn("newer\n\n![", text)
            self.assertIn("(page/sessions.svg)", text)
            self.assertNotIn("latency.svg", text)
            self.assertEqual((Path(folder) / "page/sessions.svg").read_text(), "<svg/>")
            page.write_text("nothing")
            with self.assertRaisesRegex(RuntimeError, "no marks"):
                publish(page, "new", plots)

    def test_the_axis_ends_at_a_round_number(self):
        for value, expected in [(0.3, 1), (1, 1), (7.5, 10), (120, 200), (230, 250), (1001, 2000)]:
            self.assertAlmostEqual(plot.ceiling(value), expected)


class Programs(unittest.TestCase):
    def test_what_quipu_bench_tells_becomes_a_sample(self):
        worker = {
            "rss_bytes": 90,
            "peak_rss_bytes": 120,
            "weights_bytes": 40,
            "configured_cache_bytes": 60,
        }
        report = {
            "sessions": [
                {
                    "sessions": count,
                    "tokens_per_second": 50.0 * count,
                    "first_token_seconds": [0.2, 0.4],
                    "same_tokens": True,
                    "token_ids": [5, 6, 7],
                }
                for count in [1, 8]
            ],
            "long": {"prompt_tokens": 256, "first_token_seconds": 0.5},
            "start_to_first_token_seconds": 15.0,
            "workers": [worker, {**worker, "rss_bytes": 110}],
        }
        sample = measure.swarm_figures(report, [5, 6, 7, 8])
        self.assertEqual(sample["decode"], 50.0)
        self.assertEqual(sample["aggregate_8"], 400.0)
        self.assertEqual(sample["prefill"], 512.0)
        self.assertAlmostEqual(sample["worker_rss_ratio"], 1.1)
        self.assertIs(sample["same_tokens_as_one_process"], True)
        other = measure.swarm_figures(report, [5, 6, 9])
        self.assertIs(other["same_tokens_as_one_process"], False)

    def test_the_cost_of_the_order_is_read_from_criterion(self):
        told = """
order/attention/64/in order  time:   [1.0 µs 2.0000 µs 3.0 µs]
                        change: [-1% 0% 1%] (p = 0.5 > 0.05)
order/attention/64/partial sums: 1
                        time:   [1.0 ns 1900.0 ns 3.0 ns]
order/attention/64/partial sums: 2
                        time:   [1.0 µs 2.5000 µs 3.0 µs]
order/9x9/in order      time:   [1.0 ms 0.0020 ms 3.0 ms]
order/9x9/partial sums: 4
                        time:   [1.0 µs 2.1000 µs 3.0 µs]
"""
        found = contenders.cost_of_order(told)
        self.assertAlmostEqual(found["attention/64"], 2.0 / 1.9 - 1)
        self.assertAlmostEqual(found["9x9"], 2.0 / 2.1 - 1)
        self.assertEqual(contenders.cost_of_order("nothing"), {})

    def test_a_program_that_fails_is_an_error_with_its_words(self):
        with self.assertRaisesRegex(RuntimeError, "gave 3:\nbroken"):
            contenders.output_of(["bash", "-c", "echo broken >&2; exit 3"])
        with self.assertRaisesRegex(RuntimeError, "more than 0.2 s"):
            contenders.output_of(["sleep", "60"], timeout=0.2)

    def test_what_a_program_started_ends_with_it(self):
        # The inner shell is deaf to interruptions.
        inner = "trap '' INT; echo $$; exec sleep 600"
        process = subprocess.Popen(
            ["bash", "-c", "bash -c \"$INNER\"; true"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "INNER": inner},
        )
        child = int(process.stdout.readline())
        with process, mock.patch.object(contenders, "END_SECONDS", 0.5):
            contenders.end_group(process)
        self.assertIsNotNone(process.returncode)
        self.assert_ended(child)

    def test_who_cleans_up_when_interrupted_is_let_do_so(self):
        with tempfile.TemporaryDirectory() as folder:
            done = Path(folder) / "done"
            script = f"trap 'echo cleaned >{done}; exit 3' INT; echo ready; read -r"
            # What is ignored here, as behind a background shell, a program could not trap.
            with contenders.signals_held():
                process = subprocess.Popen(
                    ["bash", "-c", script],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                )
            with process:
                process.stdout.readline()
                contenders.end_group(process)
            self.assertEqual(process.returncode, 3)
            self.assertEqual(done.read_text(), "cleaned\n")

    def test_a_signal_ends_what_was_started(self):
        script = """
import sys
from contenders import end_on_signals, output_of
end_on_signals()
output_of(["bash", "-c", "echo $$ >&$0; exec sleep 600", sys.argv[1]], pass_fds=[int(sys.argv[1])])
"""
        for number in [signal.SIGINT, signal.SIGTERM]:
            reading, writing = os.pipe()
            process = subprocess.Popen(
                [sys.executable, "-c", script, str(writing)],
                pass_fds=[writing],
                env={**os.environ, "PYTHONPATH": str(LIB), "PYTHONDONTWRITEBYTECODE": "1"},
            )
            os.close(writing)
            with os.fdopen(reading) as pipe:
                child = int(pipe.readline())
                process.send_signal(number)
                # Its end closes the pipe; until then this waits.
                self.assertEqual(pipe.read(), "")
            self.assertEqual(process.wait(), 128 + number)
            self.assert_ended(child)

    def test_the_limit_of_the_links_grows_with_the_rounds(self):
        with mock.patch.object(contenders, "output_of", return_value="{}") as called:
            for rounds, limit in [(1, None), (5, None), (5, 100)]:
                contenders.links(Path("bin"), "model", [100], 64, rounds, True, limit)
            limits = [call.kwargs["timeout"] for call in called.call_args_list]
        self.assertEqual(limits, [1800, 5400, 100])

    def assert_ended(self, process):
        """Who was killed takes a moment to end."""
        try:
            handle = os.pidfd_open(process)
        except ProcessLookupError:
            return
        ended, _, _ = select.select([handle], [], [], 10)
        os.close(handle)
        self.assertTrue(ended)

    def test_an_optional_contender_may_fail_and_ours_may_not(self):
        def fail():
            raise RuntimeError("out of memory")

        measured = measure.Round(argparse.Namespace())
        measured.take("petals/1", fail)
        self.assertEqual(measured.failures, {"petals/1": "out of memory"})
        with self.assertRaises(RuntimeError):
            measured.take("exact/1", fail)

    def test_everybody_decodes_as_many_tokens(self):
        asked = []

        def run(which, steps):
            asked.append(steps)
            ids = {"token_ids": [1] * steps, "prompt_token_ids": [1]}
            return {**ids, "decode_seconds": 1.0, "prefill_seconds": 1.0, "load_seconds": 1.0}

        measured = measure.Round(argparse.Namespace(steps=64))
        self.assertEqual(measured.both(run)[0]["decode"], 64.0)
        self.assertEqual(asked, [64, 0])

    def test_of_programs_given_no_state_is_named(self):
        args = argparse.Namespace(bin=Path("debug"), weights=Path("a.gguf"), llamacpp=False)
        args.torch = args.petals = args.candle = None
        args.given = True
        self.assertEqual(measure.versions(args), {"quipu": "programs given", "weights": "a.gguf"})

    def test_the_version_of_candle_is_the_one_it_is_pinned_to(self):
        args = argparse.Namespace(bin=Path("debug"), weights=Path("a.gguf"), llamacpp=False)
        args.torch, args.petals, args.candle, args.given = None, None, Path("bench-candle"), True
        pinned = measure.field(LIB / "candle/Cargo.toml", r'^candle-core = .*"=(.*?)"')
        self.assertRegex(pinned, r"^\d+\.\d+")
        self.assertEqual(measure.versions(args)["candle"], pinned)

    def test_candle_gets_the_tokens_of_both_prompts_for_both_of_its_models(self):
        with tempfile.TemporaryDirectory() as folder:
            program, asked = Path(folder) / "candle", Path(folder) / "asked"
            report = {"token_ids": [4, 5], "prompt_token_ids": [1, 2, 3], "load_seconds": 1}
            report |= {"decode_seconds": 0.5, "prefill_seconds": 1.5}
            program.write_text(f"#!/bin/bash\ncat >>{asked}; echo >>{asked}; echo '{json.dumps(report)}'\n")
            program.chmod(0o755)
            args = argparse.Namespace(steps=2, prompt_ids=[[1, 2, 3], [6]], candle=program)
            args.candle_models = [("candle-q4_1", Path("a.gguf")), ("candle", Path("f32"))]
            measured = measure.Round(args)
            measured.candle(2)
            jobs = [json.loads(line) for line in asked.read_text().splitlines()]
        self.assertEqual([job["model"] for job in jobs], ["a.gguf", "a.gguf", "f32", "f32"])
        self.assertEqual(jobs[2], {"model": "f32", "threads": 2, "tokens": [1, 2, 3], "decode": 2})
        self.assertEqual(jobs[3], {"model": "f32", "threads": 2, "tokens": [6], "decode": 0})
        self.assertEqual(measured.samples["candle/2"]["decode"], 4.0)
        self.assertEqual(measured.samples["candle-q4_1/2"]["prefill"], 2.0)
        self.assertEqual(measured.tokens["candle-q4_1/2"], [4, 5])

    def test_candle_needs_the_weights_in_f32(self):
        given = ["measure.py", "--bin", "b", "--weights", "w", "--results", "r", "--candle", "c"]
        with mock.patch.object(sys, "argv", [*given, "--hf", "f32"]):
            self.assertEqual(measure.options().candle, Path("c"))
        with mock.patch.object(sys, "argv", given), mock.patch.object(sys, "stderr", io.StringIO()):
            with self.assertRaises(SystemExit):
                measure.options()

    def test_lists_are_of_positive_numbers(self):
        self.assertEqual(measure.counts("1,2"), [1, 2])
        for bad in ["0", "1,-2"]:
            with self.assertRaises(argparse.ArgumentTypeError):
                measure.counts(bad)
        for bad in ["", "two"]:
            with self.assertRaises(ValueError):
                measure.counts(bad)

    def test_a_server_ends_with_what_it_started(self):
        # `read` keeps both shells until they are ended; the inner one tells its id.
        process = subprocess.Popen(
            ["bash", "-c", "bash -c 'echo $$; read -r'; true"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        inner = int(process.stdout.readline())
        petals_swarm.end_groups([process])
        # Its end closes the pipe; until then this waits.
        self.assertEqual(process.stdout.read(), b"")
        process.stdin.close()
        process.stdout.close()
        self.assertIsNotNone(process.returncode)
        self.assert_ended(inner)


def gguf_file(path, meta, tensors):
    """A small GGUF file. Tensors are (name, rows-first shape, type, bytes)."""

    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    out = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(meta))
    for key, value in meta.items():
        if isinstance(value, str):
            out += text(key) + struct.pack("<I", 8) + text(value)
        else:
            out += text(key) + struct.pack("<If" if isinstance(value, float) else "<II", 6 if isinstance(value, float) else 4, value)
    data = b""
    for name, shape, kind, content in tensors:
        out += text(name) + struct.pack("<I", len(shape))
        out += b"".join(struct.pack("<Q", size) for size in reversed(shape))
        out += struct.pack("<IQ", kind, len(data))
        data += content + bytes(-len(content) % 32)
    path.write_bytes(out + bytes(-len(out) % 32) + data)


try:
    import gguf
    import numpy as np
except ImportError:
    gguf = None


@unittest.skipIf(gguf is None, "numpy is not installed")
class Weights(unittest.TestCase):
    def test_blocks_are_expanded(self):
        half = struct.pack("<e", 0.5)
        nibbles = bytes(at | (15 - at) << 4 for at in range(16))
        values = [*range(16), *(15 - at for at in range(16))]
        for kind, block, expected in [
            (2, half + nibbles, [0.5 * (v - 8) for v in values]),
            (3, half + struct.pack("<e", -2.0) + nibbles, [0.5 * v - 2 for v in values]),
            (8, half + struct.pack("<32b", *range(-16, 16)), [0.5 * v for v in range(-16, 16)]),
            (0, struct.pack("<2f", 1.5, -3.0), [1.5, -3.0]),
            (1, struct.pack("<2e", 1.5, -3.0), [1.5, -3.0]),
        ]:
            found = gguf.expand(kind, np.frombuffer(block, np.uint8))
            self.assertEqual(found.tolist(), expected)

    def test_heads_are_put_back_in_order(self):
        # A head of four rows: GGUF has the halves interleaved.
        rows = np.array([[0.0], [2.0], [1.0], [3.0]], dtype=np.float32)
        self.assertEqual(gguf.unpermute(rows, 1).ravel().tolist(), [0.0, 1.0, 2.0, 3.0])

    def test_a_file_becomes_a_folder(self):
        meta = {
            "general.architecture": "llama",
            "llama.embedding_length": 2,
            "llama.feed_forward_length": 4,
            "llama.block_count": 1,
            "llama.attention.head_count": 1,
            "llama.context_length": 8,
            "llama.attention.layer_norm_rms_epsilon": 1e-5,
        }
        norm, words = struct.pack("<2f", 1, 2), struct.pack("<6f", *range(6))
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "a.gguf", Path(folder) / "out"
            gguf_file(
                source,
                meta,
                [("token_embd.weight", [3, 2], 0, words), ("blk.0.attn_norm.weight", [2], 0, norm)],
            )
            gguf.convert(source, target)
            shape = json.loads((target / "config.json").read_text())
            self.assertEqual((shape["vocab_size"], shape["hidden_size"]), (3, 2))
            self.assertIs(shape["tie_word_embeddings"], True)
            data = (target / "model.safetensors").read_bytes()
            length = struct.unpack_from("<Q", data)[0]
            header = json.loads(data[8 : 8 + length])
            start, end = header["model.layers.0.input_layernorm.weight"]["data_offsets"]
            self.assertEqual(data[8 + length + start : 8 + length + end], norm)
            self.assertEqual(header["model.embed_tokens.weight"]["shape"], [3, 2])

    def test_what_is_no_gguf_or_no_llama_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "a.gguf"
            source.write_bytes(bytes(64))
            with self.assertRaisesRegex(ValueError, "no GGUF"):
                gguf.convert(source, Path(folder))
            gguf_file(source, {"general.architecture": "mamba"}, [])
            with self.assertRaisesRegex(ValueError, "mamba"):
                gguf.convert(source, Path(folder))


if __name__ == "__main__":
    unittest.main()
