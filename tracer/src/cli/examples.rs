//! Examples shown below each help text. A test parses every line that starts with `finwait`.

pub(super) const FINWAIT: &str = "\
Examples:
  Every connection that ends, with who closed first and what took long:
    finwait closes
  Every transition of connections to or from port 443:
    finwait states -L 443
  Record now, look later and elsewhere:
    finwait record -w trace.fwr --duration 1m
    finwait closes -r trace.fwr

`finwait <COMMAND> --help` has more for each command.";

pub(super) const SERVE: &str = "\
Examples:
  Metrics at http://127.0.0.1:9477/metrics, by role and port of the service:
    finwait serve
  By process and container, of connections to two ports:
    finwait serve --group-by role,service,process,container -L 443,5432
  Where do peers of these networks close first?
    finwait serve --group-by role,peer --peer-network office=10.1.0.0/16 --peer-network vpn=10.2.0.0/16
  As a file says, once it is known to make sense:
    finwait serve --config /etc/finwait.toml --check-config
  Of a recording, and as it happened:
    finwait serve -r trace.fwr --web.listen-address 127.0.0.1:8080
    finwait serve -r trace.fwr --speed 1";

pub(super) const STATES: &str = "\
Examples:
  With the time of day, as CSV (tcpstates -T -s):
    finwait states -T -s
  One process, ports 80 and 443, for ten seconds:
    finwait states -p 811 -L 80,443 --duration 10s
  Connections to a network, in full width:
    finwait states --remote 10.0.0.0/8 -w
  As JSON, to look for what stayed in CLOSE_WAIT for over a second:
    finwait states -o json | jq 'select(.old_state == \"CLOSE_WAIT\" and .in_old_state_ns > 1e9)'
  From a recording or a packet capture, ten times as fast as it happened:
    finwait states -r trace.fwr --speed 10
    tcpdump -i any -w - tcp | finwait states -r -

MS is the time spent in OLDSTATE. `?` stands for what is not known.";

pub(super) const CLOSES: &str = "\
Examples:
  Everything, until Ctrl-C:
    finwait closes
  The next twenty that end on port 5432 of a database:
    finwait closes -D 5432 --count 20
  Resets that this host sends, with the reason:
    finwait closes -o json | jq 'select(.reset_direction == \"sent\") | {opener, closer, reset_cause}'
  What one container had reset, or saw time out:
    finwait closes --container 0a1b2c3d4e5f --kind reset,timed_out
  Connections within this host, both ends in one line, and what became of their time-wait sockets:
    finwait closes --both-ends --time-waits
  From a recording that comes through a pipe:
    finwait closes -r - -o csv

OPENED BY: `▶` opened here, `◀` accepted here. CLOSE: the time in each closing state, FW1 FIN_WAIT1, FW2 FIN_WAIT2,
CLG CLOSING, CW CLOSE_WAIT, LA LAST_ACK, TW when TIME_WAIT follows; `!` marks the one that took far longer than
the round trip explains. `FIN ×3` is a FIN that went three times more; what began this end's close is named where it was
no plain close(): shutdown, exit, killed and the signal. What stands out takes the room of what does not.
--both-ends: `▶` and `◀` tell which end closed first, and both shares of CLOSE stand on their side of `◀`.
`?` stands for what is not known, `≥` for at least.";

pub(super) const EXPLAIN: &str = "\
Examples:
  The next connection that ends on port 5432 of a database:
    finwait explain -D 5432 --count 1
  Every reset and timeout in a recording, and what each sentence rests on:
    finwait explain -r trace.fwr --kind reset,timed_out --evidence
  One connection, by the conn_id that `finwait closes -o json` has:
    finwait explain -r trace.fwr 4f1c09ab2f3a-2a-3b9aca00
  What a packet capture shows of both ends:
    finwait explain -r trace.pcap
  To send by mail, and for machines:
    finwait explain -r trace.fwr --ascii > closes.txt
    finwait explain -r trace.fwr -o json | jq -r '.sentences[]?.text'

Left stands the end that it is told from, right the other; where both were seen, each wave has
its time at both. `!` marks what took far longer than the round trip explains, `≤` a time within
bounds. A wave that was not seen is drawn `┄┄ ? ┄┄`, with the reason.";

pub(super) const REPORT: &str = "\
Examples:
  The next ten minutes:
    finwait report --duration 10m
  One service of a recording, for a ticket:
    finwait report -r trace.fwr -L 443 -o markdown
  What did the release change?
    finwait report -r after.fwr --against before.fwr
  As JSON, to look for idle timers:
    finwait report -r trace.fwr -o json | jq '.idle_clusters[] | {service_port, first_closer, mean_ns}'

Percentiles are right to 4.5 % of their value. A silence is the time without data before the first
FIN; many of one length are a timer's.";

pub(super) const RECORD: &str = "\
Examples:
  One minute into a file:
    finwait record -w trace.fwr --duration 1m
  Always, the last 2 GiB or so of it, an hour or 64 MiB a file:
    finwait record -w /var/lib/finwait/trace.fwr --rotate-age 1h --rotate-size 64M --max-total 2G
  Port 443 alone, to another host:
    finwait record -L 443 | ssh store 'cat > trace.fwr'
  Reading it again, all files in a row, or one:
    cat trace.fwr.* | finwait closes -r -
    finwait closes -r trace.fwr.000007
  As JSON lines:
    finwait record -o jsonl | jq 'select(.observation == \"reset\")'

A recording is not filtered by process, address or cgroup: do that when it is read. Its files are for their owner alone.";

pub(super) const STUCK: &str = "\
Examples:
  Everything that is closing and does not get on:
    finwait stuck
  Watched, as far as it is proven to have lasted half a minute:
    finwait stuck --watch --older 30s
  What stayed when a recording or a packet capture ended:
    finwait stuck -r trace.fwr --older 30s
  Which processes leak descriptors in CLOSE_WAIT:
    finwait stuck --json | jq -r 'select(.state == \"CLOSE_WAIT\") | .holders[0].comm' | sort

It needs no kernel programs. Root sees every process and network namespace, others their own.
`≥` stands for at least: the state began before finwait looked, and this much is proven by the
kernel's own times or by looking again. An age without it is right to the interval of --watch.";

pub(super) const DEMO: &str = "\
Examples:
  Seven ways to close, as finwait sees them:
    finwait demo

It needs root and touches nothing outside of its namespace. The exit status is 0 when every connection was seen whole.";

pub(super) const DOCTOR: &str = "\
Examples:
    finwait doctor
    finwait doctor --json | jq -r '.checks[] | select(.verdict == \"no\") | .remedy'

It loads the programs to try and attaches nothing. The exit code is 1 where finwait could not observe this kernel.";

pub(super) const GENERATE: &str = "\
Examples:
    finwait generate man > finwait.1
    finwait generate man closes > finwait-closes.1
    finwait generate completions bash > finwait.bash";
