-- What analysts read. Every view, column and macro is described in docs/sql.md, and a test says so.
create view main.trainings as
select
    t.training_id, t.model, t.version, t.model_type, t.framework,
    make_timestamp(t.created_at) as created_at,
    make_timestamp(nullif(t.started_at, 0)) as started_at,
    make_timestamp(nullif(t.finished_at, 0)) as finished_at,
    t.actor, t.git_sha, t.data_fingerprint,
    t.artifact_uri, t.artifact_sha256, t.artifact_size_bytes, t.artifact_format,
    t.features, t.coefficients, t.parameters, t.tags,
    s.outcome, s.deployable, s.overridden, s.reason, t.key as position
from base.training t join base.standing s on s.training_key = t.key and s.to_position is null;

create view main.runs as
select
    training_id, model, state, actor, git_sha, make_timestamp(nullif(started_at, 0)) as started_at,
    make_timestamp(nullif(failed_at, 0)) as failed_at, error, position
from base.run r where not exists (from base.training t where t.training_id = r.training_id);

create view main.parameters as
select t.training_id, p.name, p.text as value, p.number as value_number
from base.parameter p join base.training t on t.key = p.training_key;

create view main.metrics as
select
    t.training_id, n.term as name, s.term as slice, null::bigint as step, m.value,
    make_timestamp(t.created_at) as logged_at
from base.metric m
join base.training t on t.key = m.training_key
join base.term n on n.term_key = m.name_key
join base.term s on s.term_key = m.slice_key
union all
select
    c.training_id, n.term, s.term, m.step, m.value, make_timestamp(nullif(m.logged_at, 0))
from base.step_metric m
join base.chunk c on c.partition = m.partition and c.position = m.chunk_position
join base.term n on n.term_key = m.name_key
join base.term s on s.term_key = m.slice_key;

create view main.metric_definitions as
select model, name, direction, unit from base.metric_definition;

create view main.metric_history as
select
    t.model, t.version, t.training_id, make_timestamp(t.created_at) as created_at,
    n.term as name, s.term as slice, m.value, coalesce(d.direction, 'unspecified') as direction, t.parameters
from base.metric m
join base.training t on t.key = m.training_key
join base.term n on n.term_key = m.name_key
join base.term s on s.term_key = m.slice_key
left join base.metric_definition d on d.model = t.model and d.name = n.term;

create view main.amendments as
select
    t.training_id, a.kind, a.name, a.slice, a.old_text as old_value, a.old_number as old_value_number,
    a.text as value, a.number as value_number, a.reason, a.actor, a.position
from base.amendment a join base.training t on t.key = a.training_key;

create view main.verdicts as
select
    v.verdict_id, t.training_id, t.model, t.version, v.outcome, v.policy_version, v.validator_version,
    nullif(v.baseline_training_id, '') as baseline_training_id, v.actor,
    make_timestamp(e.recorded_at) as issued_at, v.requested_at_position, v.position
from base.verdict v
join base.training t on t.key = v.training_key
join base.event e on e.topic = 'registry' and e.position = v.position;

create view main.checks as
select
    v.verdict_id, t.training_id, c.check_name as "check", c.outcome, c.subject, c.observed, c.threshold,
    nullif(c.baseline_training_id, '') as baseline_training_id, c.reason, c.distributions::json as distributions,
    c.ordinal, c.verdict_position as position
from base.check_result c
join base.verdict v on v.position = c.verdict_position
join base.training t on t.key = v.training_key;

create view main.overrides as
select t.training_id, o.deployable, o.reason, o.actor, make_timestamp(e.recorded_at) as overridden_at, o.position
from base.override o
join base.training t on t.key = o.training_key
join base.event e on e.topic = 'registry' and e.position = o.position;

create view main.policies as
select model, version, policy::json as policy, source, actor, position from base.policy;

create view main.request_sets as
select requests_id, model, parameters, artifact_uri, artifact_sha256, artifact_size_bytes, count, actor, position
from base.request_set;

create view main.validations as
select
    t.training_id, t.model, t.version, r.requested_at_position, r.policy_version,
    nullif(r.last_trained, '') as last_trained, nullif(r.last_deployable, '') as last_deployable,
    nullif(r.live, '') as live, nullif(r.requests_id, '') as requests_id,
    r.closed_position is null as pending, r.closed_position
from base.request r join base.training t on t.key = r.training_key;

