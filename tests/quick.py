"""The tests of `pytest -m quick`: some of every folder, about two minutes on two cores.

Of a test with parameters the first case; of a file with None every test.
"""

QUICK: dict[str, str | None] = {
    "analysis/test_counts.py": "test_what_is_refused",
    "analysis/test_kinds.py": "test_a_homogeneous_population_is_the_closed_form",
    "analysis/test_modes.py": "test_synapses_and_several_feedbacks_by_a_small_sinusoid",
    "analysis/test_states.py": "test_what_is_refused",
    "density/test_adjoint.py": "test_exponentials test_a_single_step",
    "density/test_age_mesh.py": """
        test_cohorts_are_unbroken_and_join_the_last_bin_at_the_memory test_bad_tolerance
        test_a_graded_mesh_conserves_probability_and_gives_gradients""",
    "density/test_firing.py": None,
    "dynamics/test_centred.py": """
        test_generalised_rate_is_the_sum_over_all_spike_trains test_spikes_follow_the_same_law
        test_shortest_interval_is_the_dead_time""",
    "dynamics/test_conventional.py": "test_cells_beside_a_jump_are_not_trusted",
    "dynamics/test_generalised.py": """
        test_equals_the_sum_over_all_spike_trains test_mass_is_conserved_and_never_negative
        test_float32_agrees_with_float64""",
    "dynamics/test_layers.py": "test_layers_in_a_loop_are_those_run_apart",
    "dynamics/test_parts.py": "test_parts_change_no_bit",
    "dynamics/test_records.py": "test_spikes_of_some_neurons test_what_cannot_be_recorded",
    "dynamics/test_spiking.py": """
        test_no_neuron_fires_within_its_dead_time_nor_without_hazard
        test_first_neurons_of_a_larger_network_are_the_smaller_network
        test_differentiating_through_spikes_is_refused""",
    "dynamics/test_succeeded.py": "test_an_escape_rate_that_turns_to_nan",
    "estimator/test_estimator.py": "test_likelihoods_of_all_spike_trains_are_those_of_enumeration",
    "fluctuations/test_expected_error.py": "test_mean_of_a_folded_gaussian test_arguments_are_checked",
    "fluctuations/test_variance.py": "test_of_memoryless_neurons_it_is_the_closed_form",
    "io/test_keeping.py": """
        test_a_file_of_an_earlier_version_is_read_and_simulates_to_the_same_bits
        test_a_file_that_is_spoilt_anywhere_is_refused test_what_cannot_be_kept_is_named""",
    "likelihood/test_log_likelihood.py": """
        test_it_is_that_of_a_loop_over_steps test_what_is_no_record_is_refused_by_name
        test_likelihoods_of_all_spike_trains_add_up_to_one_whatever_the_parameters""",
    "network/test_infinite.py": "test_what_cannot_be_is_refused",
    "network/test_low_rank.py": "test_error_is_that_of_the_weights_that_run",
    "network/test_no_input.py": "test_an_input_that_is_missing_is_told",
    "network/test_populations.py": """
        test_it_is_the_network_of_the_weights_written_out test_latents_are_shared_and_zero_elsewhere""",
    "network/test_recurrence.py": """
        test_a_delay_of_one_step_without_self_connection test_weights_store_patterns""",
    "network/test_synapses.py": "test_what_does_not_fit_is_refused",
    "network/test_streamed.py": """
        test_connections_are_those_of_the_stored_network test_grouped_sums_are_one_tree""",
    "neuron/test_adaptation.py": """
        test_spikes_follow_the_hazard_of_their_own_history test_what_is_not_supported_is_refused""",
    "neuron/test_neurons.py": """
        test_generalised_rate_is_the_sum_over_all_spike_trains test_stationary_rate_is_the_renewal_sum
        test_escape_rates_are_their_formula_and_finite_everywhere
        test_kernels_are_their_formula_and_constant_beyond_their_memory""",
    "numerics/test_column_scan.py": "test_loop_and_kernel_are_the_scan test_threefry_is_that_of_jax",
    "neuron/test_renewal.py": """
        test_dead_time_alone_in_discrete_time test_is_the_fixed_point_of_the_markov_chain_of_ages
        test_firing_probability_in_float32""",
    "plot/test_plot.py": "test_convergence test_traces test_raster test_density test_weights",
    "signal/test_drive.py": """
        test_halving_dt_refines_the_same_path test_grid_path_is_piecewise_linear
        test_outputs_are_the_filtered_increments""",
    "signal/test_synapse.py": "test_what_a_step_of_the_input_becomes test_what_makes_no_sense_is_refused",
    "signal/test_drives.py": """
        test_membrane_under_a_function_and_under_its_table test_a_table_is_integrated_exactly
        test_a_table_can_be_differentiated test_what_does_not_fit_is_refused""",
    "study/test_convergence.py": "test_a_drive_that_does_not_fit_is_refused_before_compiling",
    "study/test_dataset.py": "test_convergence_survives_a_file_bit_for_bit test_trajectory",
    "study/test_exports.py": "test_dataset",
    "study/test_trials.py": "test_one_trial_has_no_standard_error",
    "study/test_size_curve.py": """
        test_slope_of_a_power_law test_interval_of_the_slope_in_closed_form test_interval_of_the_mean_in_closed_form
        test_error_of_lists_and_integers_is_that_of_arrays""",
    "study/test_progress.py": None,
    "study/test_sweep.py": "test_identity_of_functions test_refuses",
    "study/test_sweep_identity.py": "test_types_and_shapes_tell_values_apart",
    "test_extend.py": """
        test_every_abstract_class_is_implemented_here test_an_escape_rate test_nodes test_a_drive
        test_a_domain""",
    "test_package.py": None,
    "training/test_decoders.py": "test_bad_arguments",
    "training/test_domains.py": "test_the_map_begins_at_the_start_and_has_its_own_gradient",
    "training/test_fit.py": """
        test_plain_descent_is_the_closed_form_and_leaves_the_rest_alone
        test_positive_constants_stay_positive_in_every_step test_bad_arguments""",
    "validation/test_bad_calls.py": "test_nonsense_is_refused_by_name",
    "validation/test_plausibility.py": "test_milliseconds",
    "validation/test_rank_promotion.py": "test_all_dynamics_run_and_are_differentiated",
    "validation/test_validation.py": """
        test_a_number_that_makes_no_sense test_a_key_is_one_typed_key test_what_does_not_fit test_simulate_refuses""",
}
