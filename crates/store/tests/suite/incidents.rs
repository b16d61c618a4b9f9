//! Incidents, deadlines, and what a batch is.

use futures::future::join_all;
use incident::{Incident, IncidentId, Phase};
use store::{Base, Batch, Delivered};

use super::harness::Harness;
use super::sample::{
    again, alert, at, batch, claim, closed, effect, entry, firing, first, id, incident,
    is_conflict, news, put, refused, report, stored, tell, write,
};

pub(crate) async fn an_incident_reads_back_and_is_replaced(h: &Harness) {
    let store = h.open().await;
    assert!(store.incident(id(1)).await.unwrap().is_none());
    let mut incident = incident(1, "k");
    put(&store, [incident.clone()]).await;
    incident.phase = Phase::AwaitingApproval { plan_hash: "h".into() };
    incident.deadline = Some(at(5));
    let mut write = write(incident.clone(), stored(&store, 1).await.base);
    write.at = "2027-01-15T08:00:07.123456Z".parse().unwrap();
    store.commit(batch([write.clone()])).await.unwrap();
    let stored = stored(&store, 1).await;
    assert_eq!((stored.incident, stored.changed_at), (incident, write.at));
}

pub(crate) async fn every_text_is_kept(h: &Harness) {
    let store = h.open().await;
    let mut incident = incident(1, "k'ey \"1\"; -- é😀");
    incident.title = "'quoted' \"twice\" \\ % $1 ? \0 \u{1b}[0m\r\n\té😀".into();
    put(&store, [incident.clone()]).await;
    let mut write = again(&stored(&store, 1).await);
    write.entries = vec![entry(&incident.title)];
    store.commit(batch([write])).await.unwrap();
    assert_eq!(stored(&store, 1).await.incident, incident);
    let rows = store.timeline(id(1), 0, 9).await.unwrap();
    assert_eq!(rows[0].entry, entry(&incident.title));
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 1);
    let related = store.related(Vec::new(), vec![incident.key]).await.unwrap();
    assert!(related.incidents.contains_key(&id(1)));
}

pub(crate) async fn versions_grow_by_one(h: &Harness) {
    let store = h.open().await;
    for version in 1..=3 {
        put(&store, [incident(1, "k")]).await;
        assert_eq!(stored(&store, 1).await.base.version, version);
    }
    put(&store, [incident(2, "l")]).await;
    assert_eq!(stored(&store, 2).await.base, Base { version: 1, ..Base::default() });
}

pub(crate) async fn a_base_that_is_history_conflicts(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k")]).await;
    let old = stored(&store, 1).await;
    put(&store, [incident(1, "k")]).await;
    let mut write = again(&old);
    write.incident.title = "late".into();
    write.entries.push(entry("late"));
    refused!(store.commit(batch([write])).await, Conflict);
    let now = stored(&store, 1).await;
    assert_eq!((now.incident.title, now.base.version), (old.incident.title, 2));
    assert!(store.timeline(id(1), 0, 9).await.unwrap().is_empty());
}

pub(crate) async fn a_new_incident_that_exists_conflicts(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k")]).await;
    refused!(store.commit(batch([first(incident(1, "k"))])).await, Conflict);
    let from_nothing = write(incident(2, "l"), Base { version: 3, ..Base::default() });
    refused!(store.commit(batch([from_nothing])).await, Conflict);
    assert!(store.incident(id(2)).await.unwrap().is_none(), "it was never there");
}

pub(crate) async fn of_many_writers_from_one_base_one_wins(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k")]).await;
    for round in 1..=5 {
        let base = stored(&store, 1).await;
        let commits = (0..8).map(|writer| {
            let mut write = again(&base);
            write.incident.title = format!("writer {writer}");
            write.entries.push(entry(&write.incident.title));
            write.effects.push(effect("resolve"));
            store.commit(batch([write]))
        });
        let outcomes = join_all(commits).await;
        let winner = outcomes.iter().position(Result::is_ok).expect("one wins");
        assert_eq!(outcomes.iter().filter(|outcome| is_conflict(outcome)).count(), 7);
        let now = stored(&store, 1).await;
        assert_eq!(now.incident.title, format!("writer {winner}"));
        assert_eq!((now.base.version, now.base.sequence), (round + 1, round));
    }
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 5);
    assert_eq!(claim(&store, "resolve").await.len(), 5, "the effects of those who lost are gone");
}

