//! Every metric there is, once: `docs/metrics.md` and all exporters follow this list.

use super::family::{Definition, Kind, Unit};

macro_rules! catalogue {
    ($($(#[$doc:meta])* $id:ident: $kind:ident $unit:ident $name:literal $labels:expr, $grouped:literal, $help:literal;)*) => {
        $($(#[$doc])* pub const $id: Definition = Definition {
            name: $name, kind: Kind::$kind, unit: Unit::$unit, help: $help, labels: &$labels, grouped: $grouped,
        };)*
        /// All of them, in the order in which they are exported.
        pub const ALL: &[&Definition] = &[$(&$id),*];
    };
}

catalogue! {
    /// Closes by kind
    CLOSED: Counter None "finwait_connections_closed_total" ["kind"], true,
        "Connections that ended, by how.";
    /// Closes by first closer
    FIRST_CLOSERS: Counter None "finwait_closes_by_first_closer_total" ["first_closer"], true,
        "Connections that ended, by who sent the first FIN.";
    /// Resets
    RESETS: Counter None "finwait_resets_total" ["direction", "reason"], true,
        "Connections that ended by a reset, by who sent it and why.";
    /// Handshakes
    HANDSHAKE_FAILURES: Counter None "finwait_handshake_failures_total" ["cause"], true,
        "Calls of connect() that came to nothing, by cause.";
    /// Segments
    SEGMENTS: Counter None "finwait_close_segments_total" ["segments"], true,
        "Orderly closes by the number of segments that the closing handshake took.";
    /// FINs sent again
    FIN_RETRANSMITS: Counter None "finwait_fin_retransmits_total" ["cause"], true,
        "FINs of this end that were sent again, by what made the kernel do so.";
    /// Lives
    LIFE: Histogram Seconds "finwait_connection_life_seconds" [], true,
        "Time from a connection's first transition to CLOSE.";
    /// Handshakes
    HANDSHAKE: Histogram Seconds "finwait_handshake_seconds" [], true,
        "Time from SYN_SENT to ESTABLISHED.";
    /// Closing states
    STATE_DURATION: Histogram Seconds "finwait_state_duration_seconds" ["state"], true,
        "Time that connections spent in a closing state, TIME_WAIT and FIN_WAIT2 of mini-sockets included.";
    /// Opened
    OPENED: Counter None "finwait_connections_opened_total" [], true,
        "Connections that were established, seen from the handshake on; accepted ones from accept() on where that is seen.";
    /// Time in states
    STATE_SECONDS: Counter Seconds "finwait_state_seconds_total" ["state"], true,
        "Time that sockets spent in a state, those still in it included; mini-sockets are none of them.";
    /// Sockets now
    SOCKETS: Gauge None "finwait_sockets" ["state"], true,
        "Sockets that are followed now, by state; mini-sockets are none of them.";
    /// CLOSE_WAIT
    OLDEST_CLOSE_WAIT: Gauge Seconds "finwait_oldest_close_wait_seconds" [], true,
        "For how long the oldest CLOSE_WAIT has lasted, at least; 0 while there is none.";
    /// What is not proven
    UNPROVEN: Counter None "finwait_unproven_total" ["measure", "reason"], false,
        "Durations whose length is not proven, by measure and reason; they are in no histogram.";
    /// Time-wait sockets
    TIME_WAITS: Gauge None "finwait_time_wait_sockets" ["netns", "local_address", "remote_endpoint"], false,
        "Time-wait sockets of connections that were opened here, FIN_WAIT2 in a mini-socket included, by where they went.";
    /// Ports
    PORTS_FREE: Gauge None "finwait_ephemeral_ports_free" ["netns", "local_address", "remote_endpoint"], false,
        "Ephemeral ports that are left for connections to there.";
    /// Ports
    PORTS_EXHAUSTION: Gauge Seconds "finwait_ephemeral_ports_exhaustion_seconds" ["netns", "local_address", "remote_endpoint"], false,
        "Time until none is left, as fast as they got fewer over the last minute; +Inf while they do not.";
    /// Received
    EVENTS: Counter None "finwait_events_received_total" [], false,
        "State transitions received, repetitions dropped.";
    /// Lost
    LOST: Counter None "finwait_events_lost_total" ["stage"], false,
        "Events that happened and were not received, as far as the kernel counts them: no room in the ring, runs skipped and not rescued, records that cannot be read, hooks beyond the transitions.";
    /// Duplicates
    DUPLICATES: Counter None "finwait_events_duplicated_total" [], false,
        "Transitions that a second kernel program reported again.";
    /// Gaps
    GAPS: Counter None "finwait_sequence_gaps_total" [], false,
        "Numbers missing between received records.";
    /// Chain breaks
    CHAIN_BREAKS: Counter None "finwait_chain_breaks_total" [], false,
        "Transitions whose old state was not the last one entered.";
    /// Table
    TRACKED: Gauge None "finwait_tracked_connections" [], false,
        "Connections and listeners that are followed now.";
    /// Its limit
    TRACKED_LIMIT: Gauge None "finwait_tracked_connections_limit" [], false,
        "Connections that can be followed at once (--max-connections).";
    /// Evictions
    EVICTED: Counter None "finwait_evicted_connections_total" [], false,
        "Connections put out of the full table before their end.";
    /// Groups
    GROUPS: Gauge None "finwait_groups" [], false,
        "Groups of connections, `other` not counted.";
    /// Their limit
    GROUPS_LIMIT: Gauge None "finwait_groups_limit" [], false,
        "Groups that there can be (--max-groups).";
    /// Overflows
    GROUP_OVERFLOWS: Counter None "finwait_group_overflows_total" [], false,
        "Closes that fell into the group `other` for want of room.";
    /// Age
    SNAPSHOT_AGE: Gauge Seconds "finwait_snapshot_age_seconds" [], false,
        "How old these figures are: seconds where the tracer is too busy to answer.";
    /// Build
    BUILD: Info None "finwait_build_info" ["version"], false,
        "Always 1: the version of finwait.";
    /// Kernel
    KERNEL: Info None "finwait_kernel_info" ["kernel", "tier", "time_wait"], false,
        "Always 1: the kernel, the trace point in force, and how time-wait sockets are seen.";
    /// Closes for the page
    CLOSES_SKIPPED: Counter None "finwait_closes_skipped_total" [], false,
        "Closes that were counted, and found no room on the way to the page and the API.";
    /// Kernel time
    PROGRAM_TIME: Counter Seconds "finwait_program_run_time_seconds_total" ["program"], false,
        "Time that the kernel spent in finwait's programs, while kernel.bpf_stats_enabled was on.";
    /// Runs
    PROGRAM_RUNS: Counter None "finwait_program_runs_total" ["program"], false,
        "Runs of finwait's programs, while kernel.bpf_stats_enabled was on.";
    /// CPU
    CPU: Counter Seconds "process_cpu_seconds_total" [], false,
        "Processor time of finwait, user and system.";
    /// Memory
    MEMORY: Gauge Bytes "process_resident_memory_bytes" [], false,
        "Resident memory of finwait.";
    /// Descriptors
    DESCRIPTORS: Gauge None "process_open_fds" [], false,
        "Open descriptors of finwait.";
    /// Start
    START: Gauge Seconds "process_start_time_seconds" [], false,
        "When finwait was started, in seconds since 1970.";
    /// Push
    OTLP_EXPORTS: Counter None "finwait_otlp_exports_total" ["outcome"], false,
        "Requests to the OpenTelemetry collector: taken, to be tried again, refused; a snapshot of many groups is several.";
    /// Push
    OTLP_DROPPED: Counter None "finwait_otlp_dropped_total" [], false,
        "Requests that waited for the OpenTelemetry collector until there was no room for them.";
    /// Push
    OTLP_REJECTED: Counter None "finwait_otlp_rejected_points_total" [], false,
        "Data points that the OpenTelemetry collector rejected within requests that it took.";
}
