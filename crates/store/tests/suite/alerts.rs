//! Alerts: news with the version it was decided on, repeats that are counted only while they are
//! true, and the ways to read them.

use std::sync::Arc;

use futures::future::{join, join_all};
use incident::{Alert, AlertStatus, Severity};
use store::{AlertKey, AlertRow, AlertWrite, Batch, Repeat, Store, StoreError};

use super::harness::Harness;
use super::sample::{
    again, alert, at, batch, closed, delivered, firing, first, id, incident, is_conflict, known,
    news, put, refused, repeat, report, resolved, stored, write,
};

fn of_alerts(alerts: Vec<AlertWrite>) -> Batch {
    Batch { alerts, ..Batch::default() }
}

fn of_repeats(repeats: impl Into<Vec<Repeat>>) -> Batch {
    Batch { repeats: repeats.into(), ..Batch::default() }
}

/// An open incident with one alert that fires.
async fn one_firing(h: &Harness) -> (Arc<dyn Store>, Alert) {
    let store = h.open().await;
    put(&store, [incident(1, "k")]).await;
    let alert = firing("a", "f");
    report(&store, [news(alert.clone(), Some(1))]).await;
    (store, alert)
}

pub(crate) async fn a_new_alert_reads_back(h: &Harness) {
    let store = h.open().await;
    let mut alert = firing("alertmanager", "f");
    alert.labels = [("team".into(), "it's \"db\" \0 é😀".into())].into();
    alert.annotations = [("summary".into(), "\\ % $1 ?\r\n".into())].into();
    let write = AlertWrite {
        at: "2027-01-15T08:00:07.123456Z".parse().unwrap(),
        reports: 3,
        ..news(alert.clone(), Some(1))
    };
    let incidents = vec![first(incident(1, "k"))];
    let alerts = vec![write.clone()];
    store.commit(Batch { incidents, alerts, ..Batch::default() }).await.unwrap();
    let row = known(&store, &alert).await;
    assert_eq!((&row.alert, row.incident, row.held), (&alert, Some(id(1)), None));
    assert_eq!((row.reports, row.version), (3, 1));
    assert_eq!((row.first_at, row.last_at), (write.at, write.at));
}

pub(crate) async fn news_replaces_an_alert_and_counts(h: &Harness) {
    let (store, alert) = one_firing(h).await;
    store.commit(of_repeats([repeat(&alert, 4)])).await.unwrap();
    let ended = resolved(&alert);
    let write = AlertWrite { version: 1, reports: 2, at: at(7), ..news(ended.clone(), Some(1)) };
    report(&store, [write]).await;
    let row = known(&store, &alert).await;
    assert_eq!((row.alert, row.reports, row.version), (ended, 7, 2));
    assert_eq!((row.first_at, row.last_at), (at(1), at(7)));
    let held = Some("maintenance of db-1".to_owned());
    let write =
        AlertWrite { version: 2, held: held.clone(), at: at(3), ..news(alert.clone(), None) };
    report(&store, [write]).await;
    let row = known(&store, &alert).await;
    assert_eq!((row.incident, row.held, row.reports, row.version), (None, held, 8, 3));
    assert_eq!(row.last_at, at(7), "a report that was late is not the last");
}

pub(crate) async fn an_alert_whose_version_is_history_conflicts(h: &Harness) {
    let (store, alert) = one_firing(h).await;
    for version in [0, 2] {
        let late = AlertWrite { version, ..news(resolved(&alert), Some(1)) };
        let alerts = vec![news(firing("a", "another"), Some(1)), late];
        let refused = store.commit(of_alerts(alerts)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Conflict { .. }), "{refused:?}");
        assert_eq!(refused.to_string(), "the alert f of a has changed since it was read");
    }
    let unknown = AlertWrite { version: 1, ..news(firing("a", "another"), Some(1)) };
    refused!(store.commit(of_alerts(vec![unknown])).await, Conflict);
    let rows = store.alerts_of(id(1), None, 9).await.unwrap();
    assert_eq!(rows.iter().map(|row| &row.alert).collect::<Vec<_>>(), [&alert]);
    assert_eq!(rows[0].version, 1);
}

