//! What every task store must do, for the tests of the stores: the one in memory and the databases
//! do not know one another, so what they have in common stands here. Each behaviour is a function
//! of an empty store, or of two replicas of one, and two macros name them all.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

mod expiry;
mod list;
mod push;
mod replicas;
pub mod sample;
mod tasks;

pub use expiry::*;
pub use list::*;
pub use push::*;
pub use replicas::*;
pub use tasks::*;

/// Calls a macro with the names of all behaviours.
#[macro_export]
macro_rules! each_behaviour {
    ($callback:ident) => {
        $callback! {
            a_task_reads_back_as_it_was_saved,
            saving_an_unknown_task_changes_nothing,
            the_same_key_finds_the_same_task,
            the_same_key_of_another_owner_makes_another_task,
            without_a_key_every_task_is_new,
            racing_inserts_of_one_key_make_one_task,
            finished_and_waiting_tasks_are_not_taken_up,
            tasks_that_nobody_has_are_taken_page_by_page,
            a_task_is_claimed_by_its_id_until_it_ends,
            what_was_asked_of_a_task_at_work_is_known,
            events_are_read_back_in_order,
            many_writers_lose_nothing,
            the_newest_status_comes_first,
            pages_meet_without_gap_or_repeat,
            a_page_of_large_tasks_ends_early,
            a_cursor_stays_while_tasks_come_and_change,
            a_list_is_filtered,
            an_owner_sees_own_tasks_only,
            artifacts_are_left_out_unless_asked_for,
            configurations_are_put_replaced_and_deleted,
            a_new_task_brings_its_configuration,
            events_are_delivered_in_order_to_each_configuration,
            a_delay_holds_back_its_configuration_only,
            a_deleted_configuration_gets_nothing_more,
            ended_tasks_expire_with_all_that_is_theirs,
            tasks_that_have_not_ended_do_not_expire,
            tasks_that_wait_too_long_expire,
            tasks_with_undelivered_notifications_do_not_expire
        }
    };
}

/// The same for behaviours of two replicas.
#[macro_export]
macro_rules! each_behaviour_of_replicas {
    ($callback:ident) => {
        $callback! {
            tasks_of_a_living_replica_are_its_own,
            racing_replicas_take_each_task_once,
            a_silent_replica_loses_its_tasks,
            a_silent_replica_keeps_what_nobody_took,
            a_released_task_is_taken_at_once,
            of_two_that_claim_a_waiting_task_one_has_it,
            a_silent_replica_loses_what_it_claimed,
            of_two_answers_to_one_question_the_first_stays,
            a_wish_to_cancel_reaches_whoever_has_the_task,
            a_key_finds_the_task_of_another_replica,
            what_one_stored_the_other_sees,
            one_replica_at_a_time_has_a_delivery_in_hand
        }
    };
}
