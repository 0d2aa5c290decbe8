"""What can stand behind a line of the contract: tests by their pytest node ids, or the work to which a line is still owed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Owed:
    """Not proven yet: what is missing, and the work that brings it."""

    what: str
    work: str


Proof = str | Owed

# ── proven elsewhere ──

_COMPRESSION: Final = "tests/cottage/test_compression.py::"
COMPRESSED: Final = _COMPRESSION + "test_a_compressed_feed_gets_the_bytes_of_a_plain_one_and_says_what_was_agreed"
COMPRESSED_FOR_OTHERS: Final = _COMPRESSION + "test_another_client_reads_every_message_whatever_it_asks_for"
_PEERS: Final = "tests/contract/test_peers.py::"
COMPRESSED_FOR_NODE: Final = _PEERS + "test_nodes_ws_reads_the_compressed_stream_byte_for_byte"
COMPRESSED_FOR_CHROMIUM: Final = _PEERS + "test_chromium_reads_the_compressed_stream_byte_for_byte"

_PROTOCOL_2: Final = "tests/cottage/test_protocol_2.py::"
CODECS: Final = _PROTOCOL_2 + "test_rows_are_those_of_the_contract_for_every_encoding_delta_and_compression"
CHANNELS: Final = _PROTOCOL_2 + "test_channels_carry_their_tables_as_the_contract_does"
BY_MESSAGE: Final = _PROTOCOL_2 + "test_a_role_that_may_watch_only_is_refused_by_message_and_stays_connected"
ONCE: Final = _PROTOCOL_2 + "test_a_command_with_a_key_is_obeyed_once_and_a_queued_halt_cannot_act_after_a_resume"
BY_NUMBERS: Final = "tests/protocol/wire/test_receiver.py::test_every_text_arrives_byte_for_byte_and_in_fewer_bytes"

# ── proven here ──

_HANDSHAKE: Final = "tests/contract/test_handshake.py::"
REQUEST: Final = _HANDSHAKE + "test_the_client_sends_every_line_of_the_contracts_request"
KEY: Final = _HANDSHAKE + "test_every_connection_has_a_key_of_its_own"
RESPONSE: Final = _HANDSHAKE + "test_the_server_answers_the_contracts_request_with_every_line_of_its_response"
PLACES: Final = _HANDSHAKE + "test_client_and_server_meet_where_the_contract_says_without_being_told"
FRAMES: Final = _HANDSHAKE + "test_the_client_speaks_masked_frames_and_says_goodbye_as_rfc_6455_wants"
TEXT_JSON: Final = _HANDSHAKE + "test_the_server_sends_compact_json_as_text"
SUBSCRIBED: Final = _HANDSHAKE + "test_a_client_that_connects_is_subscribed_and_streamed_to_and_one_that_leaves_is_not"
TOKEN_SENT: Final = _HANDSHAKE + "test_a_token_is_sent_in_the_contracts_header"
TOKEN_TAKEN: Final = _HANDSHAKE + "test_the_server_accepts_the_contracts_token_header_and_selects_its_scheme"
NO_TOKEN: Final = _HANDSHAKE + "test_without_a_token_the_client_is_served_on_this_machine_only"

_MESSAGES: Final = "tests/contract/test_messages.py::"
EXAMPLE_READ: Final = _MESSAGES + "test_the_contracts_message_as_printed_is_read_onto_every_documented_column"
LISTS_READ: Final = _MESSAGES + "test_the_lists_of_the_contracts_message_are_read_onto_their_tables"
COLUMN: Final = _MESSAGES + "test_every_row_of_the_contracts_tables_is_a_column_of_its_type_and_unit"
WORDS: Final = _MESSAGES + "test_every_word_that_the_contract_lists_is_read_as_itself"
RANGES: Final = _MESSAGES + "test_the_contracts_ranges_are_inclusive_and_what_lies_outside_is_kept_and_flagged"
FRACTION: Final = _MESSAGES + "test_a_drawdown_is_a_fraction_as_the_contract_explains_it"
LEVELS: Final = _MESSAGES + "test_log_lines_of_every_level_that_the_contract_lists_are_read"
GAUGES: Final = _MESSAGES + "test_the_gauges_that_the_contract_lists_are_read_and_may_be_missing"
SHAPE: Final = _MESSAGES + "test_every_message_of_the_cottage_has_the_shape_of_the_contracts_example"
SENT_ROW: Final = _MESSAGES + "test_what_the_cottage_sends_keeps_to_every_row_of_the_contracts_tables"
SENT_LISTS: Final = _MESSAGES + "test_what_the_cottage_sends_keeps_to_the_contracts_lists"
SIZE: Final = _MESSAGES + "test_every_message_of_the_cottage_has_the_contracts_size"
RATE: Final = _MESSAGES + "test_left_to_itself_the_cottage_sends_once_a_second_and_keeps_within_the_contracts_bandwidth"
PING_IGNORED: Final = _MESSAGES + "test_the_contracts_ping_as_printed_gets_no_answer_and_the_connection_stays"

_FLOW: Final = "tests/contract/test_flow.py::"
POLLS: Final = _FLOW + "test_the_bff_asks_its_engine_for_exactly_the_contracts_three_parts_once_a_second"
AGGREGATES: Final = _FLOW + "test_a_feed_gets_welcome_first_and_then_what_the_bff_made_of_state_and_metrics"
BACKOFF: Final = _FLOW + "test_attempts_follow_the_contracts_backoff"
UNAVAILABLE: Final = _FLOW + "test_an_unavailable_backend_is_shown_as_disconnected_and_found_once_it_is_there"
LOG_CONNECTED: Final = _FLOW + "test_connecting_is_logged_word_for_word"
LOG_RESET: Final = _FLOW + "test_a_reset_is_logged_word_for_word"
MALFORMED: Final = _FLOW + "test_malformed_messages_are_logged_word_for_word_and_ignored"
LEAVING: Final = _FLOW + "test_a_client_that_leaves_is_closed_gracefully_unsubscribed_and_logged_word_for_word"
GREPS: Final = _FLOW + "test_the_contracts_greps_find_the_lines_of_each_server_and_none_of_the_other"
COUNTED: Final = _FLOW + "test_a_feed_counts_reconnections_and_the_mean_size_of_messages"

_EXAMPLES: Final = "tests/contract/test_examples.py::"
JS: Final = _EXAMPLES + "test_the_javascript_example_takes_the_welcome_and_every_telemetry"
JS_PING: Final = _EXAMPLES + "test_the_javascript_examples_keepalive_is_sent_every_30_seconds_and_the_connection_stays"
JS_DIES: Final = _EXAMPLES + "test_the_javascript_example_as_printed_dies_of_its_undefined_connect_a_second_after_a_disconnect"
JS_RETRIES: Final = _EXAMPLES + "test_the_javascript_example_given_a_connect_comes_back_but_never_backs_off_and_piles_up_its_timers"
PY: Final = _EXAMPLES + "test_the_python_example_prints_the_price_of_every_packet"
PY_CLOSE: Final = _EXAMPLES + "test_the_python_examples_on_close_is_never_entered_and_it_does_not_come_back"
PY_ERRORS: Final = _EXAMPLES + "test_the_python_example_takes_a_refusal_for_an_error_and_a_message_without_a_price_too"
WSCAT: Final = _EXAMPLES + "test_the_contracts_wscat_command_shows_a_welcome_at_once"

_PERFORMANCE: Final = "tests/contract/test_performance.py::"
HANDSHAKE_TIME: Final = _PERFORMANCE + "test_a_handshake_takes_less_than_the_contracts_time"
SERIALISATION_TIME: Final = _PERFORMANCE + "test_serialisation_takes_less_than_the_contracts_time"
ROUND_TRIP: Final = _PERFORMANCE + "test_a_round_trip_takes_less_than_the_contracts_time"
END_TO_END: Final = _PERFORMANCE + "test_from_the_source_to_the_feeds_packet_it_takes_less_than_the_contracts_time"

# ── proven elsewhere ──

_ELSEWHERE: Final = "tests/"
REST: Final = _ELSEWHERE + "cottage/test_engine.py::test_rest_answers_hold_the_last_state_in_its_three_parts"
WELCOMED: Final = _ELSEWHERE + "cottage/test_bff.py::test_any_path_upgrades_and_is_welcomed_at_once"
REPEATED: Final = _ELSEWHERE + "cottage/test_bff.py::test_polling_sends_the_same_state_again_every_second_while_the_engine_is_idle"
WHOLE: Final = _ELSEWHERE + "cottage/test_cottage.py::test_a_client_of_the_engine_gets_the_same_bytes"
LOOPBACK: Final = _ELSEWHERE + "cottage/test_cottage.py::test_both_sites_listen_on_the_loopback_only"
FIFTY: Final = _ELSEWHERE + "cottage/test_cottage.py::test_fifty_clients_get_the_same_stream"
LOCAL_PAGES: Final = _ELSEWHERE + "cottage/test_endpoint.py::test_pages_of_other_sites_are_refused_and_those_of_this_machine_are_not"
CLIENTS_COUNTED: Final = _ELSEWHERE + "cottage/test_endpoint.py::test_health_counts_clients_and_messages"
REDIS_STARTS: Final = _ELSEWHERE + "cottage/test_redis_bridge.py::test_the_bridge_starts_with_the_first_client"
REDIS_STATE: Final = _ELSEWHERE + "cottage/test_redis_bridge.py::test_a_state_update_reaches_the_clients_of_both_sites_as_telemetry"
_COMMANDS: Final = "cottage/test_commands.py::"
SUBSCRIBE_SENT: Final = (
    _ELSEWHERE + "feed/test_engine_commands.py::test_a_subscription_goes_over_the_stream_and_is_confirmed_by_a_packet_of_its_symbol"
)
SUBSCRIBE_OBEYED: Final = _ELSEWHERE + _COMMANDS + "test_a_subscription_changes_the_symbol_of_its_client_and_of_no_other"
HALT_SENT: Final = _ELSEWHERE + "feed/test_engine_commands.py::test_a_halt_is_confirmed_by_a_halted_status_that_arrives_after_it_was_sent"
HALT_SAID: Final = _ELSEWHERE + _COMMANDS + "test_a_halt_over_the_socket_is_obeyed_and_what_is_malformed_is_counted"
HALT_OBEYED: Final = _ELSEWHERE + _COMMANDS + "test_a_feed_halts_and_resumes_the_engine_and_the_stream_confirms_both"
_ACCESS: Final = "cottage/test_access.py::"
JWT_REFUSED: Final = _ELSEWHERE + _ACCESS + "test_no_expired_forged_unsigned_and_misaddressed_tokens_get_401_on_every_route_and_both_sites"
JWT_HIDDEN: Final = _ELSEWHERE + _ACCESS + "test_the_answer_selects_token_and_never_the_jwt_and_nothing_of_it_is_logged"
CONNECTION_LIMIT: Final = _ELSEWHERE + _ACCESS + "test_the_eleventh_connection_of_an_address_is_refused_with_429_until_one_leaves"
ANY_ORIGIN: Final = _ELSEWHERE + _ACCESS + "test_any_origin_reproduces_the_contracts_cors_and_still_refuses_commands"
NAMED_ORIGIN: Final = _ELSEWHERE + _ACCESS + "test_a_page_of_a_named_origin_may_ask_by_rest"
_METRICS: Final = "cottage/test_server_metrics.py::"
CLIENTS_MEASURED: Final = _ELSEWHERE + _METRICS + "test_connections_are_counted_while_they_are_open"
FAILURES_COUNTED: Final = _ELSEWHERE + _METRICS + "test_what_a_dropped_client_did_not_get_is_a_failure"
SIZE_MEASURED: Final = _ELSEWHERE + _METRICS + "test_the_mean_size_of_messages_is_that_of_what_was_sent"
RECONNECTS_COUNTED: Final = _ELSEWHERE + _METRICS + "test_a_client_that_comes_back_is_a_reconnection_and_a_second_one_beside_it_is_none"
NO_TOKEN_NO_HEADER: Final = _ELSEWHERE + "feed/test_live.py::test_no_token_is_no_header"
PING_SENT: Final = _ELSEWHERE + "feed/test_live.py::test_the_contracts_ping_is_sent_every_30_seconds"
NO_ORIGIN: Final = _ELSEWHERE + "feed/test_connection.py::test_the_request_is_plain_and_names_no_origin"
COUNTDOWN: Final = _ELSEWHERE + "dashboard/test_dashboard.py::test_a_disconnect_is_read_in_the_header"
