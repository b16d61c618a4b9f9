//! The journal: bodies as they came, what is forgotten and what is not, and refusals.

use std::sync::Arc;

use futures::future::join;
use store::{AlertWrite, Batch, Delivered, DeliveryRow, Refusal, Retention, Store};

use super::harness::Harness;
use super::sample::{
    LATE, at, closed, delivered, firing, incident, news, put, repeat, report, resolved,
};

/// Keeps everything.
const ALL: Retention = Retention { before: jiff::Timestamp::MIN, bytes: i64::MAX };

/// Bodies of one batch each, a second apart.
async fn deliver(store: &Arc<dyn Store>, bodies: &[&str]) {
    for (second, body) in (1..).zip(bodies) {
        let delivered = vec![Delivered { at: at(second), ..delivered(body) }];
        store.commit(Batch { delivered, ..Batch::default() }).await.unwrap();
    }
}

async fn bodies(store: &Arc<dyn Store>) -> Vec<String> {
    let rows = store.deliveries(0, 9_999).await.unwrap();
    rows.into_iter().map(|row| row.body).collect()
}

/// Forgets until there is nothing to forget: how many rows, in how many steps.
async fn prune(store: &Arc<dyn Store>, retention: Retention) -> (u64, u64) {
    let (mut gone, mut steps) = (0, 0);
    loop {
        match store.prune(retention).await.unwrap() {
            0 => return (gone, steps),
            some => (gone, steps) = (gone + some, steps + 1),
        }
    }
}

pub(crate) async fn bodies_are_read_in_their_order_and_in_pages(h: &Harness) {
    let store = h.open().await;
    assert!(store.deliveries(0, 9).await.unwrap().is_empty());
    let of_one_batch =
        ["c", "a", "b"].map(|body| Delivered { source: body.into(), ..delivered(body) });
    store.commit(Batch { delivered: of_one_batch.into(), ..Batch::default() }).await.unwrap();
    deliver(&store, &["e", "d"]).await;
    let all = store.deliveries(0, 9).await.unwrap();
    let read: Vec<_> = all.iter().map(|row| (&*row.body, &*row.source, row.at)).collect();
    let am = "alertmanager";
    let expected = [
        ("c", "c", at(1)),
        ("a", "a", at(1)),
        ("b", "b", at(1)),
        ("e", am, at(1)),
        ("d", am, at(2)),
    ];
    assert_eq!(read, expected);
    assert!(all.is_sorted_by_key(|row| row.id));
    assert_eq!(store.deliveries(0, 2).await.unwrap(), all[..2]);
    assert_eq!(store.deliveries(all[1].id, 2).await.unwrap(), all[2..4]);
    assert_eq!(store.deliveries(all[3].id, 2).await.unwrap(), all[4..]);
    assert_eq!(store.deliveries(all[4].id, 2).await.unwrap(), [] as [DeliveryRow; 0]);
}

pub(crate) async fn every_body_is_kept_as_it_came(h: &Harness) {
    let store = h.open().await;
    let large = "x\u{1F600}\"".repeat(100_000);
    let texts =
        ["", "{\"a\": \"\\u0000 \\\" \\\\ é\"}", "é😀\r\n\t\u{1b}[0m 'q' $1 ?", &large, "z"];
    let delivered = texts.iter().map(|text| delivered(text)).collect();
    store.commit(Batch { delivered, ..Batch::default() }).await.unwrap();
    assert_eq!(bodies(&store).await, texts);
}

pub(crate) async fn bodies_are_forgotten_by_age(h: &Harness) {
    let store = h.open().await;
    deliver(&store, &["1", "2", "3", "4", "5"]).await;
    assert_eq!(prune(&store, ALL).await, (0, 0));
    let from_three = Retention { before: at(3), ..ALL };
    assert_eq!(prune(&store, from_three).await, (2, 1));
    assert_eq!(bodies(&store).await, ["3", "4", "5"]);
    deliver(&store, &["6"]).await;
    let ids = |rows: Vec<DeliveryRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert!(ids(store.deliveries(0, 9).await.unwrap()).is_sorted());
}

pub(crate) async fn bodies_are_forgotten_by_bytes(h: &Harness) {
    let store = h.open().await;
    deliver(&store, &["1234567890", "éé", "abcd", "x", "yy"]).await;
    let of = |bytes| Retention { bytes, ..ALL };
    assert_eq!(prune(&store, of(21)).await, (0, 0), "bytes, not letters");
    assert_eq!(prune(&store, of(20)).await, (1, 1));
    assert_eq!(bodies(&store).await, ["éé", "abcd", "x", "yy"]);
    assert_eq!(prune(&store, of(6)).await, (2, 1));
    assert_eq!(bodies(&store).await, ["x", "yy"]);
    deliver(&store, &["0123456789"]).await;
    assert_eq!(prune(&store, of(12)).await, (1, 1));
    assert_eq!(bodies(&store).await, ["yy", "0123456789"]);
}

pub(crate) async fn the_newest_body_stays(h: &Harness) {
    let store = h.open().await;
    deliver(&store, &["1", "2", "3"]).await;
    let last = store.deliveries(0, 9).await.unwrap().pop().unwrap();
    assert_eq!(prune(&store, Retention { before: at(LATE), bytes: 0 }).await.0, 2);
    assert_eq!(store.deliveries(0, 9).await.unwrap(), std::slice::from_ref(&last));
    let store = h.restart(store).await;
    deliver(&store, &["4"]).await;
    let newer = store.deliveries(last.id, 9).await.unwrap();
    assert_eq!(newer.len(), 1, "whoever reads on finds it");
}

