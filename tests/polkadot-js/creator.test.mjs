// The whole flow of a subnet creator, its servers and a consumer, through @polkadot/api alone:
// everything an explorer or a dApp needs must be reachable from the metadata.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ApiPromise, Keyring, WsProvider } from '@polkadot/api';
import { u8aConcat, u8aToHex } from '@polkadot/util';
import { startNode } from './node.mjs';
import { hashOf, merkleRoot, receiptPayload, voucherPayload } from './scale.mjs';

const QPU = 10n ** 12n;
const OUR_PALLETS = ['subnets', 'staking', 'inference', 'slashing', 'access'];
// A node that hangs fails the test instead of hanging it too.
const LIMIT = { timeout: 240_000 };

let node;
let api;
let genesis;
const submitted = new Set();
const keyring = new Keyring({ type: 'sr25519' });
const key = (uri) => keyring.addFromUri(uri);

before(async () => {
  node = await startNode();
  api = await ApiPromise.create({ provider: new WsProvider(node.url), noInitWarn: true });
  genesis = api.genesisHash.toHex();
});

after(async () => {
  await api?.disconnect();
  await node?.stop();
});

/** Signs, submits and waits for the block; gives the extrinsic's events or throws its error by name. */
function send(tx, signer) {
  const call = tx.method.section === 'sudo' ? tx.method.args[0] : tx.method;
  submitted.add(`${call.section}.${call.method}`);
  return new Promise((resolve, reject) => {
    let unsubscribe;
    tx.signAndSend(signer, ({ status, events, dispatchError }) => {
      if (!status.isInBlock) return;
      unsubscribe?.();
      if (!dispatchError) {
        resolve(events.map(({ event }) => event));
      } else if (dispatchError.isModule) {
        const { section, name } = api.registry.findMetaError(dispatchError.asModule);
        reject(new Error(`${section}.${name}`));
      } else {
        reject(new Error(dispatchError.toString()));
      }
    }).then((stop) => (unsubscribe = stop), reject);
  });
}

/** The data of the first event of this name. */
function data(events, section, method) {
  const event = events.find((e) => e.section === section && e.method === method);
  assert.ok(event, `no ${section}.${method} among ${events.map((e) => e.method)}`);
  return event.data;
}

/** Waits for a block after now with an event that `wanted` accepts, and gives the event. */
async function eventually(wanted) {
  return new Promise((resolve, reject) => {
    let unsubscribe;
    api.query.system.events((records) => {
      const found = records.map(({ event }) => event).find(wanted);
      if (found) {
        unsubscribe?.();
        resolve(found);
      }
    }).then((stop) => (unsubscribe = stop), reject);
  });
}

const free = async (who) => (await api.query.system.account(who.address)).data.free.toBigInt();

const PROFILE = { weights: 'F32', activations: 'F32', kv: 'F32', kernel: 'FlexF32' };
const profileDigest = hashOf('quipu/profile', new Uint8Array([0, 0, 0, 0]));

/** A model of two blocks that nobody runs: the chain sees only its digests. */
function manifest() {
  const blocks = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  const embedding = new Uint8Array(32).fill(3);
  const head = new Uint8Array(32).fill(4);
  return {
    name: 'tiny',
    config: {
      architecture: 'Llama', blocks: 2, hiddenSize: 16, intermediateSize: 32, heads: 4, kvHeads: 2,
      headDim: 4, vocabSize: 64, contextLength: 128, tiedEmbeddings: true,
      rmsNormEpsPico: 10_000_000, ropeThetaMilli: 10_000_000, ropeScaling: null,
    },
    blockDigests: blocks,
    embeddingDigest: embedding,
    headDigest: head,
    weightsRoot: merkleRoot([embedding, ...blocks, head]),
    tokenizerDigest: new Uint8Array(32).fill(5),
    profiles: [PROFILE],
    license: 'Apache-2.0',
    uri: 'https://example.org/tiny',
    terms: { minSelfBond: 0, maxNodes: 16 },
  };
}

/** Bytes of a libp2p peer id: an identity multihash of an ed25519 public key. */
const peerId = (fill) =>
  u8aConcat(new Uint8Array([0x00, 36, 0x08, 0x01, 0x12, 32]), new Uint8Array(32).fill(fill));

/** Asserts that an extrinsic fails with this error of the runtime. */
const refused = (name, tx, signer) => assert.rejects(send(tx, signer), new RegExp(`^Error: ${name}$`));

