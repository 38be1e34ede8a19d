"""Reads a recording as docs/recording.md describes it and by nothing else, to hold the description to what finwait writes.

Prints the observations as JSON lines, and to stderr how much is missing. Takes the file's path. Payloads packed with LZ4 are
unpacked here, by the description of its block format; those of earlier recordings by zstd.
"""

import ipaddress
import json
import struct
import subprocess
import sys
import uuid
import zlib

FILE_MAGIC = bytes.fromhex("89 46 57 52 45 43 0d 0a")
FRAME_MAGIC = bytes.fromhex("f7 46 52 a5")
OBSERVATIONS = 1
MOST = 1 << 20
TASKS = 1024
# By layout.
SLOTS = [2048, 256]

STATES = (
    "ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING NEW_SYN_RECV"
).split()
TIERS = "tp_btf classic capture".split()
PROGRAMS = (
    "prime shadow shadow2 shadow3 classic send_reset receive_reset retransmit accept time_wait_ask time_wait_arm"
    " time_wait_kill timer_start timer_cancel timer_expire capture"
).split()
SOURCES = "off fentry timer sweep".split()
SOCKETS = "full time_wait request none".split()
CAUSES = "timeout loss_probe recovery".split()
CHANGES = "asked armed disarmed expired".split()
SITES = "segment receive connect abort purge rearm other".split()
SCOPES = "connections time_wait".split()
HOOKS = "resets_sent reset_reasons resets_received retransmits accepts sockets".split()
SETTINGS = "netns tcp_fin_timeout tcp_tw_reuse tcp_orphan_retries tcp_max_orphans tcp_max_tw_buckets".split()

# Fields of a transition by bit, with their form: bits of a number (signed where negative), a (address), t, flags, shutdown.
CHANGE = [
    ("lock_owned", "t"), ("task", None), ("flags", "flags"), ("shutdown", "shutdown"), ("snd_una", 32), ("snd_nxt", 32),
    ("write_seq", 32), ("rcv_nxt", 32), ("rcv_wup", 32), ("copied_seq", 32), ("clock_cache_ns", 64), ("bytes_acked", 64),
    ("bytes_received", 64), ("srtt_us", 32), ("rto_ns", 64), ("since_send_ns", 64), ("since_receive_ns", 64),
    ("inode", 64), ("num", 16), ("inet_sport", 16), ("dport", 16), ("local_addr", "a"), ("remote_addr", "a"),
    ("family", None), ("cookie", 64), ("sock_addr", 64), ("netns", 32), ("cgroup", 64), ("uid", 32), ("mark", 32),
    ("linger_ns", 64), ("err", -32), ("err_soft", -32), ("linger2", -32), ("total_retrans", 32), ("retransmits", 8),
    ("probes_out", 8), ("snd_wnd", 32), ("is_mptcp", "t"),
]
SUBJECT = [
    ("kind", None), ("cookie", 64), ("sock_addr", 64), ("netns", 32), ("local_addr", "a"), ("local_port", 16),
    ("remote_addr", "a"), ("remote_port", 16),
]
# Sequence numbers that layout 1 has as how far they are from another, each behind the one that it is told from.
TOLD_FROM = {"snd_nxt": "snd_una", "write_seq": "snd_nxt", "rcv_wup": "rcv_nxt", "copied_seq": "rcv_nxt"}
ROW = [
    ("cookie", 64), ("local_port", 16), ("remote_port", 16), ("inode", 64), ("uid", 32), ("mark", 32), ("cgroup", 64),
    ("timer_ns", 64), ("netns", 32), ("local_addr", "a"), ("remote_addr", "a"), ("holder", None),
]


class Senseless(Exception):
    """A payload that is not as described."""