pub(crate) async fn replicas_that_write_from_one_base_do_not_overwrite(h: &Harness) {
    let (one, two) = h.two().await;
    put(&one, [incident(1, "k")]).await;
    for _ in 0..10 {
        let base = stored(&one, 1).await;
        let write = |summary| {
            let mut write = again(&base);
            write.entries.push(entry(summary));
            batch([write])
        };
        let outcomes = join_all([one.commit(write("one")), two.commit(write("two"))]).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| is_conflict(outcome)).count(), 1);
    }
    assert_eq!(two.verify_audit(id(1)).await.unwrap(), 10);
}

pub(crate) async fn a_batch_with_one_stale_incident_stores_nothing(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k"), incident(2, "l")]).await;
    let stale = again(&stored(&store, 2).await);
    put(&store, [incident(2, "l")]).await;
    let mut fresh = again(&stored(&store, 1).await);
    fresh.incident.title = "never".into();
    fresh.entries.push(entry("never"));
    fresh.effects.push(effect("resolve"));
    let batch = Batch {
        delivered: vec![Delivered { source: "a".into(), body: "{}".into(), at: at(1) }],
        incidents: vec![fresh, first(incident(3, "m")), stale],
        alerts: vec![news(firing("alertmanager", "f"), Some(1))],
        ..Batch::default()
    };
    refused!(store.commit(batch).await, Conflict);
    let one = stored(&store, 1).await;
    assert_eq!((one.base.version, one.incident.title.as_str()), (1, "db-1 refuses connections"));
    assert!(store.incident(id(3)).await.unwrap().is_none());
    assert!(store.timeline(id(1), 0, 9).await.unwrap().is_empty());
    assert!(claim(&store, "resolve").await.is_empty());
    let related = store.related(vec![alert("alertmanager", "f")], Vec::new()).await.unwrap();
    assert!(related.alerts.is_empty() && related.incidents.is_empty());
}

pub(crate) async fn one_incident_of_a_key_is_open(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k"), incident(2, "other")]).await;
    refused!(store.commit(batch([first(incident(3, "k"))])).await, Conflict);
    assert!(store.incident(id(3)).await.unwrap().is_none());
    put(&store, [closed(incident(1, "k"))]).await;
    put(&store, [incident(3, "k")]).await;
    let reopened = write(incident(1, "k"), stored(&store, 1).await.base);
    refused!(store.commit(batch([reopened])).await, Conflict);
    assert_eq!(stored(&store, 1).await.incident, closed(incident(1, "k")));
}

pub(crate) async fn one_batch_closes_an_incident_and_opens_the_next(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k")]).await;
    put(&store, [closed(incident(1, "k")), incident(2, "k")]).await;
    let related = store.related(Vec::new(), vec!["k".to_owned().into()]).await.unwrap();
    assert_eq!(related.incidents.into_keys().collect::<Vec<_>>(), [id(2)]);
}

pub(crate) async fn racing_reports_open_one_incident_of_a_key(h: &Harness) {
    let store = h.open().await;
    let commits = (1..=12).map(|number| store.commit(batch([first(incident(number, "k"))])));
    let outcomes = join_all(commits).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| is_conflict(outcome)).count(), 11);
    assert_eq!(store.incidents(99, None).await.unwrap().len(), 1);
}

pub(crate) async fn racing_replicas_open_one_incident_of_a_key(h: &Harness) {
    let (one, two) = h.two().await;
    for round in 0..10 {
        let key = format!("k{round}");
        let number = 1 + 2 * round;
        let outcomes = join_all([
            one.commit(batch([first(incident(number, &key))])),
            two.commit(batch([first(incident(number + 1, &key))])),
        ])
        .await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| is_conflict(outcome)).count(), 1);
    }
    assert_eq!(one.incidents(99, None).await.unwrap().len(), 10);
}

pub(crate) async fn replicas_that_reopen_and_open_of_one_key_do_not_both(h: &Harness) {
    let (one, two) = h.two().await;
    for round in 0..10 {
        let (key, old) = (format!("k{round}"), 1 + 2 * round);
        put(&one, [closed(incident(old, &key))]).await;
        let reopened = write(incident(old, &key), stored(&one, old).await.base);
        let outcomes = join_all([
            one.commit(batch([reopened])),
            two.commit(batch([first(incident(old + 1, &key))])),
        ])
        .await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().any(is_conflict), "{outcomes:?}");
    }
}

pub(crate) async fn a_key_leads_to_its_open_and_its_newest_incident(h: &Harness) {
    let store = h.open().await;
    let (open, newer) = (incident(2, "k"), closed(incident(3, "k")));
    put(&store, [closed(incident(1, "k")), open, newer, incident(4, "l")]).await;
    let related = async |keys: &[&str]| -> Vec<IncidentId> {
        let keys = keys.iter().map(|key| (*key).to_owned().into()).collect();
        store.related(Vec::new(), keys).await.unwrap().incidents.into_keys().collect()
    };
    assert_eq!(related(&["k"]).await, [id(2), id(3)]);
    assert_eq!(related(&["k", "l"]).await, [id(2), id(3), id(4)]);
    assert_eq!(related(&["none"]).await, []);
    assert_eq!(related(&[]).await, []);
}

