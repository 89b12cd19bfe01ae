// The main job on the network that zombienet runs: registers the model as a subnet, starts its workers,
// asks, and verifies every amount and digest against the chain. `js-script` of zombienet's test
// language calls `run`; what it throws fails the test.

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { createWriteStream } = require("node:fs");
const path = require("node:path");

// Runs quipu-demo against `endpoint` and gives the JSON object of its last line. What it tells people
// is shown, and kept in `folder`.said.
async function demo(endpoint, folder) {
  const child = spawn(
    "quipu-demo",
    ["--chain", endpoint, "--folder", folder, "--json"],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  child.stderr.pipe(process.stderr, { end: false });
  child.stderr.pipe(createWriteStream(`${folder}.said`));
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
  const [code, signal] = await once(child, "close");
  assert.equal(code, 0, `quipu-demo ended with ${signal ?? code}`);
  return JSON.parse(output.trimEnd().split("\n").at(-1));
}

exports.run = async (node, network) => {
  const { wsUri } = network.nodesByName[node];
  // Among the logs of the nodes: `zombienet/run` shows them where the test fails.
  const report = await demo(wsUri, path.join(network.tmpDir, `main-job-${node}`));
  assert.equal(report.verified, true);
  assert.equal(report.prompts.length, 1);
  const [{ text, servers, session, settlement_block }] = report.prompts;
  assert.match(text, /Paris/);
  const paid = servers.filter(({ earned }) => BigInt(earned) > 0n);
  assert.equal(paid.length, 3, "each third of the model is paid for");
  console.log(
    `\t subnet ${report.subnet}, session ${session}, settled in block ${settlement_block}: ${text}`,
  );
};