class Payload:
    """One frame's observations."""

    def __init__(self, layout, data):
        self.layout, self.data, self.at = layout, data, 0
        self.time, self.streams = 0, []
        self.tasks, self.tasks_seen = [], 0
        self.slots, self.slots_seen = [], 0
        self.last_change = {"family": "inet"}
        self.last_socket = {}
        self.last_row = {"local_addr": "0.0.0.0", "remote_addr": "0.0.0.0", "netns": 0}

    # What the table of codes has

    def bytes(self, count):
        if self.at + count > len(self.data):
            raise Senseless("it ends within an observation")
        self.at += count
        return self.data[self.at - count:self.at]

    def b(self):
        return self.bytes(1)[0]

    def n(self):
        value = shift = 0
        while True:
            byte = self.b()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if value >= 1 << 64:
            raise Senseless("a number of more than 64 bits")
        return value

    def difference(self):
        value = self.n()
        return value >> 1 if value & 1 == 0 else -(value >> 1) - 1

    def d(self, base):
        return (base + self.difference()) % (1 << 64)

    def yes(self):
        return self.one_of([False, True], self.b())

    def t(self):
        return self.one_of([None, False, True], self.b())

    def o(self):
        return self.n() if self.yes() else None

    def s(self):
        return self.bytes(self.n()).decode("utf-8")

    def T(self):
        self.time = self.d(self.time)
        return self.time

    def N(self):
        place = self.n()
        if place == 0:
            self.streams.append([self.n(), self.one_of(PROGRAMS, self.b()), self.b(), 0])
            place = len(self.streams)
        stream = self.one_of(self.streams, place - 1)
        stream[3] = self.d(stream[3])
        return dict(zip(["cpu", "program", "depth", "seq"], stream))

    def K(self):
        place = self.n()
        if place == 0:
            return None
        if place > 1:
            return self.one_of(self.tasks, place - 2)
        task = {"tgid": self.n(), "pid": self.n(), "comm": comm(self.bytes(self.b())), "start_boot_ns": self.o()}
        task["kthread"], task["exiting"] = self.t(), self.t()
        task["exit_signal"] = self.b() if self.yes() else None
        self.tasks_seen = self.keep(self.tasks, self.tasks_seen, TASKS, task)
        return task

    @staticmethod
    def keep(places, seen, most, what):
        if seen < most:
            places.append(what)
        else:
            places[seen % most] = what
        return seen + 1

    @staticmethod
    def one_of(things, place):
        if not 0 <= place < len(things):
            raise Senseless("a code or a place that there is not")
        return things[place]

    def less_one(self, names):
        code = self.b()
        return None if code == 0 else self.one_of(names, code - 1)

    # Fields that are only there if they differ

    def field(self, form, base):
        if form == "t":
            return self.t()
        if form == "a":
            return self.address()
        if form in ("flags", "shutdown"):
            names, there = (["dead", "done", "linger"], 8) if form == "flags" else (["receive", "send"], 4)
            bits = self.b()
            return {name: bool(bits >> bit & 1) for bit, name in enumerate(names)} if bits & there else None
        difference = self.difference()
        if difference == 0 and base is not None:
            return None
        value = ((base or 0) + difference) % (1 << abs(form))
        return value - (1 << -form) if form < 0 and value >> (-form - 1) else value

    def fields(self, table, mask, base):
        read = dict(base)
        for bit, (name, form) in enumerate(table):
            if form is not None and mask >> bit & 1:
                read[name] = self.field(form, base.get(name))
        return read

    def changed_fields(self, mask, base):
        if self.layout == 0:
            return self.fields(CHANGE, mask, base)
        apart = dict(base)
        for name, other in TOLD_FROM.items():
            if base.get(name) is not None:
                apart[name] = (base[name] - (base.get(other) or 0)) % (1 << 32)
        read = self.fields(CHANGE, mask, apart)
        for name, other in TOLD_FROM.items():
            if read.get(name) is not None:
                read[name] = (read[name] + (read.get(other) or 0)) % (1 << 32)
        return read

    def address(self):
        form = self.b()
        if form == 0:
            return None
        if form == 4:
            return str(ipaddress.IPv4Address(self.bytes(4)))
        if form != 6:
            raise Senseless("an address of no version")
        address = ipaddress.IPv6Address(self.bytes(16))
        return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)

    # Kinds

    def state_change(self):
        slot, at, number = self.n(), self.T(), self.N()
        states, mask = self.b(), self.n()
        base = self.last_change if slot == 0 else self.one_of(self.slots, slot - 1)
        change = self.changed_fields(mask, base)
        change["task"] = self.K() if mask >> 1 & 1 else base.get("task")
        if mask >> 23 & 1:
            change["family"] = "inet6" if base["family"] == "inet" else "inet"
        if slot == 0:
            self.slots_seen = self.keep(self.slots, self.slots_seen, SLOTS[self.layout], change)
        else:
            self.slots[slot - 1] = change
        self.last_change = change
        old, new = state(states >> 4), state(states & 15)
        return {**change, "time_ns": at, **number, "old": old, "new": new}

    def socket(self):
        slot, mask = self.n(), self.b()
        if slot == 0:
            base = self.last_socket
        else:
            change = self.one_of(self.slots, slot - 1)
            base = {name: change.get(name) for name, _ in SUBJECT}
            base.update(kind="full", local_port=change.get("inet_sport"), remote_port=change.get("dport"))
        read = self.fields(SUBJECT, mask, base)
        if mask & 1:
            read["kind"] = self.one_of(SOCKETS, self.b())
        self.last_socket = read
        return read

    def hook(self):
        return {"time_ns": self.T(), **self.N(), **self.socket()}

    def optional_state(self):
        code = self.b()
        return state(code) if code else None

    def reset(self):
        read = {**self.hook(), "state": self.optional_state(), "answers_segment": self.t()}
        reason = self.s()
        return {**read, "reason": reason if self.yes() else None, "task": self.K()}

    def retransmit(self):
        read = {**self.hook(), "state": self.optional_state(), "fin": self.t()}
        return {**read, "cause": self.less_one(CAUSES), "failed": self.t()}

    def accept(self):
        return {**self.hook(), "task": self.K()}

    def time_wait(self):
        read = {**self.hook(), "change": self.one_of(CHANGES, self.b()), "substate": self.optional_state()}
        return {**read, "timeout_ns": self.o(), "site": self.less_one(SITES), "task": self.K()}

    def host(self):
        read = {"time_ns": self.T(), "schema": self.n()}
        read["boot_id"] = str(uuid.UUID(int=int.from_bytes(self.bytes(16), "little")))
        read["kernel"], read["tier"] = self.s(), self.one_of(TIERS, self.b())
        read["rps"], read["filtered"] = self.t(), self.yes()
        hooks = self.b()
        read["hooks"] = {name: bool(hooks >> bit & 1) for bit, name in enumerate(HOOKS)}
        read["hooks"]["time_wait"] = self.one_of(SOURCES, self.b())
        read["sysctls"] = {name: self.o() for name in SETTINGS}
        ports = self.o()
        if ports is not None:
            read["sysctls"]["ip_local_port_range"] = {"first": ports >> 16, "last": ports & 0xFFFF}
        return read

    def clock(self):
        return {"time_ns": self.T(), "wall_ns": self.n()}

    def watermark(self):
        return {"time_ns": self.T()}

    def counters(self):
        return {
            "time_ns": self.T(), "transitions": self.n(), "lost_ring": self.n(), "recursion_missed": self.o(),
            "rescued": self.o(), "decode_errors": self.n(), "hooks_lost": self.n(),
        }

    def dump_begin(self):
        return {"time_ns": self.T(), "scope": self.one_of(SCOPES, self.b())}

    def row(self):
        code, mask = self.b(), self.n()
        read = self.fields(ROW, mask, self.last_row)
        if mask >> 11 & 1:
            read["holder"] = self.K()
        self.last_row = read
        family = "inet6" if code & 0x40 else "inet"
        return {**read, "state": state(code & 0x3F), "family": family, "mini": bool(code & 0x80)}

    def dump_end(self):
        read = {**self.dump_begin(), "complete": []}
        last = 0
        for _ in range(self.n()):
            last = self.d(last)
            read["complete"].append(last)
        return read

    def cgroup(self):
        read = {"cgroup": self.n(), "cgroup_path": self.s()}
        for name in ["container", "runtime", "pod", "unit"]:
            read[name] = self.s() if self.yes() else None
        return read

    def resumed(self):
        read = {"time_ns": self.T(), "counters": self.counters()}
        return {**read, "numbers": [self.N() for _ in range(self.n())]}

    def all(self, count):
        kinds = [
            self.host, self.clock, self.state_change, self.watermark, self.counters, self.reset, self.retransmit,
            self.accept, self.time_wait, self.dump_begin, self.row, self.dump_end, self.cgroup, self.resumed,
        ]
        observations = []
        for _ in range(count):
            kind = self.one_of(kinds, self.b())
            name = "socket" if kind == self.row else kind.__name__
            observations.append({"observation": name, **kind()})
        if self.at != len(self.data):
            raise Senseless("it has more bytes than observations")
        return observations


