// Azure's client for JavaScript against the emulator. client.mjs MODULES CONNECTION CHECK: fails by an assertion.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { inspect } from "node:util";

const [modules, connection, check] = process.argv.slice(2);
const { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition, latestEventPosition } = createRequire(
  `${modules}/`,
)("@azure/event-hubs");
const options = { retryOptions: { maxRetries: 1, retryDelayInMs: 100, timeoutInMs: 20_000 } };
const TIMEOUT = 60_000;

const producer = (text = connection) => new EventHubProducerClient(text, options);
const consumer = (group = "$Default") => new EventHubConsumerClient(group, connection, options);
const within = (promise, what) =>
  Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error(what)), TIMEOUT).unref())]);

async function sent(events, to) {
  const client = producer();
  await client.sendBatch(events, to);
  await client.close();
}

// So many events of a partition from a position.
async function received(count, partition, startPosition, group) {
  const client = consumer(group);
  const events = [];
  await within(
    new Promise((resolve, reject) => {
      const processEvents = async (more) => {
        events.push(...more);
        if (events.length >= count) resolve();
      };
      const processError = async (error) => reject(error);
      client.subscribe(partition, { processEvents, processError }, { startPosition, maxWaitTimeInSeconds: 1, maxBatchSize: 500 });
    }),
    `${events.length} events came, of ${count}`,
  );
  await client.close();
  return events;
}

const bodies = (events) => events.map((event) => event.body);
const texts = (...all) => all.map((body) => ({ body }));

