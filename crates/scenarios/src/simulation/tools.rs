//! The two tools of the simulated fleet, served over real MCP: system-monitor, which shows it with
//! scrapes of a second, and deployment-system, which changes it and keeps the record of that.

use std::collections::BTreeMap;
use std::time::Duration;

use a2a_types::mcp::deployment::{
    self, Change, ChangeRequest, ChangeState, Difference, Inverse, StatusInput, StatusOutput,
    TargetStatus, canonical_arguments,
};
use a2a_types::mcp::metrics::{
    self, Point, QueryInput, QueryOutput, QueryRangeInput, QueryRangeOutput, Sample, Series,
};
use a2a_types::mcp::{TimeRange, ToolDefinition};
use anyhow::Context;
use axum::Router;
use jiff::{SignedDuration, Timestamp};
use rpc::mcp::server::{Access, Tool, ToolError, ToolServer, router};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::fleet::{Effect, EffectState, Fleet, Refusal, Wish};
use super::world::World;

/// How old a sample may be for an instant query to see it.
const LOOKBACK: SignedDuration = SignedDuration::from_mins(5);
/// How often a caller that waits for its change looks.
const LOOK: Duration = Duration::from_millis(100);

/// system-monitor, as the host `host`.
pub(super) fn monitor(world: &World, host: &str) -> anyhow::Result<Router> {
    let (instant, range) = (world.clone(), world.clone());
    let tools = vec![
        Tool::new(definition(&metrics::TOOLS, metrics::QUERY), move |input: QueryInput, _| {
            std::future::ready(query(&instant, input))
        }),
        Tool::new(
            definition(&metrics::TOOLS, metrics::QUERY_RANGE),
            move |input: QueryRangeInput, _| std::future::ready(query_range(&range, input)),
        ),
    ];
    served(metrics::SERVER, tools, host)
}

/// deployment-system, as the host `host`.
pub(super) fn deployment(world: &World, host: &str) -> anyhow::Result<Router> {
    let actions = [deployment::RESTART_SERVICE, deployment::SCALE, deployment::ROLLBACK];
    let mut tools: Vec<Tool> =
        actions.into_iter().map(|action| change_tool(world, action)).collect();
    let (world, asked) = (world.clone(), definition(&deployment::TOOLS, deployment::STATUS));
    tools.push(Tool::new(asked, move |input: StatusInput, _| {
        std::future::ready(status(&world, &input))
    }));
    served(deployment::SERVER, tools, host)
}

fn served(name: &'static str, tools: Vec<Tool>, host: &str) -> anyhow::Result<Router> {
    let instructions = "a simulated fleet";
    let server = ToolServer { name, version: "0", instructions, tools, concurrent_calls: 64 };
    let access = Access { allowed_hosts: vec![host.to_owned()], ..Access::default() };
    router(server, access).context(name)
}

fn definition<'a>(tools: &'a [ToolDefinition], name: &str) -> &'a ToolDefinition {
    tools.iter().find(|tool| tool.name == name).expect("a tool of the catalogue")
}

/// Metric and target of a query such as `max(ill{server="db-1"})`.
fn named(query: &str) -> Option<(&str, &str)> {
    let (_, rest) = query.split_once('(')?;
    let (metric, rest) = rest.split_once("{server=\"")?;
    Some((metric, rest.split_once('"')?.0))
}

/// The newest scrape by `at`, if there was any that is not too old for `at`.
fn scraped(world: &World, fleet: &Fleet, at: Timestamp) -> Option<Timestamp> {
    let newest = at.min(world.now());
    let newest = Timestamp::from_second(newest.as_second()).ok()?;
    (newest >= fleet.began() && at.duration_since(newest) < LOOKBACK).then_some(newest)
}

fn query(world: &World, input: QueryInput) -> Result<QueryOutput, ToolError> {
    let time = input.time.unwrap_or_else(|| world.now());
    let (metric, target) = named(&input.query)
        .ok_or_else(|| ToolError::refused("query", "is not what this fleet knows"))?;
    let fleet = world.fleet();
    let newest = scraped(world, &fleet, time);
    let value = newest.and_then(|scrape| fleet.value(metric, target, scrape));
    let sample = |value| Sample { labels: BTreeMap::new(), time, value: Some(value) };
    Ok(QueryOutput {
        range: TimeRange { start: time, end: time },
        samples: value.map(sample).into_iter().collect(),
        newest: newest.filter(|_| value.is_some()),
        warnings: Vec::new(),
        query: input.query,
    })
}

fn query_range(world: &World, input: QueryRangeInput) -> Result<QueryRangeOutput, ToolError> {
    let (metric, target) = named(&input.query)
        .ok_or_else(|| ToolError::refused("query", "is not what this fleet knows"))?;
    let fleet = world.fleet();
    let step = SignedDuration::from_secs_f64(input.step_seconds.max(1.0));
    let times = std::iter::successors(Some(input.start), |at| at.checked_add(step).ok());
    let points: Vec<Point> = times
        .take_while(|at| *at <= input.end)
        .filter_map(|time| {
            let scrape = scraped(world, &fleet, time)?;
            Some(Point { time, value: Some(fleet.value(metric, target, scrape)?) })
        })
        .collect();
    let newest = scraped(world, &fleet, input.end).filter(|_| !points.is_empty());
    let series = Series { labels: BTreeMap::new(), points };
    Ok(QueryRangeOutput {
        range: TimeRange { start: input.start, end: input.end },
        step_seconds: input.step_seconds,
        series: if series.points.is_empty() { Vec::new() } else { vec![series] },
        newest,
        warnings: Vec::new(),
        query: input.query,
    })
}

