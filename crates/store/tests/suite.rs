//! What every backend of the store must do. Each behaviour is a function of an empty database; the
//! list stands once, and every backend runs all of it that it can.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use std::panic::AssertUnwindSafe;

use futures::future::{FutureExt, LocalBoxFuture};
use futures::poll;
use futures::stream::{self, StreamExt};
use postgres_server::Server;
use sqlx::Executor;
use store::Base;
use suite::harness::Harness;
use suite::sample::{batch, incident, put, stored, write};

/// Behaviours that run at once on the server.
const AT_ONCE: usize = 4;

mod suite {
    pub(crate) mod alerts;
    pub(crate) mod audit;
    pub(crate) mod changes;
    pub(crate) mod harness;
    pub(crate) mod incidents;
    pub(crate) mod journal;
    pub(crate) mod outbox;
    pub(crate) mod replicas;
    pub(crate) mod sample;
    pub(crate) mod targets;
}

/// `every`: all backends. `several`: those that more than one process may use. `written`: those that
/// others can read and spoil.
macro_rules! behaviours {
    ($with:ident) => {
        $with! {
            every {
                incidents: an_incident_reads_back_and_is_replaced;
                incidents: every_text_is_kept;
                incidents: versions_grow_by_one;
                incidents: a_base_that_is_history_conflicts;
                incidents: a_new_incident_that_exists_conflicts;
                incidents: of_many_writers_from_one_base_one_wins;
                incidents: a_batch_with_one_stale_incident_stores_nothing;
                incidents: one_incident_of_a_key_is_open;
                incidents: one_batch_closes_an_incident_and_opens_the_next;
                incidents: racing_reports_open_one_incident_of_a_key;
                incidents: a_key_leads_to_its_open_and_its_newest_incident;
                incidents: incidents_are_listed_newest_first_and_in_pages;
                incidents: a_page_is_bounded_by_bytes_and_never_empty_for_them;
                incidents: deadlines_come_in_order;
                incidents: a_deadline_moves_with_its_incident;
                incidents: a_commit_is_seen_by_the_next_read;
                incidents: commits_at_once_are_all_stored;
                incidents: a_batch_that_fails_spoils_no_other;
                incidents: an_empty_batch_and_a_delivery_alone_are_committed;
                incidents: a_restart_finds_everything;
                alerts: a_new_alert_reads_back;
                alerts: news_replaces_an_alert_and_counts;
                alerts: an_alert_whose_version_is_history_conflicts;
                alerts: an_alert_is_written_once_in_a_batch;
                alerts: an_alert_of_an_unknown_incident_stores_nothing;
                alerts: alerts_and_their_incidents_are_read_together;
                alerts: an_alert_leads_to_its_last_incident;
                alerts: a_key_of_any_text_is_kept_apart;
                alerts: repeats_are_counted;
                alerts: a_repeat_that_says_otherwise_conflicts;
                alerts: a_repeat_of_a_closed_incident_conflicts;
                alerts: a_repeat_of_what_is_held_back_conflicts;
                alerts: a_batch_with_one_false_repeat_stores_nothing;
                alerts: a_false_repeat_spoils_no_other;
                alerts: repeats_at_once_are_counted_exactly;
                alerts: a_repeat_beside_what_ends_it_comes_before_it_or_conflicts;
                alerts: of_many_reports_of_a_new_alert_one_wins;
                alerts: the_alerts_of_an_incident_come_in_pages;
                alerts: the_firing_alerts_of_a_source_come_in_pages;
                alerts: held_alerts_come_in_pages;
                alerts: a_restart_finds_the_alerts;
                journal: bodies_are_read_in_their_order_and_in_pages;
                journal: every_body_is_kept_as_it_came;
                journal: bodies_are_forgotten_by_age;
                journal: bodies_are_forgotten_by_bytes;
                journal: the_newest_body_stays;
                journal: a_long_journal_is_forgotten_in_pieces;
                journal: alerts_that_ended_are_forgotten;
                journal: refusals_are_counted_by_minute;
                journal: refusals_are_forgotten_by_age;
                audit: a_timeline_grows_and_verifies;
                audit: a_timeline_is_read_in_pages;
                audit: the_end_of_the_chain_is_in_the_base;
                audit: an_unknown_incident_has_no_timeline;
                audit: a_long_chain_verifies;
                audit: a_changed_row_is_named;
                audit: a_changed_hash_is_named;
                audit: an_inserted_row_is_named;
                audit: a_row_deleted_in_the_middle_is_named;
                audit: deleted_last_rows_are_named;
                audit: a_deleted_timeline_is_named;
                audit: an_appended_row_is_named_though_its_hash_fits;
                audit: swapped_rows_are_named;
                audit: a_chain_that_was_made_anew_does_not_fit_its_incident;
                audit: a_broken_chain_stays_broken_and_stops_nobody;
                audit: a_chain_goes_on_after_a_restart;
                outbox: rows_come_in_the_order_of_their_kind_until_finished;
                outbox: effects_of_one_write_keep_their_order_and_round;
                outbox: a_claim_takes_no_more_than_its_limit;
                outbox: racing_claims_take_each_row_once;
                outbox: one_each_takes_the_oldest_row_of_an_incident;
                outbox: one_each_waits_for_the_row_that_is_claimed;
                outbox: a_finished_row_ends_those_it_serves_too;
                outbox: a_finished_row_leaves_claimed_ones_alone;
                outbox: a_delayed_row_waits_and_counts_definite_failures;
                outbox: the_next_row_to_fall_due_is_known;
                outbox: an_effect_for_later_waits;
                outbox: released_rows_come_back_as_they_were;
                outbox: only_a_claimed_row_is_ended_or_delayed;
                outbox: a_row_ends_once;
                outbox: a_result_and_the_end_of_its_row_are_one;
                outbox: a_buried_row_is_a_dead_letter;
                outbox: a_dead_letter_is_replayed_once;
                outbox: dead_letters_are_listed_newest_first_and_in_pages;
                outbox: a_process_that_ends_gives_its_rows_back;
                outbox: the_rows_of_a_killed_process_are_free_for_the_next;
                targets: attempts_are_found_by_task_and_time;
                targets: an_attempt_is_begun_once;
                targets: an_attempt_ends_once;
                targets: an_attempt_needs_the_lock_of_its_target;
                targets: an_older_token_begins_no_attempt;
                targets: one_holder_has_a_target;
                targets: the_same_holder_gets_a_greater_token;
                targets: tokens_only_grow;
                targets: racing_holders_get_one_lock;
                targets: a_quarantined_target_takes_no_holder_until_released;
                targets: a_release_ends_the_lock_of_a_quarantined_target_only;
                targets: locked_targets_are_listed_by_name;
                targets: a_lock_outlives_its_process;
                targets: a_plan_is_decided_once;
                targets: racing_decisions_on_a_plan_make_one;
                changes: a_change_is_found_by_id_key_and_target;
                changes: a_key_makes_one_change;
                changes: a_grant_is_used_once;
                changes: racing_requests_with_one_key_make_one_change;
                changes: one_change_of_a_target_has_no_end;
                changes: racing_changes_of_a_target_begin_one;
                changes: changes_are_listed_newest_first;
                changes: a_smaller_token_is_shut_out;
                changes: a_change_raises_the_fence_of_its_target;
                changes: racing_tokens_never_lower_a_fence;
                changes: a_process_does_not_adopt_its_own_changes;
                changes: a_started_process_adopts_what_its_predecessor_left;
                changes: an_unknown_change_has_neither_executor_nor_end;
                changes: a_ticket_belongs_to_its_incident;
                replicas: a_name_is_claimed_until_it_is_given_back;
                replicas: a_closed_store_takes_nothing;
                replicas: writes_of_every_kind_at_once_have_their_own_answers;
                replicas: a_caller_that_goes_away_leaves_all_or_nothing;
            }
            several {
                incidents: replicas_that_write_from_one_base_do_not_overwrite;
                incidents: racing_replicas_open_one_incident_of_a_key;
                incidents: replicas_that_reopen_and_open_of_one_key_do_not_both;
                alerts: replicas_that_bring_one_new_alert_store_it_once;
                alerts: replicas_count_repeats_exactly;
                alerts: replicas_that_take_alerts_in_other_orders_do_not_wait_forever;
                journal: replicas_forget_together;
                targets: racing_replicas_never_get_the_same_token;
                changes: racing_replicas_begin_one_change_of_a_target;
                changes: racing_replicas_never_lower_a_fence;
                changes: the_change_of_a_living_replica_is_its_own;
                changes: a_replica_that_wakes_late_can_record_nothing;
                changes: racing_replicas_adopt_a_change_once;
                replicas: racing_replicas_claim_each_row_once;
                replicas: the_row_of_a_living_replica_stays_its_own;
                replicas: a_lease_that_runs_out_frees_its_rows;
                replicas: a_replica_that_wakes_late_can_end_nothing;
                replicas: a_late_heartbeat_is_lost_and_begins_anew;
                replicas: a_replica_whose_lease_ran_out_unseen_has_lost_its_rows;
                replicas: heartbeats_keep_a_lease;
                replicas: a_replica_that_ends_gives_its_rows_to_the_other;
                replicas: a_dead_replica_is_not_waited_for;
                replicas: one_each_holds_for_all_replicas_together;
                replicas: a_dead_letter_is_replayed_by_one_replica;
                replicas: an_effect_is_hinted_to_the_other;
                replicas: a_name_has_one_replica;
                replicas: racing_replicas_get_a_name_once;
                replicas: a_name_is_free_when_the_lease_has_run_out;
                replicas: agents_have_tables_of_their_own;
            }
            written {
                incidents: an_unreadable_incident_harms_no_other;
                alerts: an_alert_whose_body_cannot_be_read_is_what_its_row_says;
                audit: a_reader_beside_the_store_sees_the_same;
                audit: a_timeline_without_its_incident_is_found;
            }
        }
    };
}

