// The whole story of a model, told by a client that was generated from the interface's file: trained, judged, refused,
// deployed, served.
//
//     node story.js ADDRESS
//
// It is run in a folder that holds what package.json names, and in `generated` the code that protoc-gen-es made. It
// prints what it found, as one JSON object: who runs it compares. It exits with 1, and says why, where a call ends
// otherwise than the story goes.

import crypto from 'node:crypto';
import {createRegistry, toJson} from '@bufbuild/protobuf';
import {Code, ConnectError, createClient} from '@connectrpc/connect';
import {createGrpcTransport} from '@connectrpc/connect-node';
import {
  BaselineRole, Decision, Direction, MetricComparison, Registry, file_deedbook_v1_registry,
} from './generated/deedbook/v1/registry_pb.js';
import {ErrorInfoSchema, file_google_rpc_error_details} from './generated/google/rpc/error_details_pb.js';

const PATIENCE_SECONDS = 60;
const CHUNK_BYTES = 1 << 20;

const transport = createGrpcTransport({
  baseUrl: `http://${process.argv[2]}`,
  defaultTimeoutMs: PATIENCE_SECONDS * 1000,
  interceptors: [
    (next) => (request) => {
      request.header.set('deedbook-actor', 'a program in JavaScript');
      return next(request);
    },
  ],
});
const registry = createClient(Registry, transport);

async function refused(call) {
  try {
    await call;
  } catch (error) {
    const refusal = ConnectError.from(error);
    const [info] = refusal.findDetails(ErrorInfoSchema);
    return {code: Code[refusal.code], sentence: refusal.rawMessage, info};
  }
  throw new Error('a call was not refused');
}

async function* parts(bytes, format) {
  yield {part: {case: 'head', value: {format, sizeBytes: BigInt(bytes.length)}}};
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    yield {part: {case: 'chunk', value: bytes.subarray(at, at + CHUNK_BYTES)}};
  }
}

async function download(sha256) {
  const digest = crypto.createHash('sha256');
  let head = null;
  let sizeBytes = 0n;
  for await (const {part} of registry.downloadArtifact({sha256})) {
    if (part.case === 'head') {
      head = part.value;
    } else if (part.case === 'chunk') {
      digest.update(part.value);
      sizeBytes += BigInt(part.value.length);
    }
  }
  return {head, sizeBytes, sha256: digest.digest('hex')};
}

// Events and heartbeats as they come: who has enough leaves the loop, which ends the call. It has no deadline.
async function* subscribed(request) {
  const call = new AbortController();
  const options = {signal: call.signal, timeoutMs: 0};
  try {
    for await (const {item} of registry.subscribe({heartbeatSeconds: 1, ...request}, options)) {
      yield item;
    }
  } finally {
    call.abort();
  }
  throw new Error('a subscription ended by itself');
}

async function followed(request, isEnough) {
  const events = [];
  for await (const item of subscribed(request)) {
    if (item.case === 'event') {
      events.push(item.value);
    }
    if (isEnough(events)) {
      return events;
    }
  }
}

async function firstOf(request) {
  for await (const item of subscribed(request)) {
    return item;
  }
}

function training(city, mse, artifact) {
  return {
    model: 'home-price',
    framework: 'handmade',
    artifact,
    parameters: [{name: 'city', text: city}],
    metrics: [{name: 'mse', value: mse, direction: Direction.LOWER, unit: 'k$²'}],
    tags: [{name: 'logged from', text: 'Node'}],
  };
}

function deployment(release, trainingId) {
  return {
    requestId: crypto.randomUUID(),
    service: 'pricing-api',
    release,
    models: [{model: 'home-price', trainingId}],
    reason: 'the spring release',
  };
}

