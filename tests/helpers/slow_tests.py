"""Tests that take more than about a second each, which ``make check`` leaves out (``-m "not slow"``)."""

#: Files, or single tests of a file; ``make check`` and ``make test`` print what was slowest.
SLOW = frozenset(
    {
        "benchmark/test_timing.py",
        "export/test_export_command.py",
        "export/test_shipped_models.py",
        "test_packaging.py",
        "training/test_distributed.py",
        "training/test_interrupted.py",
        "training/test_parity.py",
        "weights/test_released.py",
        "deploy/python/test_environment.py::test_a_command_sets_them_before_paddle_is_imported",
        "deploy/python/test_infer.py::test_the_predictor_needs_nothing_of_this_project",
        "export/test_export.py::test_paddlesegs_own_models",
        "export/test_export.py::test_the_form_of_paddle_2_is_written_by_any_paddle",
        "models/test_all_models.py::test_predictor_equals_the_model",
        "models/test_all_models.py::test_static_graph_equals_the_model",
        "models/test_lrformer.py::test_exported_graph_equals_the_reference",
        "models/test_lrformer.py::test_multiply_accumulates",
        "models/test_segformer_pp.py::test_exported_graph_equals_the_reference",
        "test_configs.py::test_has_a_loss_for_each_output",
        "test_plugin.py::test_autoload_off_until_imported",
        "test_plugin.py::test_commands_have_two_names",
        "test_plugin.py::test_models_register_themselves",
        "test_zoo.py::test_paddle_may_be_imported_next",
        "tools/test_commands.py::test_status_and_sentence_on_the_command_line",
        "training/test_checkpoints.py::test_killed_run_resumes_from_its_last_whole_checkpoint",
        "training/test_training.py::test_evaluation",
        "training/test_training.py::test_training_of_the_compiled_graph",
        "trt_report/test_trt_report.py::test_names_of_operators_kept_in_fp32_occur_in_the_graph",
        "trt_report/test_trt_report.py::test_our_models_have_no_rejected_operator",
        "trt_report/test_trt_report.py::test_paddlesegs_rtformer",
    }
)
