//! The list of cases: what is not in it never runs.

/// Makes a `#[test]` of every case, for the harness that the expression makes.
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr) => {
        $crate::conformance_tests! { @cases $harness;
            configuration {
                starts_empty
                gives_back_what_was_put
                event_types_are_named_by_their_registry
                replaces_what_has_the_same_id
                version_rises_with_every_change
                an_older_version_is_not_written_over
                outlives_a_restart
            }
            publish {
                numbers_ascend_from_one
                any_number_of_deliveries_is_stored
                stores_every_field
                keeps_payload_bytes_exactly
                refuses_a_key_twice_in_a_batch
                refuses_a_key_twice_across_batches
                a_duplicate_is_answered_with_the_oldest_delivery
                keys_are_apart_by_namespace
                an_empty_batch_is_nothing
                shows_what_was_skipped
                deliveries_are_due_at_once
                outlives_a_restart
                numbers_are_never_reused
                concurrent_publishers_all_get_their_own_answer
            }
            fan_out {
                slices_resume_where_the_last_one_ended
                unfinished_ones_come_oldest_first
                unfinished_ones_stop_at_the_bytes_but_one_comes
                unfinished_ones_come_of_the_slots_asked_for
                outlives_a_restart
                a_batch_of_slices
                a_slice_is_stored_once
                slices_of_a_call_follow_each_other
            }
            settle {
                success_ends_and_lets_go
                a_retry_that_is_kept_is_not_claimed_again
                a_retry_that_is_let_go_is_claimed_when_due
                an_attempt_begins_and_ends
                an_attempt_is_stored_in_one_go
                what_is_being_sent_stays_claimed
                what_rests_is_let_go_whatever_is_asked
                keeps_every_field_of_an_outcome
                keeps_every_resting_state
                without_an_attempt_nothing_is_attempted
                fences_what_does_not_apply
                fences_an_older_incarnation
                fenced_items_store_nothing_and_harm_nobody
                opens_a_dead_letter
            }
            follow_up {
                is_stored_with_its_outcome
                of_what_is_fenced_is_not_stored
            }
            claim {
                takes_only_what_is_due
                takes_each_delivery_once
                takes_the_oldest_due_first
                stops_at_the_limit
                stops_at_the_bytes_but_takes_one
                never_takes_another_endpoints
                takes_retries_but_nothing_that_rests
                requests_of_a_batch_follow_each_other
                concurrent_claims_share_nothing
                deliveries_of_one_event_come_with_it
                backlog_names_the_first_due
                survives_a_restart_unclaimed
            }
            rescue {
                finds_nothing_without_a_crash
                takes_over_what_was_claimed
                hands_over_the_open_attempt
                goes_in_slices
                what_was_rescued_can_be_settled
                a_crash_during_rescue_loses_nothing
            }
            replay {
                takes_every_resting_delivery_back
                refuses_what_does_not_rest
                knows_nothing_of_unknown_ids
                a_claimed_replay_is_handed_over
                an_unclaimed_replay_waits_in_the_store
                closes_the_open_dead_letter
                numbers_attempts_on_and_fails_anew
                makes_a_new_delivery_of_a_dead_letter
                changes_nothing_of_an_erased_endpoint
                refuses_a_dead_letter_that_is_closed
                outlives_a_restart
                a_kept_dead_letter_is_closed_by_success
                a_new_dead_letter_takes_the_place_of_a_kept_one
                a_kept_dead_letter_outlives_a_cancellation
                a_kept_dead_letter_can_be_closed_on_the_way
                a_kept_dead_letter_can_be_dismissed
                a_retry_can_be_hastened
            }
            retry {
                what_ended_and_what_waits_goes_on
                what_is_held_is_left_to_its_engine
                what_has_nobody_is_refused
                what_is_still_delivered_goes_on
                what_succeeded_needs_force
            }
            cancel {
                what_waits_ends
                what_does_not_wait_stays
                what_is_held_ends_when_it_is_given_back
                what_is_being_sent_ends_after_its_attempt
                each_of_a_batch_is_answered
                a_crash_forgets_nothing
                a_retry_takes_it_back
                a_kept_dead_letter_stays_open
            }
            expire {
                what_waits_too_long_is_claimed
                pieces_end_at_their_bounds
                only_what_waits_unclaimed
            }
            dead_letters {
                come_newest_first
                come_in_pages
                pages_end_at_the_bytes
                of_their_subscription_only
                dismissed_ones_leave_the_list
                dismiss_answers_which_were_open
                are_shown_with_delivery_and_event
                are_closed_when_their_subscription_was_deleted
            }
            schedule {
                gives_back_what_was_stored
                lists_what_is_to_come_first
                pages_end_at_the_bytes
                finds_what_is_due
                stops_at_the_bytes_but_finds_one
                unschedules
                keeps_what_has_fired
                fires_once
                fires_in_a_batch
                fails_without_its_subscription
                the_next_occurrence_comes_with_the_firing
                a_fired_delivery_goes_its_way
                outlives_a_restart
            }
            jobs {
                gives_back_what_was_put
                what_is_put_again_stays
                come_newest_first
                a_piece_makes_its_replays
                what_is_given_up_is_counted
                a_piece_from_another_place_is_fenced
                is_cancelled_and_resumed
                fails_for_good
                outlives_a_restart
                ended_ones_go_with_their_age
            }
            batches {
                gives_back_what_was_put
                a_piece_is_stored_with_its_events
                a_piece_retries_its_deliveries
                a_piece_from_another_place_is_fenced
                is_started_and_cancelled
                open_ones_are_counted_by_tenant
                outlives_a_restart
                old_ones_go
            }
            requests {
                a_key_is_done_once
                an_answer_comes_back_whole
                scopes_and_keys_are_apart
                what_has_no_answer_is_done_again
                of_two_at_once_one_is_new
                the_same_one_is_new_until_it_has_ended
                a_crash_leaves_it_to_be_done_again
                a_day_later_a_key_is_new
                retention_takes_old_keys
                the_oldest_answers_make_room
            }
            prune {
                exactly_at_the_cutoff_stays
                attempts_go_while_their_delivery_stays
                an_attempt_under_way_stays
                what_is_still_to_be_delivered_stays
                an_open_dead_letter_keeps_its_delivery_and_event
                a_closed_dead_letter_keeps_nothing
                closed_things_go_by_when_they_closed
                an_event_goes_with_its_last_delivery
                an_event_without_deliveries_goes
                an_unfinished_fan_out_keeps_its_event
                keys_are_free_again
                rows_that_are_kept_have_their_own_age
                a_delivery_that_keeps_its_rows_goes_with_the_newest
                counters_follow
            }
            prune_slices {
                slices_come_to_an_end
                rows_that_stay_do_not_stop_it
                more_deliveries_that_stay_than_a_slice_looks_at
                more_attempts_that_stay_than_a_slice_looks_at
            }
            gone {
                lists_and_totals_hide_it_at_once
                single_reads_hide_it_at_once
                nothing_can_be_done_with_it
                everything_goes_and_then_the_endpoint
                it_goes_in_slices
                what_moved_away_stays
                deleted_configuration_goes_after_its_history
                a_deleted_endpoint_stays_with_what_others_sent_there
                revoked_keys_go
            }
            health {
                follows_outcomes
                outcomes_of_one_piece_follow_each_other
                a_delivery_counts_once
                what_was_not_sent_does_not_count
                goes_with_its_endpoint
                lists_and_numbers_follow
                hours_leave_with_time
            }
            series {
                numbers_add_up_in_every_step
                deltas_of_a_call_add_up_like_plain_sums
                namespaces_are_apart_and_together
                only_what_is_asked_for_comes_in_its_order
                outlives_a_restart
                old_steps_are_forgotten_in_slices
                what_is_late_is_what_was_noted_last
                what_was_late_is_forgotten_with_its_engine
            }
            room {
                without_a_budget_nothing_is_refused
                what_makes_it_grow_is_refused
                what_was_accepted_goes_on
            }
            find_attempts {
                every_filter_narrows
                bounds_in_time_are_exact
                rows_say_what_the_attempts_say
                pieces_make_up_the_list
                many_are_listed_and_counted
                an_attempt_changes_its_place_when_it_ends
                one_comes_with_everything
                the_last_that_ended
                the_last_that_may_be_seen
                bodies_go_while_rows_stay
                those_of_one_delivery
            }
            find_deliveries {
                every_filter_narrows
                filters_narrow_in_pairs
                bounds_in_time_are_exact
                pieces_make_up_the_list
                rows_say_what_the_deliveries_say
                ids_are_those_of_the_list
                one_comes_with_everything
                rows_show_the_beginning_of_bodies
            }
            deliveries_change {
                totals_follow_every_change
                late_ones_come_in_their_order
                many_are_listed_and_counted
                what_was_erased_is_hidden
            }
            find_events {
                all_labels_must_match
                labels_go_with_their_event
                those_that_are_not_as_their_schema_says
                pages_of_labelled_events_make_up_the_list
                deliveries_of_events_are_counted_by_state
                numbers_are_those_of_the_list
            }
            find_others {
                events_come_newest_first_and_narrowed
                pages_of_events_make_up_the_list
                events_say_who_gets_them
                open_dead_letters_narrowed
                pieces_of_dead_letters_make_up_the_list
                dead_letters_name_their_last_attempt
            }
            lookup {
                pages_are_those_of_the_list
                a_page_of_a_class_has_no_others_while_nothing_has_ended
                deliveries_are_found_by_their_ids
                looks_are_those_of_the_engine
                namespaces_with_events_are_counted
                what_was_erased_is_hidden
                open_dead_letters_come_in_groups
                an_open_dead_letter_is_found_by_its_delivery
                attempts_come_whole_until_their_bodies_are_enough
                events_are_found_by_their_key
                delivery_keys_come_newest_first
                events_are_counted
            }
            reads {
                what_is_not_there
                attempts_come_newest_first
                attempts_show_their_deliverys_state
                a_delivery_lists_its_attempts_by_number
                an_event_lists_its_deliveries_oldest_first
                counters_come_in_the_asked_order
                deliveries_are_counted_by_state
                health_is_good
            }
        }

        #[test]
        fn behaves_like_the_model() {
            $crate::conformance::model::behaves_like_the_model($harness);
        }
    };
    (@cases $harness:expr; $($module:ident { $($case:ident)* })*) => {
        $(mod $module {
            #[allow(unused_imports, reason = "the harness may be named with a path")]
            use super::*;

            $(#[test]
            fn $case() {
                $crate::conformance::run($harness, $crate::conformance::$module::$case);
            })*
        })*
    };
}
