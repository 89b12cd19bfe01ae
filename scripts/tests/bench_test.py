"""What scripts/bench computes from samples, and that it sees the processes it measures."""

import argparse
import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib" / "bench"))

import measure
import swarm
from report import table


def round_of(engine, workers, same=True):
    """A round with one thread count's rates for the engine and half of them at the other."""
    sample = {"decode": engine, "prefill": 10 * engine, "load_seconds": 1.0}
    worker = {
        "decode": workers,
        "prefill": 8 * workers,
        "first_token_seconds": 0.5,
        "start_to_first_token_seconds": 20.0,
        "worker_peak_rss_bytes": 2**27,
        "same_tokens_as_one_process": same,
    }
    return {
        "engine/1": sample,
        "engine/2": {name: value / 2 for name, value in sample.items()},
        "swarm3/2": worker,
        "load_average": 1.5,
    }


class Figures(unittest.TestCase):
    # One round ran at a third of the speed, for everybody.
    rounds = [round_of(60.0, 48.0), round_of(20.0, 15.0), round_of(62.0, 31.0)]

    def test_medians_are_over_rounds(self):
        middle = measure.medians(self.rounds)
        self.assertEqual(middle["engine/1"]["decode"], 60.0)
        self.assertEqual(middle["swarm3/2"]["decode"], 31.0)
        self.assertNotIn("load_average", middle)

    def test_a_truth_has_to_hold_in_every_round(self):
        middle = measure.medians(self.rounds)
        self.assertIs(middle["swarm3/2"]["same_tokens_as_one_process"], True)
        once_not = [*self.rounds, round_of(60.0, 48.0, same=False)]
        middle = measure.medians(once_not)
        self.assertIs(middle["swarm3/2"]["same_tokens_as_one_process"], False)

    def test_ratios_are_paired_by_round_at_the_best_thread_count(self):
        middle = measure.medians(self.rounds)
        self.assertEqual(measure.best(middle, "engine", "decode"), "engine/1")
        found = measure.ratios(self.rounds, middle, with_llamacpp=False)
        # 48/60, 15/20 and 31/62; the ratio of the medians would be 31/60.
        self.assertAlmostEqual(found["swarm3_vs_single"], 0.75)
        self.assertNotIn("decode_vs_llamacpp_q4_1", found)

    def test_the_table_shows_spread_and_a_difference_in_tokens(self):
        rounds = [*self.rounds, round_of(60.0, 48.0, same=False)]
        middle = measure.medians(rounds)
        text = table(
            {
                "date": "2026-01-02T03:04:05+00:00",
                "command": "scripts/bench --rounds 4",
                "machine": {"cpu": "a CPU", "cores": 2, "memory_gib": 8.0, "system": "Linux"},
                "versions": {"burn": "0.21.0"},
                "load_average_before": 0.25,
                "rounds": rounds,
                "prompts": {
                    "decode_prompt_tokens": 43,
                    "prefill_prompt_tokens": 256,
                    "decode_tokens": 128,
                },
                "medians": middle,
                "ratios": measure.ratios(rounds, middle, with_llamacpp=False),
            }
        )
        self.assertIn("| engine on Burn, one process | 1 | 60.0 (20.0 – 62.0) |", text)
        self.assertIn("| 2 | 128 MiB | 0.50 s | 20.0 s | NO |", text)
        self.assertNotIn("llama.cpp", text)

    def test_thread_counts_are_positive_numbers(self):
        self.assertEqual(measure.thread_counts("1,2"), [1, 2])
        for bad in ["0", "1,-2"]:
            with self.assertRaises(argparse.ArgumentTypeError):
                measure.thread_counts(bad)
        for bad in ["", "two"]:
            with self.assertRaises(ValueError):
                measure.thread_counts(bad)


class Processes(unittest.TestCase):
    def test_children_of_children_are_seen(self):
        # `read` keeps both shells until their input ends; the inner one tells its id.
        command = ["bash", "-c", "bash -c 'echo $$; read -r'; true"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            inner = int(child.stdout.readline())
            self.assertEqual(swarm.descendants(child.pid), {inner})
            self.assertIn(child.pid, swarm.descendants(os.getpid()))
            self.assertEqual(swarm.status_of(inner)["Name"], "bash")
            self.assertIn("VmHWM", swarm.status_of(inner))
        finally:
            child.communicate()
        self.assertEqual(swarm.status_of(child.pid), {})

    def test_a_demo_that_fails_is_an_error_with_its_words(self):
        # bash is not the demo, and says that it does not know --json.
        with self.assertRaisesRegex(RuntimeError, "--json"):
            swarm.sample("bash", {}, ["a prompt"], 1)


if __name__ == "__main__":
    unittest.main()