fn change_tool(world: &World, action: &'static str) -> Tool {
    let world = world.clone();
    Tool::new(definition(&deployment::TOOLS, action), move |request: ChangeRequest, _| {
        change(world.clone(), action, request)
    })
}

/// Carries a change out, once, and waits for its end.
async fn change(
    world: World,
    action: &'static str,
    request: ChangeRequest,
) -> Result<Change, ToolError> {
    check_grant(action, &request, world.now())?;
    let wish = Wish {
        key: request.idempotency_key.clone(),
        target: request.target.clone(),
        action,
        parameters: request.parameters,
        token: request.fencing_token,
        takes: world.chance().millis(100, 6_000),
        survives: world.chance().is(0.5),
    };
    let begun = world.fleet().begin(wish, world.now());
    let (effect, is_new) = begun.map_err(refused)?;
    if is_new {
        has_begun(&world, &effect);
    }
    loop {
        let known = world.fleet().effects.iter().find(|known| known.id == effect.id).cloned();
        let known = known.ok_or_else(|| ToolError::Unknown("its record is gone".into()))?;
        if known.state != EffectState::Running {
            return Ok(answer(&known, !is_new));
        }
        sleep(LOOK).await;
    }
}

/// An effect has begun: what must be true then?
fn has_begun(world: &World, effect: &Effect) {
    let Effect { id, key, target, action, token, .. } = effect;
    world.tell(&format!("effect {id} begins: {action} on {target}, token {token:?}, key {key}"));
    if !world.is_intended(key) {
        world.violated(format!("effect {id} ({key}) began without a committed attempt"));
    }
    let fleet = world.fleet();
    if token.is_none_or(|token| fleet.fence(target) > Some(token)) {
        let seen = fleet.fence(target);
        drop(fleet);
        world.violated(format!("effect {id} began with the token {token:?} after {seen:?}"));
    }
}

fn refused(refusal: Refusal) -> ToolError {
    match refusal {
        Refusal::Fenced { seen } => {
            let why = format!("the target has seen the token {seen}");
            ToolError::refused("fencing_token", why)
        }
        Refusal::Busy => ToolError::Unavailable("another change is in progress".into()),
        Refusal::Impossible(why) => ToolError::refused("parameters", why),
    }
}

fn check_grant(action: &str, request: &ChangeRequest, now: Timestamp) -> Result<(), ToolError> {
    let grant = request.grant.as_ref().ok_or_else(|| ToolError::refused("grant", "missing"))?;
    let arguments = canonical_arguments(action, &request.target, &request.parameters);
    if grant.arguments_sha256 != hex::encode(Sha256::digest(arguments)) {
        return Err(ToolError::refused("grant.arguments_sha256", "is of other arguments"));
    }
    if grant.target != request.target {
        return Err(ToolError::refused("grant.target", "is another target"));
    }
    if grant.expires_at <= now || request.deadline <= now {
        return Err(ToolError::refused("deadline", "has passed"));
    }
    Ok(())
}

fn status(world: &World, input: &StatusInput) -> Result<StatusOutput, ToolError> {
    let mut fleet = world.fleet();
    if let (Some(target), Some(token)) = (&input.target, input.fencing_token) {
        fleet.raise_fence(target, token).map_err(refused)?;
    }
    let is_asked = |effect: &&Effect| {
        let is =
            |asked: &Option<String>, has: &str| asked.as_ref().is_none_or(|asked| asked == has);
        is(&input.idempotency_key, &effect.key)
            && is(&input.change_id, &effect.id)
            && is(&input.target, &effect.target)
    };
    let changes = fleet.effects.iter().rev().filter(is_asked).take(10);
    let changes = changes.map(|effect| answer(effect, false)).collect();
    let target = input.target.as_ref().map(|target| TargetStatus {
        target: target.clone(),
        service: target.clone(),
        healthy: !fleet.is_ill(target),
        state: Value::Null,
        actions: Vec::new(),
        closed: None,
    });
    Ok(StatusOutput { time: world.now(), target, changes })
}

/// The record of a change, as it is told.
fn answer(effect: &Effect, is_repeated: bool) -> Change {
    let state = |replicas: u64| json!({"replicas": replicas});
    let is_over = effect.state != EffectState::Running;
    let path = || "replicas".to_owned();
    let (before, after) = (Value::from(effect.before), Value::from(effect.after));
    let diff = Difference { path: path(), before, after };
    let parameters: Map<String, Value> = [(path(), effect.before.into())].into_iter().collect();
    let inverse =
        Inverse { action: deployment::SCALE.into(), target: effect.target.clone(), parameters };
    let is_undoable = effect.action == deployment::SCALE;
    Change {
        change_id: Some(effect.id.clone()),
        target: effect.target.clone(),
        action: effect.action.into(),
        state: match effect.state {
            EffectState::Done if is_repeated => ChangeState::AlreadyDone,
            EffectState::Done => ChangeState::Done,
            EffectState::Running | EffectState::Unknown => ChangeState::Unknown,
        },
        diff: (is_over && effect.before != effect.after).then_some(diff).into_iter().collect(),
        before: state(effect.before),
        after: if is_over { state(effect.after) } else { Value::Null },
        inverse: is_undoable.then_some(inverse),
        no_inverse: (!is_undoable).then(|| "it cannot be undone".to_owned()),
        started_at: effect.begun,
        finished_at: is_over.then_some(effect.ends),
        output: String::new(),
        error: (effect.state == EffectState::Unknown).then(|| "it was interrupted".to_owned()),
    }
}