const checks = {
  async properties() {
    const client = producer();
    const hub = await client.getEventHubProperties();
    assert.deepEqual(hub.partitionIds, ["0", "1", "2", "3"]);
    const empty = await client.getPartitionProperties("3");
    assert.ok(empty.isEmpty && empty.lastEnqueuedSequenceNumber === -1);
    await client.sendBatch(texts("1", "2"), { partitionId: "3" });
    const full = await client.getPartitionProperties("3");
    assert.ok(!full.isEmpty && full.lastEnqueuedSequenceNumber === 1);
    await client.close();
  },

  async keys_and_partitions() {
    const client = producer();
    await client.sendBatch(texts("1"), { partitionKey: "customer-7" });
    const batch = await client.createBatch({ partitionKey: "customer-7" });
    assert.ok(batch.tryAdd({ body: "2" }));
    await client.sendBatch(batch);
    await client.sendBatch(texts("other"), { partitionId: "1" });
    await client.close();
    const events = await received(2, "2", earliestEventPosition);
    assert.deepEqual(bodies(events), ["1", "2"]);
    assert.ok(events.every((event) => event.partitionKey === "customer-7"));
    assert.deepEqual(bodies(await received(1, "1", earliestEventPosition)), ["other"]);
  },

  async positions() {
    await sent(texts("a", "b", "c"), { partitionId: "0" });
    await new Promise((resolve) => setTimeout(resolve, 10));
    const between = new Date();
    await new Promise((resolve) => setTimeout(resolve, 10));
    await sent(texts("d", "e"), { partitionId: "0" });
    const events = await received(5, "0", earliestEventPosition);
    assert.deepEqual(bodies(events), ["a", "b", "c", "d", "e"]);
    const { sequenceNumber, offset } = events[1];
    for (const [position, expected] of [
      [{ sequenceNumber }, ["c", "d", "e"]],
      [{ sequenceNumber, isInclusive: true }, ["b", "c", "d", "e"]],
      [{ offset }, ["c", "d", "e"]],
      [{ enqueuedOn: between }, ["d", "e"]],
    ]) {
      assert.deepEqual(bodies(await received(expected.length, "0", position)), expected);
    }
  },

  async latest() {
    await sent(texts("a"), { partitionId: "0" });
    const client = consumer();
    const events = [];
    let ready, done;
    const isReady = new Promise((resolve) => (ready = resolve));
    const isDone = new Promise((resolve) => (done = resolve));
    const processEvents = async (more) => {
      events.push(...more);
      if (more.length) done();
      else ready();
    };
    const handlers = { processEvents, processError: async () => {} };
    client.subscribe("0", handlers, { startPosition: latestEventPosition, maxWaitTimeInSeconds: 1 });
    await within(isReady, "nothing was polled");
    await sent(texts("b"), { partitionId: "0" });
    await within(isDone, "nothing came");
    await client.close();
    assert.deepEqual(bodies(events), ["b"]);
  },

  async epochs() {
    await sent(texts("a"), { partitionId: "0" });
    const first = consumer();
    let reading, lost;
    const isReading = new Promise((resolve) => (reading = resolve));
    const isLost = new Promise((resolve) => (lost = resolve));
    const startPosition = earliestEventPosition;
    first.subscribe(
      "0",
      { processEvents: async () => reading(), processError: async (error) => lost(error) },
      { startPosition, ownerLevel: 5 },
    );
    await within(isReading, "the first reads nothing");
    const second = consumer();
    let taken;
    const isTaken = new Promise((resolve) => (taken = resolve));
    second.subscribe(
      "0",
      { processEvents: async () => taken(), processError: async () => {} },
      { startPosition, ownerLevel: 6 },
    );
    await within(isTaken, "the second reads nothing");
    const error = await within(isLost, "the first was told nothing");
    assert.match(`${error.code} ${error.message}`, /epoch|ReceiverDisconnected/);
    await first.close();
    await second.close();
  },

  async groups() {
    await sent(texts("a", "b"), { partitionId: "0" });
    for (const group of ["$Default", "billing"]) {
      assert.deepEqual(bodies(await received(2, "0", earliestEventPosition, group)), ["a", "b"]);
    }
  },

  async wrong_key() {
    const client = producer(connection.replace(/SharedAccessKey=[^;]*/, "SharedAccessKey=d3Jvbmc="));
    await assert.rejects(client.getEventHubProperties(), (error) => /InvalidSignature/.test(inspect(error)));
    await client.close();
  },

  async oversize() {
    const client = producer();
    const batch = await client.createBatch();
    assert.ok(!batch.tryAdd({ body: Buffer.alloc(1 << 20) }));
    await assert.rejects(client.sendBatch([{ body: Buffer.alloc(1 << 20) }]), /exceeds the limit/);
    await client.sendBatch([{ body: Buffer.alloc(1_000_000) }], { partitionId: "0" });
    await client.close();
    const [event] = await received(1, "0", earliestEventPosition);
    assert.equal(event.body.length, 1_000_000);
  },

  async server_busy() {
    const client = producer();
    await assert.rejects(client.sendBatch(texts("1"), { partitionId: "0" }), (error) => /50002/.test(inspect(error)));
    assert.ok((await client.getPartitionProperties("0")).isEmpty);
    await client.close();
  },

  async every_type() {
    const properties = {
      text: "ж",
      number: 7,
      large: 2 ** 40,
      negative: -5,
      fraction: 1.5,
      yes: true,
      nothing: null,
      time: new Date(1_700_000_000_000),
      array: ["a", "b"],
      object: { a: 1 },
    };
    const event = { body: { any: ["json"] }, properties, messageId: "m", correlationId: "c", contentType: "x/y" };
    await sent([event, { body: null }, { body: undefined }, { body: [1, "2"], properties }], { partitionId: "0" });
    const client = producer();
    await client.sendBatch([event], { partitionId: "0" });
    await client.close();
    const events = await received(5, "0", earliestEventPosition);
    for (const event of [events[0], events[4]]) {
      assert.deepEqual(event.body, { any: ["json"] });
      assert.deepEqual([event.messageId, event.correlationId, event.contentType], ["m", "c", "x/y"]);
      // The client itself reads times as numbers.
      assert.deepEqual(event.properties, { ...properties, time: properties.time.getTime() });
    }
    assert.deepEqual(events[3].body, [1, "2"]);
  },

  async reads_ours() {
    // Sent by this project, once for each way to choose the partition.
    const events = await received(2, "2", earliestEventPosition);
    for (const event of events) {
      assert.equal(event.body.toString(), "ours");
      assert.deepEqual([event.partitionKey, event.messageId], ["customer-7", "01010101-0101-0101-0101-010101010101"]);
      assert.deepEqual([event.contentType, event.correlationId], ["text/plain", "c"]);
      // The client itself reads bytes as an object of numbers.
      assert.deepEqual({ ...event.properties }, { text: "ж", bytes: { 0: 0, 1: 255 } });
    }
  },

  async in_order() {
    const client = producer();
    for (let partition = 0; partition < 4; partition++) {
      for (let first = 0; first < 1250; first += 250) {
        const events = Array.from({ length: 250 }, (_, index) => ({ body: `${partition}-${first + index}` }));
        await client.sendBatch(events, { partitionId: `${partition}` });
      }
    }
    await client.close();
    for (let partition = 0; partition < 4; partition++) {
      const events = await received(1250, `${partition}`, earliestEventPosition);
      assert.deepEqual(bodies(events), Array.from({ length: 1250 }, (_, index) => `${partition}-${index}`));
    }
  },
};

await checks[check]();
process.exit(0);