def state(code):
    if not 1 <= code <= len(STATES):
        raise Senseless("a state that there is not")
    return STATES[code - 1]


def comm(name):
    """As docs/events.md has it: a byte that is no UTF-8 is `\\xNN`, a backslash `\\\\`."""
    return name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def sealed(header):
    return zlib.crc32(header[:40]) == struct.unpack("<I", header[40:])[0]


def frames(data):
    """What is whole: headers of files and frames with their payloads; and bytes that belong to neither, counted."""
    at = 0
    while at < len(data):
        header = data[at:at + 44]
        if len(header) == 44 and sealed(header) and header[:8] == FILE_MAGIC:
            yield "file", struct.unpack_from("<H2xIQQQ", header, 8), b""
            at += 44
            continue
        if len(header) == 44 and sealed(header) and header[:4] == FRAME_MAGIC:
            kind, packing, layout, number, before, count, length, unpacked, checksum = struct.unpack_from("<BBBxQQIIII", header, 4)
            stored = data[at + 44:at + 44 + length]
            if packing <= 2 and layout <= 1 and max(length, unpacked) <= MOST and len(stored) == length and zlib.crc32(stored) == checksum:
                yield kind, (packing, layout, number, before, count, unpacked), stored
                at += 44 + length
                continue
        yield "damage", (1,), b""
        at += 1


