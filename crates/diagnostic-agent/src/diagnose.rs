//! From the answers to the diagnosis. Pure: every case is weighed, the best satisfied one is the
//! cause, and the others say why they lost.

use incident::{Alternative, Brief, Confidence, Diagnosis, Evidence, MissingEvidence};
use jiff::Timestamp;

use crate::cases::{Case, Inquiry};
use crate::evidence::{Answer, Moment, read};
use crate::rules::{Scope, Verdict};
use crate::text::clean;

/// Failed conditions told of one alternative.
const REASONS: usize = 4;

/// One case with what its evidence says.
struct Weighed<'a> {
    case: &'a Case<'a>,
    verdict: Verdict,
    confidence: Confidence,
    values: Scope,
    evidence: Vec<Evidence>,
    missing: Vec<MissingEvidence>,
}

/// Concludes from `answers`, one for each query of the inquiry. Causes closer than `close_call` are
/// reported as hard to tell apart.
pub(crate) fn conclude(
    brief: &Brief,
    inquiry: &Inquiry<'_>,
    answers: &[Result<Answer, String>],
    moment: Moment,
    close_call: f64,
    finished_at: Timestamp,
) -> Diagnosis {
    let mut weighed: Vec<Weighed<'_>> =
        inquiry.cases.iter().map(|case| weigh(case, inquiry, answers, moment)).collect();
    // Satisfied first, then the surer; the sort is stable, so equals keep the order of their files.
    weighed.sort_by(|one, other| {
        let rank = |w: &Weighed<'_>| (w.verdict.is_satisfied(), w.confidence.value());
        rank(other).partial_cmp(&rank(one)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let winner = weighed.first().filter(|best| best.verdict.is_satisfied());
    let mut diagnosis = match winner {
        Some(winner) => found(brief, winner),
        None => inconclusive(brief, inquiry, &weighed),
    };
    if let Some(winner) = winner {
        for rival in &weighed[1..] {
            if let Some(warning) = close(winner, rival, close_call) {
                diagnosis.summary.push_str(&warning);
            }
        }
    }
    let losers = weighed.iter().skip(usize::from(winner.is_some()));
    diagnosis.alternatives = losers.map(|loser| alternative(loser, winner)).collect();
    diagnosis.evidence = every(weighed.iter().flat_map(|weighed| &weighed.evidence));
    diagnosis.started_at = moment.now;
    diagnosis.finished_at = finished_at;
    diagnosis
}

fn weigh<'a>(
    case: &'a Case<'a>,
    inquiry: &Inquiry<'_>,
    answers: &[Result<Answer, String>],
    moment: Moment,
) -> Weighed<'a> {
    let (mut values, mut evidence, mut missing) = (Scope::new(), Vec::new(), Vec::new());
    let (mut known, mut total) = (0.0, 0.0);
    for (spec, index) in case.rule.evidence.iter().zip(&case.asked) {
        let query = &inquiry.queries[*index];
        let answer = answers[*index].as_ref().map_err(Clone::clone);
        total += spec.weight;
        match answer.and_then(|answer| read(spec, query, &case.target, answer, moment)) {
            Ok(found) => {
                known += spec.weight;
                values.insert(spec.name.clone(), found.value.clone());
                evidence.push(found);
            }
            Err(_) if spec.weight == 0.0 => {}
            Err(why) => missing.push(MissingEvidence {
                name: spec.name.clone(),
                tool: query.tool(),
                query: query.text(),
                why: clean(&why),
            }),
        }
    }
    let verdict = case.rule.judge(&values, &case.target);
    let share = if total > 0.0 { known / total } else { 1.0 };
    // No outcomes are recorded yet, so the posterior is the prior.
    let prior = case.rule.confidence;
    let confidence = prior.prior.updated(prior.weight, 0, 0).scaled(share);
    Weighed { case, verdict, confidence, values, evidence, missing }
}

fn found(brief: &Brief, winner: &Weighed<'_>) -> Diagnosis {
    let rule = winner.case.rule;
    let mut summary = rule.sentence(&winner.values, &winner.case.target, &winner.case.alert.name);
    if !winner.missing.is_empty() {
        let names: Vec<&str> = winner.missing.iter().map(|missing| missing.name.as_str()).collect();
        summary.push_str(&format!(" (less sure: {} missing)", names.join(", ")));
    }
    Diagnosis {
        cause: Some(rule.cause.clone()),
        summary,
        target: Some(winner.case.target.clone()),
        confidence: winner.confidence,
        rule: Some(rule.id.clone()),
        missing: winner.missing.clone(),
        runbooks: rule.runbooks.clone(),
        facts: winner.verdict.facts.clone(),
        ..empty(brief)
    }
}

fn inconclusive(brief: &Brief, inquiry: &Inquiry<'_>, weighed: &[Weighed<'_>]) -> Diagnosis {
    let missing = every(weighed.iter().flat_map(|weighed| &weighed.missing));
    let mut reasons = inquiry.notes.clone();
    if !weighed.is_empty() {
        let causes: Vec<&str> = weighed.iter().map(|w| w.case.rule.cause.as_str()).collect();
        reasons.push(format!("the evidence does not show {}", every(causes.iter()).join(" or ")));
    }
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|missing| missing.name.as_str()).collect();
        reasons.push(format!("{} missing", every(names.iter()).join(", ")));
    }
    let summary = format!("No cause found: {}", reasons.join("; "));
    Diagnosis { summary, missing, ..empty(brief) }
}