/// A test for each behaviour.
macro_rules! tests_of {
    ($backend:ident: $($module:ident $name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            let harness = crate::suite::harness::Harness::$backend(stringify!($name));
            crate::suite::$module::$name(&harness).await;
            harness.end().await;
        }
    )*};
}

macro_rules! in_memory {
    (
        every { $($module:ident: $name:ident;)* }
        several { $($several:ident: $of_several:ident;)* }
        written $written:tt
    ) => {
        mod memory { tests_of!(memory: $($module $name)* $($several $of_several)*); }
    };
}

macro_rules! on_sqlite {
    (
        every { $($module:ident: $name:ident;)* }
        several $several:tt
        written { $($written:ident: $of_written:ident;)* }
    ) => {
        mod sqlite { tests_of!(sqlite: $($module $name)* $($written $of_written)*); }
    };
}

type Behaviour = for<'a> fn(&'a Harness) -> LocalBoxFuture<'a, ()>;

macro_rules! on_postgres {
    ($($group:ident { $($module:ident: $name:ident;)* })*) => {
        const ALL: &[(&str, Behaviour)] = &[$($(
            (stringify!($name), |harness| Box::pin(crate::suite::$module::$name(harness))),
        )*)*];
    };
}

behaviours!(in_memory);
behaviours!(on_sqlite);
behaviours!(on_postgres);