pub(crate) async fn incidents_are_listed_newest_first_and_in_pages(h: &Harness) {
    let store = h.open().await;
    put(&store, (1..=5).map(|number| incident(number, &format!("k{number}")))).await;
    let page = async |limit, before| {
        let page = store.incidents(limit, before).await.unwrap();
        page.into_iter().map(|stored| stored.incident.id).collect::<Vec<_>>()
    };
    assert_eq!(page(2, None).await, [id(5), id(4)]);
    assert_eq!(page(2, Some(id(4))).await, [id(3), id(2)]);
    assert_eq!(page(9, Some(id(2))).await, [id(1)]);
    assert_eq!(page(9, Some(id(1))).await, []);
    assert_eq!(store.incidents(1, None).await.unwrap()[0].base, stored(&store, 5).await.base);
}

/// Incidents, entries of a timeline and alerts, of which three are too much for a page, and one alone is.
pub(crate) async fn a_page_is_bounded_by_bytes_and_never_empty_for_them(h: &Harness) {
    let store = h.open().await;
    let texts = [3, 3, 3, 9, 1].map(|halves| "x".repeat(halves << 19));
    for (number, text) in (1..).zip(&texts) {
        let description = text.clone();
        put(&store, [Incident { description, ..incident(number, &number.to_string()) }]).await;
        tell(&store, 1, &[text]).await;
        let mut alert = firing("a", &number.to_string());
        alert.annotations = [("text".into(), text.clone())].into();
        report(&store, [news(alert, Some(1))]).await;
    }
    let (mut before, mut pages) = (None, Vec::new());
    loop {
        let page = store.incidents(4, before).await.unwrap();
        pages.push(page.iter().map(|stored| stored.incident.id).collect::<Vec<_>>());
        let Some(last) = page.last() else { break };
        before = Some(last.incident.id);
    }
    let newest_first = [vec![id(5)], vec![id(4)], vec![id(3), id(2)], vec![id(1)], vec![]];
    assert_eq!(pages, newest_first);
    let sequences = async |after| {
        let rows = store.timeline(id(1), after, 4).await.unwrap();
        rows.iter().map(|row| row.sequence).collect::<Vec<_>>()
    };
    assert_eq!(sequences(0).await, [1, 2]);
    assert_eq!(sequences(2).await, [3]);
    assert_eq!(sequences(3).await, [4]);
    assert_eq!(sequences(4).await, [5]);
    let fingerprints = async |after: Option<&str>| {
        let after = after.map(|fingerprint| alert("a", fingerprint));
        let rows = store.alerts_of(id(1), after, 4).await.unwrap();
        rows.into_iter().map(|row| row.alert.fingerprint).collect::<Vec<_>>()
    };
    assert_eq!(fingerprints(None).await, ["1", "2"]);
    assert_eq!(fingerprints(Some("2")).await, ["3"]);
    assert_eq!(fingerprints(Some("3")).await, ["4"]);
    assert_eq!(fingerprints(Some("4")).await, ["5"]);
}

pub(crate) async fn deadlines_come_in_order(h: &Harness) {
    let store = h.open().await;
    assert_eq!(store.next_deadline().await.unwrap(), None);
    let due = |number, seconds| {
        let deadline = Some(at(seconds));
        Incident { deadline, ..incident(number, &format!("k{number}")) }
    };
    put(&store, [due(1, 30), due(2, 10), due(3, 20), incident(4, "none")]).await;
    assert_eq!(store.next_deadline().await.unwrap(), Some(at(10)));
    assert_eq!(store.overdue(at(9), 9).await.unwrap(), []);
    assert_eq!(store.overdue(at(20), 9).await.unwrap(), [id(2), id(3)]);
    assert_eq!(store.overdue(at(99), 1).await.unwrap(), [id(2)]);
}

pub(crate) async fn a_deadline_moves_with_its_incident(h: &Harness) {
    let store = h.open().await;
    let due = |seconds| Incident { deadline: Some(at(seconds)), ..incident(1, "k") };
    put(&store, [due(10)]).await;
    put(&store, [due(30)]).await;
    assert_eq!(store.overdue(at(29), 9).await.unwrap(), []);
    assert_eq!(store.next_deadline().await.unwrap(), Some(at(30)));
    put(&store, [closed(incident(1, "k"))]).await;
    assert_eq!(store.overdue(at(99), 9).await.unwrap(), []);
    assert_eq!(store.next_deadline().await.unwrap(), None);
}