/// Says so when the second is as likely as the first.
fn close(winner: &Weighed<'_>, rival: &Weighed<'_>, close_call: f64) -> Option<String> {
    let (one, other) = (winner.confidence.value(), rival.confidence.value());
    let is_close = rival.verdict.is_satisfied()
        && rival.case.rule.cause != winner.case.rule.cause
        && one - other < close_call;
    is_close.then(|| {
        let (cause, target) = (&rival.case.rule.cause, &rival.case.target);
        format!("; hard to tell from {cause} on {target} ({other:.2} against {one:.2})")
    })
}

fn alternative(loser: &Weighed<'_>, winner: Option<&Weighed<'_>>) -> Alternative {
    let Case { rule, target, .. } = loser.case;
    let failed = &loser.verdict.failed;
    let (confidence, why) = match winner {
        Some(winner) if failed.is_empty() => {
            let (one, other) = (winner.confidence.value(), loser.confidence.value());
            let verb = if one == other { "as sure as" } else { "less sure than" };
            let cause = &winner.case.rule.cause;
            (loser.confidence, format!("holds too, {verb} {cause}: {other:.2} against {one:.2}"))
        }
        _ => {
            let more = match failed.len().saturating_sub(REASONS) {
                0 => String::new(),
                more => format!("; {more} more"),
            };
            let shown = failed.iter().take(REASONS).cloned().collect::<Vec<_>>().join("; ");
            (Confidence::NONE, format!("{shown}{more}"))
        }
    };
    let why_not = format!("{target}: {why}");
    Alternative { cause: rule.cause.clone(), confidence, why_not }
}

fn empty(brief: &Brief) -> Diagnosis {
    Diagnosis {
        incident_id: brief.incident.id,
        cause: None,
        summary: String::new(),
        target: None,
        confidence: Confidence::NONE,
        cases: 0,
        rule: None,
        evidence: Vec::new(),
        missing: Vec::new(),
        alternatives: Vec::new(),
        runbooks: Vec::new(),
        facts: Default::default(),
        started_at: Timestamp::UNIX_EPOCH,
        finished_at: Timestamp::UNIX_EPOCH,
    }
}

/// What differs, in order: two rules may name the same query alike.
fn every<'a, T: PartialEq + Clone + 'a>(items: impl Iterator<Item = &'a T>) -> Vec<T> {
    items.fold(Vec::new(), |mut kept, item| {
        if !kept.contains(item) {
            kept.push(item.clone());
        }
        kept
    })
}