pub(crate) async fn a_long_journal_is_forgotten_in_pieces(h: &Harness) {
    let store = h.open().await;
    let fill = async |from: usize, to: usize| {
        let delivered = (from..to).map(|number| delivered(&format!("{number:010}"))).collect();
        store.commit(Batch { delivered, ..Batch::default() }).await.unwrap();
    };
    let of = |bytes| Retention { bytes, ..ALL };
    fill(0, 3_500).await;
    let (gone, steps) = prune(&store, of(20_000)).await;
    assert_eq!(gone, 1_500);
    assert!(steps >= 1);
    assert_eq!(bodies(&store).await.first().unwrap(), "0000001500");
    fill(3_500, 4_600).await;
    assert_eq!(prune(&store, of(20_000)).await.0, 1_100);
    assert_eq!(prune(&store, of(10)).await.0, 1_999);
    assert_eq!(bodies(&store).await, ["0000004599"]);
    fill(4_600, 4_605).await;
    assert_eq!(prune(&store, of(30)).await.0, 3);
}

pub(crate) async fn replicas_forget_together(h: &Harness) {
    let (one, two) = h.two().await;
    let all: Vec<String> = (0..3_000).map(|number| format!("{number:010}")).collect();
    let delivered = all.iter().map(|body| delivered(body)).collect();
    one.commit(Batch { delivered, ..Batch::default() }).await.unwrap();
    let of = |bytes| Retention { bytes, ..ALL };
    assert_eq!(prune(&two, of(25_000)).await.0, 500);
    assert_eq!(prune(&one, of(25_000)).await.0, 0);
    let age = Retention { before: at(2), ..of(0) };
    let ((first, _), (second, _)) = join(prune(&one, age), prune(&two, age)).await;
    assert_eq!(first + second, 2_499);
    assert_eq!(bodies(&two).await, ["0000002999"]);
}

pub(crate) async fn alerts_that_ended_are_forgotten(h: &Harness) {
    let store = h.open().await;
    put(&store, [incident(1, "k"), closed(incident(2, "l"))]).await;
    let ended = |fingerprint| resolved(&firing("a", fingerprint));
    let repeated = ended("ended long ago and said so since");
    let late = AlertWrite { at: at(20), ..news(ended("ended late"), Some(2)) };
    report(
        &store,
        [
            news(ended("ended"), Some(2)),
            news(ended("ended, of none"), None),
            news(ended("ended, of an open incident"), Some(1)),
            news(firing("a", "firing"), Some(2)),
            news(firing("a", "firing too"), Some(1)),
            news(repeated.clone(), Some(2)),
            late,
        ],
    )
    .await;
    store.commit(Batch { repeats: vec![repeat(&repeated, 1)], ..Batch::default() }).await.unwrap();
    assert_eq!(prune(&store, Retention { before: at(5), ..ALL }).await.0, 2);
    assert_eq!(prune(&store, Retention { before: at(10), ..ALL }).await.0, 1);
    put(&store, [closed(incident(1, "k"))]).await;
    assert_eq!(prune(&store, Retention { before: at(10), ..ALL }).await.0, 1);
    assert_eq!(prune(&store, Retention { before: at(LATE), ..ALL }).await.0, 1);
    let keys = ["firing", "firing too", "ended"].map(|one| super::sample::alert("a", one));
    let left = store.related(keys.to_vec(), Vec::new()).await.unwrap().alerts;
    assert_eq!(left.into_keys().collect::<Vec<_>>(), keys[..2]);
    report(&store, [news(firing("a", "ended"), Some(2))]).await;
}

fn refusal(minute: i64, reason: &str, count: i64, address: &str) -> Refusal {
    let (source, reason, address) = ("alertmanager".into(), reason.into(), address.into());
    Refusal { source, reason, minute: at(60 * minute), address, count }
}

pub(crate) async fn refusals_are_counted_by_minute(h: &Harness) {
    let store = h.open().await;
    assert!(store.refusals(9).await.unwrap().is_empty());
    store.record_refusals(Vec::new()).await.unwrap();
    let first = vec![
        refusal(1, "expired", 2, "10.0.0.1"),
        refusal(1, "unsigned", 1, "10.0.0.1"),
        refusal(1, "expired", 3, "10.0.0.2"),
    ];
    store.record_refusals(first).await.unwrap();
    let second = [(2, "expired", 1, "::1"), (1, "expired", 5, "10.0.0.3")];
    let second =
        second.map(|(minute, reason, count, address)| refusal(minute, reason, count, address));
    store.record_refusals(second.into()).await.unwrap();
    let all = [
        refusal(2, "expired", 1, "::1"),
        refusal(1, "expired", 10, "10.0.0.3"),
        refusal(1, "unsigned", 1, "10.0.0.1"),
    ];
    assert_eq!(store.refusals(9).await.unwrap(), all);
    assert_eq!(store.refusals(2).await.unwrap(), all[..2]);
    assert_eq!(h.restart(store).await.refusals(9).await.unwrap(), all);
}

pub(crate) async fn refusals_are_forgotten_by_age(h: &Harness) {
    let store = h.open().await;
    let all: Vec<Refusal> = (0..1_200).map(|minute| refusal(minute, "expired", 1, "::1")).collect();
    store.record_refusals(all.clone()).await.unwrap();
    let (gone, _) = prune(&store, Retention { before: at(60 * 1_199), ..ALL }).await;
    assert_eq!(gone, 1_199);
    assert_eq!(store.refusals(9).await.unwrap(), all[1_199..]);
}