pub(crate) async fn a_commit_is_seen_by_the_next_read(h: &Harness) {
    let store = h.open().await;
    for number in 1..=50 {
        store.commit(batch([first(incident(number, &number.to_string()))])).await.unwrap();
        assert!(store.incident(id(number)).await.unwrap().is_some(), "{number}");
    }
}

pub(crate) async fn commits_at_once_are_all_stored(h: &Harness) {
    let store = h.open().await;
    let commits = (1..=100).map(|number| {
        let mut write = first(incident(number, &number.to_string()));
        write.entries.push(entry("opened"));
        write.effects.push(effect("diagnose"));
        let alerts = vec![news(firing("a", &number.to_string()), Some(number))];
        let delivered = vec![Delivered { source: "a".into(), body: "{}".into(), at: at(1) }];
        store.commit(Batch { incidents: vec![write], alerts, delivered, ..Batch::default() })
    });
    for outcome in join_all(commits).await {
        outcome.unwrap();
    }
    assert_eq!(store.incidents(999, None).await.unwrap().len(), 100);
    assert_eq!(claim(&store, "diagnose").await.len(), 100);
    for number in 1..=100 {
        assert_eq!(store.verify_audit(id(number)).await.unwrap(), 1);
    }
}

pub(crate) async fn a_batch_that_fails_spoils_no_other(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(7, "seven"), incident(13, "13")]).await;
    let commits =
        (1..=20).map(|number| store.commit(batch([first(incident(number, &number.to_string()))])));
    let outcomes = join_all(commits).await;
    let failed: Vec<usize> = (1..=20).filter(|number| outcomes[number - 1].is_err()).collect();
    assert_eq!(failed, [7, 13], "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| outcome.is_ok() || is_conflict(outcome)));
    assert_eq!(store.incidents(99, None).await.unwrap().len(), 20);
}

pub(crate) async fn an_empty_batch_and_a_delivery_alone_are_committed(h: &Harness) {
    let store = h.open().await;
    store.commit(Batch::default()).await.unwrap();
    let body = "{\"alerts\": []}".to_owned();
    let delivered = vec![Delivered { source: "a".into(), body, at: at(1) }];
    store.commit(Batch { delivered, ..Batch::default() }).await.unwrap();
    assert!(store.incidents(9, None).await.unwrap().is_empty());
}

pub(crate) async fn a_restart_finds_everything(h: &Harness) {
    let store = h.open().await;
    let mut write = first(incident(1, "k"));
    write.entries.push(entry("one"));
    write.effects.push(effect("resolve"));
    let alerts = vec![news(firing("a", "f"), Some(1))];
    store.commit(Batch { incidents: vec![write], alerts, ..Batch::default() }).await.unwrap();
    let before = stored(&store, 1).await;
    let store = h.restart(store).await;
    let after = stored(&store, 1).await;
    assert_eq!((after.incident, after.base), (before.incident, before.base));
    assert_eq!(store.verify_audit(id(1)).await.unwrap(), 1);
    let related = store.related(vec![alert("a", "f")], Vec::new()).await.unwrap();
    assert_eq!(related.alerts.len(), 1);
    assert_eq!(claim(&store, "resolve").await.len(), 1);
}

pub(crate) async fn an_unreadable_incident_harms_no_other(h: &Harness) {
    let store = h.open().await;
    put(&store, (1..=3).map(|number| incident(number, &format!("k{number}")))).await;
    h.sql(format!("UPDATE incident SET body = '{{' WHERE id = '{}'", id(2))).await;
    refused!(store.incident(id(2)).await, Unreadable);
    assert_eq!(stored(&store, 1).await.incident, incident(1, "k1"));
    let listed = store.incidents(9, None).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|stored| stored.incident.id).collect();
    assert_eq!(listed, [id(3), id(1)]);
    let of_others = vec!["k1".to_owned().into(), "k3".to_owned().into()];
    assert_eq!(store.related(Vec::new(), of_others).await.unwrap().incidents.len(), 2);
    let all: Vec<_> = ["k1", "k2", "k3"].map(|key| key.to_owned().into()).into();
    let related = store.related(Vec::new(), all.clone()).await.unwrap();
    assert_eq!(related.incidents.into_keys().collect::<Vec<_>>(), [id(1), id(3)]);
    assert_eq!(related.unreadable, [(id(2), Some(all[1].clone()))].into(), "its key is taken");
    put(&store, [closed(incident(1, "k1"))]).await;
    assert_eq!(store.verify_audit(id(2)).await.unwrap(), 0, "its chain is another matter");
}
