// A development node of its own for the test: free ports, a folder that is removed, killed at the end.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Starts `quipu-node --chain dev-fast` and resolves with its WebSocket address. */
export async function startNode() {
  const program = join(process.env.QUIPU_BIN ?? '', 'quipu-node');
  const folder = mkdtempSync(join(tmpdir(), 'quipu-js-'));
  const child = spawn(
    program,
    [
      '--chain', 'dev-fast', '--alice', '--validator', '--base-path', folder,
      '--listen-addr', '/ip4/127.0.0.1/tcp/0', '--rpc-port', '0',
      '--no-prometheus', '--no-telemetry',
      '--node-key', '1'.padStart(64, '0'),
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let stopping = false;
  const stop = async () => {
    stopping = true;
    const runs = child.exitCode === null && child.signalCode === null;
    const ended = runs ? new Promise((done) => child.once('exit', done)) : null;
    child.kill('SIGKILL');
    await ended;
    remove();
  };
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  process.once('exit', () => {
    child.kill('SIGKILL');
    remove();
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
  let log = '';
  try {
    const url = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no JSON-RPC port:\n${log}`)), 90_000);
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`the node ended:\n${log}`)));
      child.stderr.on('data', (data) => {
        log = (log + data).slice(-10_000);
        const port = /Running JSON-RPC server: addr=[^,\s]*:(\d+)/.exec(log);
        if (port) {
          clearTimeout(timer);
          resolve(`ws://127.0.0.1:${port[1]}`);
        }
      });
    });
    // Without a node every promise of the API would wait for ever.
    child.once('exit', (code, signal) => {
      if (stopping) return;
      console.error(`the node ended by itself (${signal ?? code}):\n${log}`);
      process.exit(1);
    });
    return { url, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