pub(crate) async fn an_alert_is_written_once_in_a_batch(h: &Harness) {
    let (store, alert) = one_firing(h).await;
    let twice = |alert: &Alert, version| {
        let write = AlertWrite { version, ..news(alert.clone(), Some(1)) };
        of_alerts(vec![write.clone(), write])
    };
    refused!(store.commit(twice(&alert, 1)).await, Conflict);
    refused!(store.commit(twice(&firing("a", "new"), 0)).await, Conflict);
    assert_eq!(known(&store, &alert).await.version, 1);
    assert_eq!(store.alerts_of(id(1), None, 9).await.unwrap().len(), 1);
}

pub(crate) async fn an_alert_of_an_unknown_incident_stores_nothing(h: &Harness) {
    let store = h.open().await;
    let incidents = vec![first(incident(1, "k"))];
    let alerts = vec![news(firing("a", "f"), Some(9))];
    let refused = store.commit(Batch { incidents, alerts, ..Batch::default() }).await;
    refused!(refused, Refused);
    assert!(store.incident(id(1)).await.unwrap().is_none());
    assert!(store.alerts_of(id(9), None, 9).await.unwrap().is_empty());
}

pub(crate) async fn alerts_and_their_incidents_are_read_together(h: &Harness) {
    let store = h.open().await;
    put(&store, [closed(incident(1, "k")), incident(2, "k"), incident(3, "l")]).await;
    let alerts: Vec<Alert> = (0..40).map(|number| firing("a", &format!("f{number}"))).collect();
    report(&store, alerts[..20].iter().map(|alert| news(alert.clone(), Some(1)))).await;
    report(&store, alerts[20..].iter().map(|alert| news(alert.clone(), None))).await;
    let unknown = [alert("a", "unknown"), alert("b", "f1")];
    let asked: Vec<AlertKey> = alerts.iter().map(AlertKey::of).chain(unknown).collect();
    let related = store.related(asked.clone(), Vec::new()).await.unwrap();
    assert_eq!(related.alerts.len(), 40);
    for (key, alert) in asked.iter().zip(&alerts) {
        assert_eq!(&related.alerts[key].alert, alert);
    }
    assert_eq!(related.incidents.into_keys().collect::<Vec<_>>(), [id(1)]);
    let keys = vec!["k".to_owned().into()];
    let related = store.related(vec![asked[30].clone()], keys).await.unwrap();
    assert_eq!(related.alerts.keys().collect::<Vec<_>>(), [&asked[30]]);
    assert_eq!(related.incidents.into_keys().collect::<Vec<_>>(), [id(2)]);
}

pub(crate) async fn an_alert_leads_to_its_last_incident(h: &Harness) {
    let store = h.open().await;
    put(&store, [closed(incident(1, "k")), incident(2, "k")]).await;
    let alert = firing("a", "f");
    for number in [1, 2] {
        let version = i64::try_from(number).unwrap() - 1;
        report(&store, [AlertWrite { version, ..news(alert.clone(), Some(number)) }]).await;
        let related = store.related(vec![AlertKey::of(&alert)], Vec::new()).await.unwrap();
        assert_eq!(related.alerts[&AlertKey::of(&alert)].incident, Some(id(number)));
        let found = &related.incidents[&id(number)];
        assert_eq!((found.incident.id, found.base.version), (id(number), 1));
        assert_eq!(related.incidents.len(), 1);
    }
    let foreign = super::sample::alert("b", "f");
    let related = store.related(vec![foreign], Vec::new()).await.unwrap();
    assert!(related.alerts.is_empty() && related.incidents.is_empty());
}

