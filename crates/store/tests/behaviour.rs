//! What every backend of the store must do. Each behaviour is a function of an empty store, so that
//! a second backend runs the same list.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

mod behaviour {
    pub(crate) mod attempts;
    pub(crate) mod changes;
    pub(crate) mod incidents;
    pub(crate) mod outbox;
    pub(crate) mod sample;
    pub(crate) mod targets;
}

/// Runs each behaviour against a new SQLite file.
macro_rules! on_sqlite {
    ($($module:ident: $($name:ident),+;)+) => {$(mod $module {$(
        #[tokio::test]
        async fn $name() {
            let directory = tempfile::tempdir().unwrap();
            let store = store::FileStore::open(&directory.path().join("test.db")).await.unwrap();
            crate::behaviour::$module::$name(store.clone()).await;
            store.close().await;
        }
    )+})+};
}

on_sqlite! {
    incidents:
        an_incident_reads_back_and_is_replaced,
        one_incident_of_a_key_is_open,
        the_newest_incident_of_a_key_is_found,
        an_alert_leads_to_its_incident,
        incidents_are_listed_newest_first_and_in_pages,
        a_timeline_grows_and_verifies,
        deadlines_come_in_order,
        what_is_not_committed_is_gone,
        a_commit_is_seen_by_the_next_read;
    outbox:
        rows_come_in_order_of_kind_until_finished,
        the_oldest_row_of_each_incident_comes_first,
        a_delayed_row_waits_and_counts_definite_failures,
        a_buried_row_is_a_dead_letter,
        an_uncommitted_effect_is_not_performed;
    attempts:
        attempts_are_found_by_task_target_and_time,
        an_attempt_is_made_once;
    targets:
        one_holder_has_a_target,
        the_token_only_grows,
        racing_holders_get_one_lock,
        a_quarantined_target_takes_no_holder_until_released,
        a_plan_is_decided_once;
    changes:
        a_change_is_found_by_id_and_key,
        a_key_makes_one_change,
        a_grant_is_used_once,
        a_ticket_belongs_to_its_incident;
}