test('a creator, two servers and a consumer', LIMIT, async () => {
  const { access, subnets, staking, inference, slashing, sudo } = api.tx;
  const [creator, alice, bob, consumer] = ['//Creator', '//Server1', '//Server2', '//Consumer'].map(key);
  const [aliceHot, bobHot] = ['//Server1//hot', '//Server2//hot'].map(key);
  for (const hot of [aliceHot, bobHot]) {
    await send(api.tx.balances.transferKeepAlive(hot.address, 100n * QPU), alice);
  }

  // A wrong manifest is refused by name; a sound one becomes a subnet.
  await refused(
    'subnets.ManifestWeightsRoot',
    subnets.registerSubnet({ ...manifest(), weightsRoot: new Uint8Array(32) }),
    creator,
  );
  const registered = data(
    await send(subnets.registerSubnet(manifest()), creator), 'subnets', 'SubnetRegistered',
  );
  const subnet = registered.subnet.toNumber();

  // Two servers: registered, bonded, seated. The second seat activates the subnet.
  const registerNode = async (cold, hot, fill) => {
    const events = await send(subnets.registerNode(subnet, hot.address, u8aToHex(peerId(fill))), cold);
    return data(events, 'subnets', 'NodeRegistered').node.toNumber();
  };
  const first = await registerNode(alice, aliceHot, 1);
  const second = await registerNode(bob, bobHot, 2);
  const price = QPU / 1000n;
  const seat = (node, start) => subnets.join(node, { start, end: start + 1 }, price, profileDigest);
  await refused('subnets.BondTooSmall', seat(first, 0), aliceHot);
  await send(staking.bond(first, 10_000n * QPU), alice);
  await send(staking.bond(second, 10_000n * QPU), bob);
  await refused('subnets.SpanOutsideModel', seat(first, 2), aliceHot);
  await send(seat(first, 0), aliceHot);
  data(await send(seat(second, 1), bobHot), 'subnets', 'SubnetActivated');

  // The runtime APIs answer in the shapes that the metadata says.
  const info = (await api.call.subnetsApi.subnet(subnet)).unwrap();
  assert.equal(info.manifest.name.toUtf8(), 'tiny');
  assert.equal(info.status.isActive, true);
  assert.deepEqual((await api.call.subnetsApi.subnets(0, 10)).map((it) => it.id.toNumber()), [subnet]);
  assert.equal((await api.call.subnetsApi.roster(subnet)).length, 2);
  const served = (await api.call.subnetsApi.nodeOfHotkey(bobHot.address)).unwrap();
  assert.equal(served.id.toNumber(), second);
  assert.equal(served.seat.unwrap().span.start.toNumber(), 1);
  assert.deepEqual((await api.call.subnetsApi.node(second)).unwrap().toHuman(), served.toHuman());
  assert.equal((await api.call.subnetsApi.registrationDeposit()).toBigInt(), registered.deposit.toBigInt());
  const quote = (await api.call.inferenceApi.quote(subnet, 40)).asOk;
  assert.equal(quote.total.toBigInt(), 2n * 40n * price);

  // A session: opened, paid by vouchers that a key of its own signs, settled in one extrinsic.
  const sessionKey = key('//SessionKey');
  const cap = 100n * price;
  const open = (caps) =>
    inference.openSession(subnet, sessionKey.publicKey, caps, 600, new Uint8Array(32).fill(9), null);
  await refused('inference.NoRoute', open([[first, cap]]), consumer);
  const opened = await send(open([[first, cap], [second, cap]]), consumer);
  const session = data(opened, 'inference', 'SessionOpened').session.toNumber();
  const voucher = (node_, positions, signer = sessionKey) => {
    const content = { session, node: node_, positions };
    return [content, signer.sign(voucherPayload(genesis, content))];
  };
  await refused('inference.BadVoucherSignature',
    inference.redeem(session, ...voucher(first, 40, consumer)), aliceHot);
  await refused('inference.CapExceeded', inference.redeem(session, ...voucher(first, 101)), aliceHot);
  await send(inference.redeem(session, ...voucher(first, 32)), aliceHot);
  await refused('inference.VoucherReplayed', inference.redeem(session, ...voucher(first, 32)), aliceHot);
  const root = new Uint8Array(32).fill(7);
  const earned = await Promise.all([alice, bob].map(free));
  const closed = eventually((event) => api.events.inference.SessionClosed.is(event));
  await send(inference.settle(session, [voucher(first, 40), voucher(second, 40)], root), consumer);
  assert.equal((await closed).data.paid.toBigInt(), 80n * price);
  for (const [index, owner] of [alice, bob].entries()) {
    assert.equal((await free(owner)) - earned[index], 40n * price);
  }
  const record = (await api.call.inferenceApi.session(session)).unwrap();
  assert.equal(record.receiptRoot.unwrap().toHex(), u8aToHex(root));
  assert.equal(record.status.isClosed, true);

  // A one-shot job: the drawn server answers with a settled session of its own.
  const job = data(
    await send(inference.request(subnet, 'Why is the sky blue?', 16, QPU), consumer),
    'inference', 'JobRequested',
  );
  const hot = job.node.toNumber() === first ? aliceHot : bobHot;
  const answering = data(
    await send(open([[first, price], [second, price]]), hot), 'inference', 'SessionOpened',
  ).session.toNumber();
  await send(inference.settle(answering, [], root), hot);
  const submit = (signer) =>
    send(inference.submitResult(job.job, 'Scattering.', 'Stop', answering, root), signer);
  await assert.rejects(submit(consumer), /^Error: inference\.NotAssignedServer$/);
  const paid = eventually((event) => api.events.inference.JobPaid?.is(event) ?? false);
  await submit(hot);
  await paid;
  const done = (await api.call.inferenceApi.job(job.job)).unwrap();
  assert.equal(done.status.asDone.answer.toUtf8(), 'Scattering.');

  // A server that signs two things about the same positions is charged with it, once; its seat is
  // gone and its bond waits, until governance cancels the case.
  const says = (fill, signer = bobHot) => {
    const bytes = (value) => new Uint8Array(32).fill(value);
    const receipt = {
      session, node: second, span: { start: 1, end: 2 }, weightsRoot: bytes(1), profile: profileDigest,
      start: 0, end: 32, input: bytes(2), output: bytes(fill), previous: bytes(0),
    };
    return { receipt, signature: signer.sign(receiptPayload(genesis, sessionKey.publicKey, receipt)) };
  };
  const report = (one, other) => slashing.reportEquivocation({
    firstKey: bobHot.address, first: one, secondKey: bobHot.address, second: other,
  });
  await refused('slashing.NoContradiction', report(says(3), says(3)), consumer);
  await refused('slashing.BadSecondSignature', report(says(3), says(4, aliceHot)), consumer);
  const charged = await send(report(says(3), says(4)), consumer);
  const { case: number, amount } = data(charged, 'slashing', 'CaseOpened');
  assert.equal(amount.toBigInt(), 10_000n * QPU);
  data(charged, 'subnets', 'NodeLeft');
  await refused('slashing.AlreadyCharged', report(says(3), says(5)), consumer);
  await refused('staking.SlashPending', staking.withdraw(second), bob);
  await refused('slashing.NotDue', slashing.apply(number), alice);
  const canceled = await send(sudo.sudo(slashing.cancel(number)), key('//Alice'));
  data(canceled, 'slashing', 'CaseCanceled');
  assert.equal((await api.query.slashing.cases(number)).unwrap().state.isCanceled, true);
  data(await send(seat(second, 1), bobHot), 'subnets', 'SubnetActivated');

  // The rest of what a creator and an operator do, with its refusals.
  await send(subnets.updatePrice(first, 2n * price), aliceHot);
  await send(subnets.pauseSubnet(subnet), creator);
  await refused('inference.SubnetNotActive', open([[first, cap], [second, cap]]), consumer);
  await send(subnets.resumeSubnet(subnet), creator);
  await send(subnets.setHotkey(first, key('//Server1//hot2').address), alice);
  await send(subnets.setPeerId(first, u8aToHex(peerId(3))), alice);
  await refused('subnets.NodeSeated', subnets.removeNode(first), alice);
  await send(subnets.leave(first), alice);
  await send(staking.unbond(first, 10_000n * QPU), alice);
  await send(staking.rebond(first, 10_000n * QPU), alice);
  await refused('staking.NothingDue', staking.withdraw(first), alice);
  await refused('subnets.NodeBonded', subnets.removeNode(first), alice);
  await send(subnets.setColdkey(second, creator.address), bob);
  await refused('staking.NotRootNode', staking.chill(second), creator);
  await refused('subnets.SubnetHasNodes', subnets.dissolveSubnet(subnet), creator);
  await refused('inference.AlreadyClosed', inference.finalize(session), alice);
  await refused('inference.JobClosed', inference.payJob(job.job), alice);
  await refused('inference.JobClosed', inference.refundJob(job.job), alice);

  // Others put something at stake for a server, take it back, and move it; holders lock some for their quota.
  await send(staking.setCommission(first, 50_000_000), alice);
  await send(staking.delegate(first, 100n * QPU), consumer);
  const pool = (await api.call.economyApi.pool(first)).unwrap();
  assert.equal(pool.amount.toBigInt(), 100n * QPU);
  assert.equal(pool.commissionParts.toNumber(), 50_000_000);
  await send(staking.undelegate(first, 10n * QPU), consumer);
  await refused('staking.NothingDue', staking.withdrawDelegation(first, consumer.address), alice);
  await send(staking.moveDelegation(first, second, 20n * QPU), consumer);
  const delegation = (await api.call.economyApi.delegation(first, consumer.address)).unwrap();
  assert.equal(delegation.amount.toBigInt(), 70n * QPU);
  assert.equal(delegation.chunks[0].amount.toBigInt(), 10n * QPU);
  await refused('staking.NotDelegated', staking.claim(first), alice);
  await refused('staking.NotOwner', staking.claimOwn(first), consumer);
  await refused('staking.NotOwner', staking.moveBond(first, second, QPU), alice);
  await refused('staking.NothingToRelease', staking.releaseDelegator(first, consumer.address), alice);
  await refused('staking.NothingToClear', staking.clearMoves(first), alice);
  await send(access.lock(5n * QPU), consumer);
  assert.equal((await api.call.economyApi.quota(consumer.address)).locked.toBigInt(), 5n * QPU);
  await send(access.unlock(5n * QPU), consumer);
  const byQuota = inference.openSessionByQuota(
    subnet, sessionKey.publicKey, [[first, cap]], 600, new Uint8Array(32), null,
  );
  await refused('inference.SubnetNotActive', byQuota, consumer);
  const supply = await api.call.economyApi.supply();
  assert.equal(supply.buckets.length, 5);

  // A validator stands down and up again; a subnet that nobody needs goes, and its deposit returns.
  const validator = key('//Alice');
  await send(staking.chill(0), validator);
  await send(staking.validate(0), validator);
  const unneeded = data(
    await send(subnets.registerSubnet({ ...manifest(), name: 'unneeded' }), creator),
    'subnets', 'SubnetRegistered',
  ).subnet.toNumber();
  const idle = data(
    await send(subnets.registerNode(unneeded, key('//Idle').address, u8aToHex(peerId(4))), alice),
    'subnets', 'NodeRegistered',
  ).node.toNumber();
  await send(subnets.removeNode(idle), alice);
  const dissolved = data(
    await send(subnets.dissolveSubnet(unneeded), creator), 'subnets', 'SubnetDissolved',
  );
  assert.equal(dissolved.deposit.toBigInt(), registered.deposit.toBigInt());
  assert.equal((await api.query.subnets.subnets(unneeded)).isNone, true);
});