pub(crate) async fn a_key_of_any_text_is_kept_apart(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k")]).await;
    let long = "x".repeat(9_000);
    let texts = ["'", "\" \\", "é😀", "$1", "\0", "{}", &long, &format!("{long}y")];
    let alerts: Vec<Alert> = texts.iter().map(|text| firing("a", text)).collect();
    report(&store, alerts.iter().map(|alert| news(alert.clone(), Some(1)))).await;
    for (number, alert) in (1..).zip(&alerts) {
        store.commit(of_repeats([repeat(alert, number)])).await.unwrap();
    }
    for (number, alert) in (1..).zip(&alerts) {
        let row = known(&store, alert).await;
        assert_eq!((&row.alert, row.reports), (alert, 1 + number));
    }
    assert_eq!(store.alerts_of(id(1), None, 99).await.unwrap().len(), texts.len());
}

pub(crate) async fn repeats_are_counted(h: &Harness) {
    let (store, alert) = one_firing(h).await;
    let other = resolved(&firing("a", "other"));
    report(&store, [news(other.clone(), Some(1))]).await;
    let early = Repeat { at: at(0), ..repeat(&alert, 1) };
    let late = Repeat { at: at(8), ..repeat(&alert, 5) };
    store.commit(of_repeats([repeat(&alert, 2), late, early])).await.unwrap();
    store.commit(of_repeats([repeat(&other, 7), repeat(&alert, 1)])).await.unwrap();
    let row = known(&store, &alert).await;
    assert_eq!((row.reports, row.first_at, row.last_at), (10, at(1), at(8)));
    assert_eq!((row.version, row.alert), (1, alert));
    let row = known(&store, &other).await;
    assert_eq!((row.reports, row.last_at), (8, at(5)));
}

pub(crate) async fn a_repeat_that_says_otherwise_conflicts(h: &Harness) {
    let (store, alert) = one_firing(h).await;
    let others = [
        Alert { status: AlertStatus::Resolved, ..alert.clone() },
        Alert { severity: Severity::Critical, ..alert.clone() },
        Alert { starts_at: at(1), ..alert.clone() },
        Alert { source: "b".into(), ..alert.clone() },
        Alert { fingerprint: "F".into(), ..alert.clone() },
    ];
    for other in others {
        refused!(store.commit(of_repeats([repeat(&other, 1)])).await, Conflict);
        let both = of_repeats([repeat(&alert, 1), repeat(&other, 1)]);
        refused!(store.commit(both).await, Conflict);
    }
    assert_eq!(known(&store, &alert).await.reports, 1);
}

pub(crate) async fn a_repeat_of_a_closed_incident_conflicts(h: &Harness) {
    let (store, alert) = one_firing(h).await;
    let ended = resolved(&firing("a", "ended"));
    report(&store, [news(ended.clone(), Some(1))]).await;
    store.commit(of_repeats([repeat(&alert, 1)])).await.unwrap();
    put(&store, [closed(incident(1, "k"))]).await;
    let refused = store.commit(of_repeats([repeat(&alert, 1)])).await.unwrap_err();
    assert_eq!(refused.to_string(), "the alert f of a has changed since it was read");
    store.commit(of_repeats([repeat(&ended, 1)])).await.unwrap();
    assert_eq!(known(&store, &alert).await.reports, 2);
    assert_eq!(known(&store, &ended).await.reports, 2);
    put(&store, [incident(1, "k")]).await;
    store.commit(of_repeats([repeat(&alert, 1)])).await.unwrap();
}

pub(crate) async fn a_repeat_of_what_is_held_back_conflicts(h: &Harness) {
    let store = h.open().await;
    let alert = firing("a", "f");
    let held = Some("maintenance".to_owned());
    report(&store, [AlertWrite { held, ..news(alert.clone(), None) }]).await;
    refused!(store.commit(of_repeats([repeat(&alert, 1)])).await, Conflict);
    assert_eq!(known(&store, &alert).await.reports, 1);
}