/// One server for all of them, each as an agent of its own, which therefore sees an empty database.
#[tokio::test]
async fn every_behaviour_holds_on_postgres() {
    let Some(server) = Server::start() else { return };
    let url = server.url();
    let runs = ALL.iter().map(|(name, behaviour)| run(name, *behaviour, url.clone()));
    let failed: Vec<&str> =
        stream::iter(runs).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), ALL.len());
}

#[tokio::test]
async fn what_hangs_on_a_server_keeps_only_its_own_incident_waiting() {
    let Some(server) = Server::start() else { return };
    let harness = Harness::postgres("ingress", server.url());
    let store = harness.open().await;
    put(&store, [incident(1, "one"), incident(2, "two")]).await;
    let next = |number, version| {
        let base = Base { version, ..Base::default() };
        store.commit(batch([write(incident(number, &number.to_string()), base)]))
    };
    let mut other = harness.postgres_connection().await;
    other.execute("BEGIN; SELECT id FROM incident ORDER BY id LIMIT 1 FOR UPDATE").await.unwrap();

    let (mut hanging, mut behind) = (next(1, 1), next(1, 2));
    assert!(poll!(&mut hanging).is_pending());
    harness.when_one_waits_for_a_lock().await;
    assert!(poll!(&mut behind).is_pending());
    // These come after both.
    next(2, 1).await.unwrap();
    next(2, 2).await.unwrap();
    store.lock_target("target".into(), "holder".into()).await.unwrap();
    assert!(poll!(&mut hanging).is_pending() && poll!(&mut behind).is_pending());
    other.execute("COMMIT").await.unwrap();
    // Had it not waited, it would have been decided on a version that was not there.
    hanging.await.unwrap();
    behind.await.unwrap();
    assert_eq!(stored(&store, 1).await.base.version, 3);
    harness.end().await;
}

/// Gives the name of a behaviour that does not hold.
async fn run(name: &'static str, behaviour: Behaviour, url: String) -> Option<&'static str> {
    println!("{name}");
    let harness = Harness::postgres(name, url);
    let outcome = AssertUnwindSafe(behaviour(&harness)).catch_unwind().await;
    harness.end().await;
    outcome.is_err().then_some(name)
}
