// The whole story of a model, told from the interface's file alone: trained, judged, refused, deployed, served.
//
//     node story.js ADDRESS FOLDER_OF_PROTOS
//
// It prints what it found, as one JSON object: who runs it compares. It exits with 1, and says why, where a call ends
// otherwise than the story goes.

'use strict';

const crypto = require('node:crypto');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

const [address, folder] = process.argv.slice(2);
const PATIENCE_SECONDS = 60;
const CHUNK_BYTES = 1 << 20;

const {deedbook} = grpc.loadPackageDefinition(
  loader.loadSync(path.join(folder, 'deedbook/v1/registry.proto'), {
    keepCase: true, longs: String, enums: String, defaults: true, oneofs: true,
  }),
);
const registry = new deedbook.v1.Registry(address, grpc.credentials.createInsecure());

// google.rpc's details of an error, which every language's gRPC brings along or can compile.
const details = protobuf.parse(
  `syntax = "proto3";
  package google.rpc;
  message Detail { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Detail details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }`,
  {keepCase: true},
).root;

function whoever() {
  const metadata = new grpc.Metadata();
  metadata.set('deedbook-actor', 'a program in JavaScript');
  return metadata;
}

function untilThen() {
  return {deadline: Date.now() + PATIENCE_SECONDS * 1000};
}

function call(name, request) {
  return new Promise((resolve, reject) => {
    registry[name](request, whoever(), untilThen(), (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

async function refused(name, request) {
  try {
    await call(name, request);
  } catch (error) {
    return {code: grpc.status[error.code], sentence: error.details, info: infoOf(error)};
  }
  throw new Error(`${name} was not refused`);
}

function infoOf(error) {
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  const status = details.lookupType('google.rpc.Status').decode(bytes);
  const detail = status.details.find((one) => one.type_url.endsWith('/google.rpc.ErrorInfo'));
  return details.lookupType('google.rpc.ErrorInfo').decode(detail.value).toJSON();
}

function upload(bytes, format) {
  return new Promise((resolve, reject) => {
    const sending = registry.UploadArtifact(whoever(), untilThen(), (error, answer) =>
      error ? reject(error) : resolve(answer.artifact),
    );
    sending.write({head: {format, size_bytes: bytes.length}});
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      sending.write({chunk: bytes.subarray(at, at + CHUNK_BYTES)});
    }
    sending.end();
  });
}

async function download(sha256) {
  const digest = crypto.createHash('sha256');
  let head = null;
  let sizeBytes = 0;
  for await (const answer of registry.DownloadArtifact({sha256}, whoever(), untilThen())) {
    if (answer.part === 'head') {
      head = answer.head;
    } else {
      digest.update(answer.chunk);
      sizeBytes += answer.chunk.length;
    }
  }
  return {head, sizeBytes, sha256: digest.digest('hex')};
}

// What a subscription streams until `enough` says so.
async function followed(request, enough) {
  const stream = registry.Subscribe({heartbeat_seconds: 1, ...request}, whoever(), untilThen());
  stream.on('error', () => {}); // ours: it is cancelled below
  const events = [];
  for await (const answer of stream) {
    if (answer.item === 'event') {
      events.push(answer.event);
    }
    if (enough(events, answer)) {
      break;
    }
  }
  stream.cancel();
  return events;
}

function training(city, mse, artifact) {
  return {
    model: 'home-price',
    framework: 'handmade',
    artifact,
    parameters: [{name: 'city', text: city}],
    metrics: [{name: 'mse', value: mse, direction: 'DIRECTION_LOWER', unit: 'k$²'}],
    tags: [{name: 'logged from', text: 'Node'}],
  };
}

function deployment(release, trainingId) {
  return {
    request_id: crypto.randomUUID(),
    service: 'pricing-api',
    release,
    models: [{model: 'home-price', training_id: trainingId}],
    reason: 'the spring release',
  };
}

async function trained(told) {
  told.policy = await call('PublishPolicy', {
    request_id: crypto.randomUUID(),
    policy: {
      model: 'home-price',
      group_by: ['city'],
      baseline: 'BASELINE_ROLE_LAST_DEPLOYABLE',
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
  told.artifact = await upload(bytes, 'onnx');
  told.sha256 = crypto.createHash('sha256').update(bytes).digest('hex');
  const request = {request_id: crypto.randomUUID(), training: training('Austin', 0.25, told.artifact)};
  told.good = await call('LogTraining', request);
  told.again = await call('LogTraining', request);
  told.bad = await call('LogTraining', {request_id: crypto.randomUUID(), training: training('Dallas', 0.75)});
}

async function judged(told) {
  const verdicts = await followed(
    {after_position: told.bad.position, types: ['VerdictIssued']},
    (events) => events.length === 2,
  );
  told.verdicts = verdicts.map((event) => event.verdict_issued.training_id);
  const position = verdicts[1].position;
  told.passed = await call('GetStanding', {training: told.good.training_id, min_position: position});
  told.failed = await call('GetTraining', {training: told.bad.training_id, min_position: position});
  told.found = await call('SearchTrainings', {
    model: 'home-price',
    metrics: [{name: 'mse', comparison: 'METRIC_COMPARISON_LESS', value: 0.5}],
    order_by: {name: 'mse'},
  });
}

async function deployed(told) {
  told.refusal = await refused('RequestDeployment', deployment('r1', told.bad.training_id));
  told.deployment = await call('RequestDeployment', deployment('r1', told.good.training_id));
  told.bound = await call('GetDeployment', {
    service: 'pricing-api', release: 'r1', min_position: told.deployment.position,
  });
  told.unbound = await refused('GetDeployment', {service: 'pricing-api', release: 'r2'});
  told.announced = await followed({topic: 'deployments'}, (events) => events.length === 2);
}

async function served(told) {
  const [model] = told.bound.deployment.models;
  told.downloaded = await download(model.artifact_sha256);
  told.reported = await call('ReportModelLoaded', {
    request_id: crypto.randomUUID(),
    service: 'pricing-api',
    release: 'r1',
    instance: 'node-1',
    model: model.model,
    training_id: model.training_id,
    artifact_sha256: told.downloaded.sha256,
    source: 'registry',
  });
  told.heard = await followed({topic: 'hosts'}, (events) => events.length === 1);
  told.fleet = await call('ListModelLoads', {service: 'pricing-api'});
}

async function resumed(told) {
  const last = Number(told.deployment.position);
  const begun = await followed({include_rejected: true}, (events) => events.length === 3);
  const goneOn = await followed(
    {include_rejected: true, after_position: begun[2].position},
    (events) => events.some((event) => Number(event.position) >= last),
  );
  told.positions = {begun: begun.map((event) => event.position), goneOn: goneOn.map((event) => event.position)};
  const {events} = await call('ListEvents', {page_size: 1000});
  const counted = new Set(['DECISION_ACCEPTED', 'DECISION_REJECTED']);
  told.decided = events
    .filter((event) => counted.has(event.decision) && Number(event.position) <= last)
    .map((event) => event.position);
}

async function tell() {
  const told = {};
  for (const part of [trained, judged, deployed, served, resumed]) {
    await part(told);
  }
  registry.close();
  process.stdout.write(JSON.stringify(told));
}

tell().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