pub(crate) async fn a_batch_with_one_false_repeat_stores_nothing(h: &Harness) {
    let (store, alert) = one_firing(h).await;
    let batch = Batch {
        delivered: vec![delivered("never")],
        incidents: vec![first(incident(2, "l")), again(&stored(&store, 1).await)],
        alerts: vec![news(firing("a", "new"), Some(2))],
        repeats: vec![repeat(&alert, 3), repeat(&resolved(&alert), 1)],
        ..Batch::default()
    };
    refused!(store.commit(batch).await, Conflict);
    assert_eq!(known(&store, &alert).await.reports, 1);
    assert!(store.deliveries(0, 9).await.unwrap().is_empty());
    assert!(store.incident(id(2)).await.unwrap().is_none());
    assert_eq!(stored(&store, 1).await.base.version, 1);
    assert_eq!(store.firing_alerts("a".into(), None, 9).await.unwrap().len(), 1);
}

pub(crate) async fn a_false_repeat_spoils_no_other(h: &Harness) {
    let (store, alert) = one_firing(h).await;
    let commits = (0..30).map(|number| {
        let said = if number % 10 == 7 { resolved(&alert) } else { alert.clone() };
        let delivered = vec![delivered(&number.to_string())];
        store.commit(Batch { delivered, ..of_repeats([repeat(&said, 1)]) })
    });
    let outcomes = join_all(commits).await;
    let failed: Vec<usize> = (0..30).filter(|number| outcomes[*number].is_err()).collect();
    assert_eq!(failed, [7, 17, 27], "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| outcome.is_ok() || is_conflict(outcome)));
    assert_eq!(known(&store, &alert).await.reports, 28);
    assert_eq!(store.deliveries(0, 99).await.unwrap().len(), 27);
}

pub(crate) async fn repeats_at_once_are_counted_exactly(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k")]).await;
    let alerts: Vec<Alert> = (0..7).map(|number| firing("a", &format!("f{number}"))).collect();
    report(&store, alerts.iter().map(|alert| news(alert.clone(), Some(1)))).await;
    let commits = (0..300).map(|number| {
        let repeats = [repeat(&alerts[number % 7], 1), repeat(&alerts[number % 3], 2)];
        store.commit(of_repeats(repeats))
    });
    join_all(commits).await.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    for (number, alert) in alerts.iter().enumerate() {
        let of_seven = (0..300).filter(|one| one % 7 == number).count();
        let of_three = (0..300).filter(|one| one % 3 == number).count();
        let reports = usize::try_from(known(&store, alert).await.reports).unwrap();
        assert_eq!(reports, 1 + of_seven + 2 * of_three, "alert {number}");
    }
}

pub(crate) async fn a_repeat_beside_what_ends_it_comes_before_it_or_conflicts(h: &Harness) {
    let store = h.open().await;
    for number in 1..=20 {
        let alert = firing("a", &number.to_string());
        put(&store, [incident(number, &number.to_string())]).await;
        report(&store, [news(alert.clone(), Some(number))]).await;
        let ends = AlertWrite { version: 1, ..news(resolved(&alert), Some(number)) };
        let over = closed(incident(number, &number.to_string()));
        let over = write(over, stored(&store, number).await.base);
        let end = Batch { alerts: vec![ends], ..batch([over]) };
        let repeats = || store.commit(of_repeats([repeat(&alert, 1)]));
        let (before, end, after) = futures::join!(repeats(), store.commit(end), repeats());
        end.unwrap();
        let repeats = [before, after];
        assert!(repeats.iter().all(|outcome| outcome.is_ok() || is_conflict(outcome)));
        let counted = repeats.iter().filter(|outcome| outcome.is_ok());
        let row = known(&store, &alert).await;
        assert_eq!(row.reports, 2 + i64::try_from(counted.count()).unwrap());
        assert!(!row.alert.is_firing());
    }
}

pub(crate) async fn of_many_reports_of_a_new_alert_one_wins(h: &Harness) {
    let store = h.open().await;
    let alert = firing("a", "f");
    let commits = (1..=12).map(|number| {
        let incidents = vec![first(incident(number, &number.to_string()))];
        let alerts = vec![news(alert.clone(), Some(number))];
        store.commit(Batch { incidents, alerts, ..Batch::default() })
    });
    let outcomes = join_all(commits).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| is_conflict(outcome)).count(), 11);
    let incidents = store.incidents(99, None).await.unwrap();
    assert_eq!(incidents.len(), 1);
    assert_eq!(known(&store, &alert).await.incident, Some(incidents[0].incident.id));
}