create view main.deployments as
select
    d.deployment_id, d.service, d.environment, d.release, d.git_sha, d.decision, d.reason,
    nullif(d.previous, '') as previous, d.note, d.acceptance_passed, d.acceptance_requests,
    d.acceptance_summary, d.acceptance_uri, d.actor, make_timestamp(e.recorded_at) as requested_at, d.position
from base.deployment d join base.event e on e.topic = 'registry' and e.position = d.position;

create view main.deployment_models as
select
    d.deployment_id, d.service, d.environment, d.release, d.decision, m.model, m.training_id, t.version,
    t.artifact_uri, t.artifact_sha256, d.position
from (select *, unnest(models) as m from base.deployment) d
left join base.training t on t.training_id = d.m.training_id;

create view main.releases_live as
select
    c.service, c.environment, c.release, d.deployment_id, c.actor, nullif(c.reason, '') as reason,
    make_timestamp(f.recorded_at) as live_from, make_timestamp(u.recorded_at) as live_until,
    c.from_position, c.to_position
from base.current_release c
join base.deployment d on d.position = c.deployment_position
join base.event f on f.topic = 'registry' and f.position = c.from_position
left join base.event u on u.topic = 'registry' and u.position = c.to_position;

create view main.model_loads as
select
    service, environment, release, instance, model, training_id, artifact_sha256, source,
    make_timestamp(nullif(loaded_at, 0)) as loaded_at, partition, position
from base.model_load;

create view main.standings as
select
    t.training_id, t.model, t.version, s.outcome, s.deployable, s.overridden, s.reason,
    make_timestamp(f.recorded_at) as since, s.from_position, s.to_position
from base.standing s
join base.training t on t.key = s.training_key
join base.event f on f.topic = 'registry' and f.position = s.from_position;

create view main.events as
select
    topic, partition, position, event_id, type, subject, actor,
    case when occurred_at between 0 and 253402300799999999 then make_timestamp(occurred_at) end as occurred_at,
    make_timestamp(recorded_at) as recorded_at, decision, nullif(reason, '') as reason
from base.event;

create view main.schemas as
select schema_id, name, version, schema, position from base.schema_published;

create view main.rules as
select rules_version, actor, reason, position from base.rules;

create view main.quarantine as
select topic, partition, position, make_timestamp(recorded_at) as recorded_at, reason, key, headers, value
from base.quarantine;

-- The last registry position recorded at or before a time; -1 before the first.
create macro main.position_at(ts) as (
    select coalesce(max(position), -1) from base.event
    where topic = 'registry' and recorded_at <= epoch_us(ts::timestamp)
);

create macro main.deployable_at(ts) as table
select
    t.training_id, t.model, t.version, s.outcome, s.overridden, s.reason, s.from_position as position
from base.standing s join base.training t on t.key = s.training_key
where s.deployable and s.from_position <= (select main.position_at(ts))
  and (s.to_position is null or s.to_position > (select main.position_at(ts)));

create macro main.live_at(in_service, in_environment, ts) as table
select
    c.service, c.environment, c.release, d.deployment_id, d.m.model as model, d.m.training_id as training_id,
    t.version, t.artifact_sha256, s.outcome, s.overridden, s.reason, c.actor, c.from_position as position
from base.current_release c
join (select *, unnest(models) as m from base.deployment) d on d.position = c.deployment_position
join base.training t on t.training_id = d.m.training_id
join base.standing s on s.training_key = t.key and s.from_position <= (select main.position_at(ts))
  and (s.to_position is null or s.to_position > (select main.position_at(ts)))
where c.service = in_service and c.environment = in_environment
  and c.from_position <= (select main.position_at(ts))
  and (c.to_position is null or c.to_position > (select main.position_at(ts)));

create macro main.trainings_at(ts) as table
select
    t.training_id, t.model, t.version, t.model_type, t.framework, make_timestamp(t.created_at) as created_at,
    t.artifact_sha256,
    case when o.names is null then t.parameters
         else map_concat(t.parameters, map_from_entries(o.names)) end as parameters,
    s.outcome, s.deployable, s.overridden, s.reason, t.key as position
from base.training t
join base.standing s on s.training_key = t.key and s.from_position <= (select main.position_at(ts))
  and (s.to_position is null or s.to_position > (select main.position_at(ts)))
left join (
    select training_key, list(struct_pack(k := name, v := old_text)) as names
    from (select training_key, name, arg_min(old_text, position) as old_text from base.amendment
          where kind = 'parameter' and position > (select main.position_at(ts)) group by all)
    group by training_key
) o on o.training_key = t.key
where t.key <= (select main.position_at(ts));