def unlz4(block):
    """Sequences of literals and a copy of what came before; the last has literals alone."""
    out, at = bytearray(), 0

    def long(length):
        nonlocal at
        while length >= 15:
            more, at = block[at], at + 1
            length += more
            if more < 255:
                break
        return length

    while True:
        token, at = block[at], at + 1
        literals = long(token >> 4)
        out += block[at : at + literals]
        at += literals
        if at >= len(block):
            return bytes(out)
        back, at = block[at] | block[at + 1] << 8, at + 2
        length = long(token & 15) + 4
        if not 0 < back <= len(out):
            raise Senseless("a copy of what is not there")
        start = len(out) - back
        for place in range(start, start + length):  # it may reach into itself
            out.append(out[place])


def unpack(packing, stored, length):
    if packing == 0:
        data = stored
    elif packing == 1:
        data = subprocess.run(["zstd", "-d", "-c", "-q"], input=stored, stdout=subprocess.PIPE, check=True).stdout
    else:
        data = unlz4(stored)
    if len(data) != length:
        raise Senseless("another length unpacked")
    return data


def main(path):
    with open(path, "rb") as file:
        data = file.read()
    run, begun, following, ahead = None, False, 0, 0
    missing = {"bytes": 0, "frames": 0, "observations": 0}
    for kind, numbers, stored in frames(data):
        if kind == "damage":
            missing["bytes"] += 1
        elif kind == "file":
            version, part, other, first, before = numbers
            if version not in (1, 2):
                sys.exit(f"version {version}")
            if other != run:
                run, begun, following, ahead = other, False, first if part else 0, before if part else 0
        else:
            packing, layout, number, before, count, length = numbers
            missing["frames"] += number - following
            missing["observations"] += before - ahead
            following, ahead = number + 1, before + (count if kind == OBSERVATIONS else 0)
            observations = Payload(layout, unpack(packing, stored, length)).all(count)
            # A preamble repeats what was read before.
            if kind == OBSERVATIONS or not begun:
                for observation in observations:
                    print(json.dumps(observation))
                begun = begun or bool(observations)
    json.dump(missing, sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
