//! For every code: the test that plants the fault, and the one whose twin is
//! healthy and silent. A new code without both fails here.

/// (code, planted, healthy twin)
const TESTS: &[(&str, &str, &str)] = &[
    (
        "abi-mismatch",
        "abi_mismatch_is_proven_by_the_shims_note",
        "abi_mismatch_twin_a_shim_of_this_release_is_silent",
    ),
    (
        "api-not-covered",
        "a_launch_function_that_the_shim_lacks_is_not_covered",
        "a_launch_function_that_the_shim_has_is_covered",
    ),
    (
        "binding-bypass",
        "deepbind_is_named_as_the_one_possible_cause",
        "deepbind_is_named_as_the_one_possible_cause",
    ),
    (
        "default-stream",
        "default_stream_is_an_error_under_xscheds_shim_and_fine_under_ours",
        "default_stream_twin_a_few_launches_of_initialisation",
    ),
    (
        "dispatch-table-changed",
        "a_tool_behind_the_exports_is_named",
        "a_shim_in_the_table_receives_what_is_bound_to_the_runtime",
    ),
    (
        "fork-after-init",
        "a_child_that_inherited_the_gpu_and_uses_hip_is_in_trouble",
        "a_child_that_opened_the_gpu_itself_is_healthy",
    ),
    (
        "gate-guards",
        "guards_that_let_launches_pass",
        "guards_that_let_launches_pass",
    ),
    (
        "legacy-stream",
        "legacy_stream_launches_beside_others_serialise",
        "legacy_stream_twins_use_one_kind_only",
    ),
    (
        "library-missing",
        "a_library_that_is_not_found_is_said_to_be_missing",
        "predictions_agree_with_ld_so",
    ),
    (
        "lookup-bypass",
        "a_look_up_past_the_shim_is_proven_by_the_slot_of_dlsym_and_what_it_got",
        "a_look_up_past_the_shim_is_proven_by_the_slot_of_dlsym_and_what_it_got",
    ),
    (
        "namespace-bypass",
        "another_namespace_has_its_own_runtime_and_no_shim",
        "deepbind_is_named_as_the_one_possible_cause",
    ),
    (
        "not-joined",
        "a_shim_that_has_not_joined",
        "a_shim_that_has_not_joined",
    ),
    (
        "observed-bypass",
        "calls_that_no_reference_explains_are_look_ups",
        "launches_through_the_shim_on_created_streams_are_healthy",
    ),
    (
        "other-interposer",
        "interposers_of_others_are_known_by_their_names",
        "a_program_under_its_shim",
    ),
    (
        "passthrough",
        "libraries_that_pass_on_purpose",
        "libraries_that_pass_on_purpose",
    ),
    (
        "preload-missing",
        "the_named_file_does_not_exist",
        "a_shim_behind_a_symbolic_link_is_mapped",
    ),
    (
        "priority-inversion",
        "priority_inversion_is_proven_for_locks_pipes_and_shared_memory",
        "priority_inversion_twins_wait_for_equals_or_for_the_open",
    ),
    (
        "queues-oversubscribed",
        "more_queues_than_the_device_runs",
        "more_queues_than_the_device_runs",
    ),
    (
        "secure-exec",
        "a_set_user_id_program_is_not_preloaded_into",
        "a_set_user_id_program_is_not_preloaded_into",
    ),
    (
        "several-runtimes",
        "a_second_copy_of_the_runtime_is_a_finding_and_the_same_file_is_not",
        "a_second_copy_of_the_runtime_is_a_finding_and_the_same_file_is_not",
    ),
    (
        "several-shims",
        "two_shims_are_a_finding",
        "xscheds_libraries_are_shims_in_every_finding",
    ),
    (
        "sharing-server",
        "a_client_of_the_sharing_server",
        "a_client_of_the_sharing_server",
    ),
    (
        "shim-disabled",
        "a_shim_that_is_switched_off",
        "a_shim_that_is_switched_off",
    ),
    (
        "shim-not-loaded",
        "nobody_asked",
        "a_healthy_process_is_silent_and_all_its_launches_lead_to_the_shim",
    ),
    (
        "slow-bursts",
        "slow_bursts_and_where_their_time_went",
        "slow_bursts_and_where_their_time_went",
    ),
    (
        "static-binary",
        "a_static_program_that_should_have_been_preloaded",
        "a_static_program_that_nobody_wants_scheduled_is_refused",
    ),
    (
        "symbol-version-bypass",
        "a_reference_to_another_node_goes_past_the_shim",
        "an_unversioned_shim_receives_every_version",
    ),
    (
        "timing-under-gate",
        "timed_intervals_that_the_gate_has_split",
        "timed_intervals_that_the_gate_has_split",
    ),
    (
        "unknown-function",
        "a_function_that_is_newer_than_the_table_is_named",
        "a_program_under_its_shim",
    ),
    (
        "unsatisfied-reference",
        "a_function_that_no_object_defines_is_said_to_be_missing",
        "predictions_agree_with_ld_so",
    ),
];

/// Every file that has such tests.
const SOURCES: &[&str] = &[
    include_str!("agent.rs"),
    include_str!("slow.rs"),
    include_str!("bindings.rs"),
    include_str!("bypasses.rs"),
    include_str!("calls.rs"),
    include_str!("cuda.rs"),
    include_str!("dispatch_table.rs"),
    include_str!("fork.rs"),
    include_str!("not_loaded.rs"),
    include_str!("options.rs"),
    include_str!("predictions.rs"),
];

/// The body of a test: up to the brace that closes it.
fn body(name: &str) -> Option<&'static str> {
    let head = format!("#[test]\nfn {name}() {{\n");
    let source = SOURCES.iter().find(|source| source.contains(&head))?;
    let after = &source[source.find(&head)? + head.len()..];
    Some(&after[..after.find("\n}\n")?])
}

#[test]
fn every_code_has_a_planted_fault_and_a_healthy_twin() {
    let codes: Vec<&str> = xsched_diagnose::codes().collect();
    let tested: Vec<&str> = TESTS.iter().map(|(code, ..)| *code).collect();
    assert_eq!(tested, codes);
    for (code, planted, twin) in TESTS {
        let planted = body(planted).unwrap_or_else(|| panic!("{code}: no test {planted}"));
        assert!(
            planted.contains(&format!("\"{code}\"")),
            "{code} is not what its test plants"
        );
        let twin = body(twin).unwrap_or_else(|| panic!("{code}: no test {twin}"));
        let silent = ["[]", "is_clean()", "agrees(", "Err(Error::NoRuntime"];
        assert!(
            silent.iter().any(|sign| twin.contains(sign)),
            "{code}: its twin asserts no silence"
        );
    }
}
