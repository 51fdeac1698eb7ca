-- The projection's own tables. Nothing here is promised to analysts: views.sql is.
-- Keys are registry positions; times are UTC.
create schema base;

create table base.meta (name varchar not null, value varchar not null);

create table base.progress (
    topic varchar not null, partition integer not null,
    next_position bigint not null, last_recorded_at bigint not null, running_hash varchar not null
);

create table base.event (
    topic varchar not null, partition integer not null, position bigint not null,
    event_id varchar not null, type varchar not null, subject varchar not null, actor varchar not null,
    occurred_at bigint not null, recorded_at bigint not null,
    decision varchar not null, reason varchar not null, body_hash varchar not null
);
create index event_by_id on base.event (event_id);

create table base.quarantine (
    topic varchar not null, partition integer not null, position bigint not null, recorded_at bigint not null,
    reason varchar not null, key blob, headers map(varchar, blob), value blob
);

-- Names of metrics and slices, once each.
create table base.term (term_key integer not null, term varchar not null);

create table base.training (
    key bigint not null, training_id varchar not null, model varchar not null, version bigint not null,
    content_hash varchar not null, model_type varchar, framework varchar,
    artifact_uri varchar, artifact_sha256 varchar, artifact_size_bytes bigint, artifact_format varchar,
    features struct(name varchar, dtype varchar)[], coefficients struct(name varchar, value double)[],
    parameters map(varchar, varchar), tags map(varchar, varchar),
    git_sha varchar, data_fingerprint varchar, actor varchar,
    created_at bigint, started_at bigint, finished_at bigint, recorded_at bigint
);
create index training_by_id on base.training (training_id);

create table base.model (model varchar not null, last_version bigint not null);

create table base.parameter (training_key bigint not null, name varchar not null, text varchar, number double);

create table base.metric (
    training_key bigint not null, name_key integer not null, slice_key integer not null, value double
);

create table base.metric_definition (
    model varchar not null, name varchar not null, direction varchar not null, unit varchar not null
);

create table base.chunk (
    partition integer not null, position bigint not null,
    training_id varchar not null, producer varchar not null, sequence bigint not null
);
create index chunk_by_training on base.chunk (training_id);

create table base.step_metric (
    partition integer not null, chunk_position bigint not null, name_key integer not null,
    slice_key integer not null, step bigint, value double, logged_at bigint
);

create table base.amendment (
    training_key bigint not null, kind varchar not null, name varchar not null, slice varchar not null,
    text varchar, number double, reason varchar, actor varchar, position bigint not null,
    old_text varchar, old_number double
);

create table base.run (
    training_id varchar not null, model varchar not null, state varchar not null, actor varchar, git_sha varchar,
    started_at bigint, failed_at bigint, error varchar, position bigint not null
);
create index run_by_id on base.run (training_id);

create table base.grouping (training_key bigint not null, group_key varchar not null);

create table base.baseline (
    group_key varchar not null, model varchar not null,
    last_trained varchar not null, last_deployable varchar not null, live varchar not null
);
create index baseline_by_group on base.baseline (group_key);

create table base.standing (
    training_key bigint not null, outcome varchar not null, deployable boolean not null,
    overridden boolean not null, reason varchar not null, from_position bigint not null, to_position bigint
);

create table base.request (
    training_key bigint not null, requested_at_position bigint not null, policy_version bigint not null,
    last_trained varchar not null, last_deployable varchar not null, live varchar not null,
    requests_id varchar not null, closed_position bigint
);

create table base.policy (
    model varchar not null, version bigint not null, policy varchar not null, source varchar not null,
    actor varchar not null, position bigint not null
);

create table base.request_set (
    requests_id varchar not null, model varchar not null, parameters map(varchar, varchar),
    artifact_uri varchar, artifact_sha256 varchar, artifact_size_bytes bigint, count bigint,
    actor varchar, position bigint not null
);

create table base.verdict (
    position bigint not null, verdict_id varchar not null, training_key bigint not null,
    requested_at_position bigint not null, policy_version bigint not null, validator_version varchar,
    baseline_training_id varchar, outcome varchar not null, actor varchar
);

create table base.check_result (
    verdict_position bigint not null, ordinal integer not null, check_name varchar not null,
    outcome varchar not null, subject varchar, observed double, threshold double,
    baseline_training_id varchar, reason varchar, distributions varchar
);

create table base.override (
    position bigint not null, training_key bigint not null, deployable boolean not null,
    reason varchar not null, actor varchar not null
);

create table base.deployment (
    position bigint not null, deployment_id varchar not null, service varchar not null,
    environment varchar not null, release varchar not null, git_sha varchar, decision varchar not null,
    reason varchar, previous varchar, note varchar, acceptance_passed boolean, acceptance_requests bigint,
    acceptance_summary varchar, acceptance_uri varchar, actor varchar,
    models struct(model varchar, training_id varchar)[]
);

create table base.current_release (
    service varchar not null, environment varchar not null, release varchar not null,
    deployment_position bigint not null, actor varchar, reason varchar,
    from_position bigint not null, to_position bigint
);

create table base.model_load (
    partition integer not null, position bigint not null, service varchar, environment varchar, release varchar,
    instance varchar, model varchar, training_id varchar, artifact_sha256 varchar, source varchar, loaded_at bigint
);

create table base.schema_published (
    position bigint not null, schema_id varchar not null, name varchar not null, version bigint not null,
    schema varchar not null
);

create table base.rules (
    position bigint not null, rules_version bigint not null, actor varchar, reason varchar
);