/// Keys of rows, as `source fingerprint`.
fn keys(rows: &[AlertRow]) -> Vec<String> {
    let key = |row: &AlertRow| format!("{} {}", row.alert.source, row.alert.fingerprint);
    rows.iter().map(key).collect()
}

pub(crate) async fn the_alerts_of_an_incident_come_in_pages(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k"), incident(2, "l")]).await;
    let of = |source, fingerprint, number| news(firing(source, fingerprint), Some(number));
    let one = [of("b", "1", 1), of("a", "2", 1), of("a", "B", 1), of("a", "b", 1)];
    let ended = news(resolved(&firing("a", "10")), Some(1));
    report(&store, one.into_iter().chain([ended, of("a", "1", 2)])).await;
    let page = async |after: Option<(&str, &str)>, limit| {
        let after = after.map(|(source, fingerprint)| alert(source, fingerprint));
        keys(&store.alerts_of(id(1), after, limit).await.unwrap())
    };
    assert_eq!(page(None, 3).await, ["a 10", "a 2", "a B"]);
    assert_eq!(page(Some(("a", "B")), 3).await, ["a b", "b 1"]);
    assert!(page(Some(("b", "1")), 3).await.is_empty());
    assert!(store.alerts_of(id(3), None, 9).await.unwrap().is_empty());
}

pub(crate) async fn the_firing_alerts_of_a_source_come_in_pages(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k"), closed(incident(2, "l"))]).await;
    let held = AlertWrite { held: Some("storm".into()), ..news(firing("a", "held"), None) };
    let alerts = ["f2", "f1", "f3"].map(|fingerprint| news(firing("a", fingerprint), Some(1)));
    let others = [
        held,
        news(firing("b", "f"), Some(1)),
        news(resolved(&firing("a", "ended")), Some(1)),
        news(firing("a", "of a closed one"), Some(2)),
        news(firing("a", "of none"), None),
    ];
    report(&store, alerts.into_iter().chain(others)).await;
    let page = async |after: Option<&str>, limit| {
        keys(&store.firing_alerts("a".into(), after.map(str::to_owned), limit).await.unwrap())
    };
    assert_eq!(page(None, 9).await, ["a f1", "a f2", "a f3", "a held"]);
    assert_eq!(page(None, 2).await, ["a f1", "a f2"]);
    assert_eq!(page(Some("f2"), 2).await, ["a f3", "a held"]);
    assert!(store.firing_alerts("c".into(), None, 9).await.unwrap().is_empty());
}

pub(crate) async fn held_alerts_come_in_pages(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k")]).await;
    let held = |alert| AlertWrite { held: Some("storm".into()), ..news(alert, None) };
    let alerts = [("b", "1"), ("a", "2"), ("a", "1")];
    let alerts = alerts.map(|(source, fingerprint)| held(firing(source, fingerprint)));
    let others =
        [held(resolved(&firing("a", "ended"))), news(firing("a", "in an incident"), Some(1))];
    report(&store, alerts.into_iter().chain(others)).await;
    let rows = store.held_alerts(None, 2).await.unwrap();
    assert_eq!(keys(&rows), ["a 1", "a 2"]);
    assert_eq!(rows[0].held.as_deref(), Some("storm"));
    let rest = store.held_alerts(Some(alert("a", "2")), 2).await.unwrap();
    assert_eq!(keys(&rest), ["b 1"]);
}

