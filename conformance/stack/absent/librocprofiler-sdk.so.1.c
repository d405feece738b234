/* In place of a profiler that Debian does not package: JAX's plugin is linked with it, and starts it. It records nothing.
 * Success for all, and a text for the one that returns a text. */
#define ABSENT(name) int name(void) { return 0; }
ABSENT(rocprofiler_assign_callback_thread)
ABSENT(rocprofiler_configure_buffer_tracing_service)
ABSENT(rocprofiler_configure_callback_tracing_service)
ABSENT(rocprofiler_context_is_valid)
ABSENT(rocprofiler_create_buffer)
ABSENT(rocprofiler_create_callback_thread)
ABSENT(rocprofiler_create_context)
ABSENT(rocprofiler_flush_buffer)
ABSENT(rocprofiler_force_configure)
ABSENT(rocprofiler_get_timestamp)
ABSENT(rocprofiler_iterate_callback_tracing_kind_operations)
ABSENT(rocprofiler_iterate_callback_tracing_kinds)
ABSENT(rocprofiler_query_available_agents)
ABSENT(rocprofiler_query_callback_tracing_kind_name)
ABSENT(rocprofiler_query_callback_tracing_kind_operation_name)
ABSENT(rocprofiler_start_context)
ABSENT(rocprofiler_stop_context)
const char *rocprofiler_get_status_string(void) { return "absent"; }
