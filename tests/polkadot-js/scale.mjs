// What a client of Quipu hashes and signs, in plain JavaScript: the counterpart of the crate
// quipu-primitives, so that the two are checked against each other.
import { compactAddLength, hexToU8a, stringToU8a, u8aConcat } from '@polkadot/util';
import { blake2AsU8a } from '@polkadot/util-crypto';

/** H(len(domain) ‖ domain ‖ value), with the SCALE bytes of the value. */
export function hashOf(domain, ...parts) {
  return blake2AsU8a(u8aConcat(compactAddLength(stringToU8a(domain)), ...parts), 256);
}

const u16 = (value) => {
  const bytes = new Uint8Array(2);
  new DataView(bytes.buffer).setUint16(0, value, true);
  return bytes;
};

const u32 = (value) => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
};

const u64 = (value) => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
};

/** Merkle root over 32-byte leaves in their order. */
export function merkleRoot(leaves) {
  let level = leaves;
  while (level.length > 1) {
    const next = [];
    for (let i = 0; i < level.length; i += 2) {
      next.push(i + 1 < level.length ? hashOf('quipu/merkle', level[i], level[i + 1]) : level[i]);
    }
    level = next;
  }
  const top = level.length ? level[0] : new Uint8Array(32);
  return hashOf('quipu/merkle-root', u32(leaves.length), top);
}

/** What a session key signs to pay a server. */
export function voucherPayload(genesis, { session, node, positions }) {
  return hashOf(
    'quipu/voucher/1',
    hexToU8a(genesis),
    u64(session),
    u32(node),
    u32(positions),
  );
}

/** What a hotkey signs about what its server took in and gave out, in the session with this key. */
export function receiptPayload(genesis, sessionKey, receipt) {
  const digest = hashOf(
    'quipu/receipt/1',
    u64(receipt.session),
    u32(receipt.node),
    u16(receipt.span.start),
    u16(receipt.span.end),
    receipt.weightsRoot,
    receipt.profile,
    u32(receipt.start),
    u32(receipt.end),
    receipt.input,
    receipt.output,
    receipt.previous,
  );
  return hashOf('quipu/receipt-signature/2', hexToU8a(genesis), sessionKey, digest);
}