/** The variants of a pallet's events or errors. */
const variants = (declared) =>
  declared.isSome ? api.registry.lookup.getSiType(declared.unwrap().type).def.asVariant.variants : [];

test('every call of our pallets was submitted', LIMIT, () => {
  const all = OUR_PALLETS.flatMap((pallet) =>
    Object.keys(api.tx[pallet]).map((call) => `${pallet}.${call}`));
  assert.deepEqual(all.filter((call) => !submitted.has(call)), []);
});

test('every event, error and value that the metadata names has a shape', LIMIT, async () => {
  const shapeOf = (type) => api.registry.createType(api.registry.createLookupType(type));
  let events = 0;
  for (const pallet of api.runtimeMetadata.asLatest.pallets) {
    for (const { index, fields } of variants(pallet.events)) {
      const bytes = u8aConcat(
        new Uint8Array([pallet.index.toNumber(), index.toNumber()]),
        ...fields.map(({ type }) => shapeOf(type).toU8a()),
      );
      const event = api.registry.createType('Event', bytes);
      assert.equal(event.encodedLength, bytes.length, `${pallet.name}.${event.method}`);
      assert.equal(event.data.length, fields.length);
      event.toHuman();
      events += 1;
    }
    for (const { index, name } of variants(pallet.errors)) {
      const found = api.registry.findMetaError({
        index: pallet.index, error: new Uint8Array([index.toNumber(), 0, 0, 0]),
      });
      assert.equal(found.name, name.toString());
      if (OUR_PALLETS.includes(found.section)) assert.ok(found.docs.join('').length > 10, name);
    }
    for (const { type } of pallet.storage.isSome ? pallet.storage.unwrap().items : []) {
      shapeOf(type.isMap ? type.asMap.value : type.asPlain).toHuman();
    }
  }
  assert.ok(events > 80, `only ${events} events`);
});

test('every storage item and every event of this chain decodes', LIMIT, async () => {
  let items = 0;
  for (const section of Object.values(api.query)) {
    for (const item of Object.values(section)) {
      if (item.creator === undefined) continue; // `substrate.*`: well-known keys, no storage items
      if (item.creator.meta.type.isMap) {
        for (const [, value] of await item.entries()) value.toHuman();
      } else {
        (await item()).toHuman();
      }
      items += 1;
    }
  }
  assert.ok(items > 50, `only ${items} storage items`);
  const head = (await api.rpc.chain.getHeader()).number.toNumber();
  const seen = new Set();
  for (let number = 1; number <= head; number += 1) {
    const at = await api.at(await api.rpc.chain.getBlockHash(number));
    for (const { event } of await at.query.system.events()) {
      event.toHuman();
      seen.add(event.section);
    }
  }
  for (const pallet of OUR_PALLETS) assert.ok(seen.has(pallet), `no event of ${pallet}`);
});