pub(crate) async fn a_restart_finds_the_alerts(h: &Harness) {
    let (store, alert) = one_firing(h).await;
    let batch = Batch { delivered: vec![delivered("{}")], ..of_repeats([repeat(&alert, 6)]) };
    store.commit(batch).await.unwrap();
    let store = h.restart(store).await;
    let row = known(&store, &alert).await;
    assert_eq!((row.reports, row.version, row.incident), (7, 1, Some(id(1))));
    assert_eq!(store.deliveries(0, 9).await.unwrap()[0].body, "{}");
}

pub(crate) async fn an_alert_whose_body_cannot_be_read_is_what_its_row_says(h: &Harness) {
    let (store, alert) = one_firing(h).await;
    h.sql("UPDATE alert SET body = '{'".into()).await;
    let row = known(&store, &alert).await;
    assert_eq!(row.alert, Alert { name: String::new(), ..alert.clone() });
    let write = AlertWrite { version: row.version, ..news(resolved(&alert), Some(1)) };
    report(&store, [write]).await;
    assert_eq!(known(&store, &alert).await.alert, resolved(&alert));
}

pub(crate) async fn replicas_that_bring_one_new_alert_store_it_once(h: &Harness) {
    let (one, two) = h.two().await;
    put(&one, [incident(1, "k")]).await;
    for round in 0..10 {
        let alerts: Vec<Alert> =
            (0..20).map(|number| firing("a", &format!("{round}-{number}"))).collect();
        // One brings them in another order than the other.
        let bring = |store: &Arc<dyn Store>, is_first: bool| {
            let mut alerts: Vec<AlertWrite> =
                alerts.iter().map(|alert| news(alert.clone(), Some(1))).collect();
            if is_first {
                alerts.reverse();
            }
            let store = store.clone();
            async move { store.commit(of_alerts(alerts)).await }
        };
        let (first, second) = join(bring(&one, true), bring(&two, false)).await;
        assert_eq!([&first, &second].iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert!(is_conflict(&first) || is_conflict(&second), "{first:?} {second:?}");
        assert_eq!(one.alerts_of(id(1), None, 999).await.unwrap().len(), 20 * (round + 1));
    }
}

pub(crate) async fn replicas_count_repeats_exactly(h: &Harness) {
    let (one, two) = h.two().await;
    put(&one, [incident(1, "k")]).await;
    let alerts: Vec<Alert> = (0..8).map(|number| firing("a", &number.to_string())).collect();
    report(&one, alerts.iter().map(|alert| news(alert.clone(), Some(1)))).await;
    let commits = (0..100).map(|number: usize| {
        let mut repeats: Vec<Repeat> = alerts.iter().map(|alert| repeat(alert, 1)).collect();
        repeats.rotate_left(number % 8);
        let store = if number.is_multiple_of(2) { &one } else { &two };
        store.commit(of_repeats(repeats))
    });
    join_all(commits).await.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    for alert in &alerts {
        assert_eq!(known(&two, alert).await.reports, 101);
    }
}

pub(crate) async fn replicas_that_take_alerts_in_other_orders_do_not_wait_forever(h: &Harness) {
    let (one, two) = h.two().await;
    put(&one, [incident(1, "k")]).await;
    let alerts: Vec<Alert> = (0..30).map(|number| firing("a", &number.to_string())).collect();
    report(&one, alerts.iter().map(|alert| news(alert.clone(), Some(1)))).await;
    for version in 1..=10 {
        let next = |reverse: bool| {
            let write = |alert: &Alert| AlertWrite { version, ..news(alert.clone(), Some(1)) };
            let mut writes: Vec<AlertWrite> = alerts.iter().map(write).collect();
            if reverse {
                writes.reverse();
            }
            // The others at once, so that each has what the next one wants.
            let repeats = alerts.iter().map(|alert| repeat(alert, 1)).collect();
            Batch { repeats, ..of_alerts(writes) }
        };
        let outcomes = join_all([one.commit(next(false)), two.commit(next(true))]).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| is_conflict(outcome)).count(), 1);
    }
    for alert in &alerts {
        let row = known(&two, alert).await;
        assert_eq!((row.version, row.reports), (11, 21), "what was refused is not counted");
    }
}