async function trained(told) {
  told.policy = await registry.publishPolicy({
    requestId: crypto.randomUUID(),
    policy: {
      model: 'home-price',
      groupBy: ['city'],
      baseline: BaselineRole.LAST_DEPLOYABLE,
      checks: [
        {
          check: 'metric_threshold',
          settings: [{name: 'metric', text: 'mse'}, {name: 'max', text: '0.5', number: 0.5}],
          reads: ['metric:mse'],
        },
      ],
    },
    source: '# published by a program in JavaScript\n',
  });
  const bytes = Buffer.alloc(2 * CHUNK_BYTES + 77, 'coefficients');
  told.sha256 = crypto.createHash('sha256').update(bytes).digest('hex');
  told.artifact = (await registry.uploadArtifact(parts(bytes, 'onnx'))).artifact;
  const request = {requestId: crypto.randomUUID(), training: training('Austin', 0.25, told.artifact)};
  told.good = await registry.logTraining(request);
  told.again = await registry.logTraining(request);
  told.bad = await registry.logTraining({requestId: crypto.randomUUID(), training: training('Dallas', 0.75)});
}

async function judged(told) {
  told.verdicts = await followed(
    {afterPosition: told.good.position, types: ['VerdictIssued']},
    (events) => events.length === 2,
  );
  const minPosition = told.verdicts[1].position;
  told.passed = await registry.getStanding({training: told.good.trainingId, minPosition});
  told.failed = await registry.getTraining({training: told.bad.trainingId, minPosition});
  told.found = await registry.searchTrainings({
    model: 'home-price',
    metrics: [{name: 'mse', comparison: MetricComparison.LESS, value: 0.5}],
    orderBy: {name: 'mse'},
  });
}

async function deployed(told) {
  told.refusal = await refused(registry.requestDeployment(deployment('r1', told.bad.trainingId)));
  told.deployment = await registry.requestDeployment(deployment('r1', told.good.trainingId));
  const minPosition = told.deployment.position;
  told.bound = await registry.getDeployment({service: 'pricing-api', release: 'r1', minPosition});
  told.unbound = await refused(registry.getDeployment({service: 'pricing-api', release: 'r2'}));
  told.announced = await followed({topic: 'deployments'}, (events) => events.length === 2);
  told.facts = told.announced.map((event) => event.fact.case);
}

async function served(told) {
  const [bound] = told.bound.deployment.models;
  told.downloaded = await download(bound.artifactSha256);
  told.reported = await registry.reportModelLoaded({
    requestId: crypto.randomUUID(),
    service: 'pricing-api',
    release: 'r1',
    instance: 'node-1',
    model: bound.model,
    trainingId: bound.trainingId,
    artifactSha256: told.downloaded.sha256,
    source: 'registry',
  });
  told.heard = await followed({topic: 'hosts'}, (events) => events.length === 1);
  told.fleet = await registry.listModelLoads({service: 'pricing-api'});
}

async function resumed(told) {
  const last = told.deployment.position;
  const begun = await followed({includeRejected: true}, (events) => events.length === 3);
  const goneOn = await followed(
    {includeRejected: true, afterPosition: begun[2].position},
    (events) => events.some((event) => event.position >= last),
  );
  told.positions = {begun: begun.map((event) => event.position), goneOn: goneOn.map((event) => event.position)};
  const {events, position} = await registry.listEvents({pageSize: 1000});
  told.decided = events
    .filter((event) => event.decision === Decision.ACCEPTED || event.decision === Decision.REJECTED)
    .map((event) => event.position)
    .filter((decided) => decided <= last);
  told.end = position;
  told.silence = await firstOf({afterPosition: position});
}

// Messages as protobuf's own JSON, and whole numbers beyond a double's as texts.
function toldAsJson(told) {
  const types = createRegistry(file_deedbook_v1_registry, file_google_rpc_error_details);
  return JSON.stringify(told, (_, value) => {
    if (typeof value === 'bigint') {
      return String(value);
    }
    const type = types.getMessage(value?.$typeName ?? '');
    return type ? toJson(type, value, {alwaysEmitImplicit: true}) : value;
  });
}

const told = {};
for (const part of [trained, judged, deployed, served, resumed]) {
  await part(told);
}
process.stdout.write(toldAsJson(told));
