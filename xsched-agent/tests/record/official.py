"""Reads a recording by Perfetto's own definitions (PyPI: perfetto, its generated perfetto_trace_pb2) and prints what it
holds as JSON. What breaks the format's rules is an error: a field without a name there, a number that stands for no
text, an event on a track that is not described, ends that belong to no beginning, times that a clock does not cover.
"""

import collections
import json
import sys

from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TracePacket, TrackEvent


def check(holds, what):
    if not holds:
        sys.exit(f"{sys.argv[1]}: {what}")


def unknown(message, path):
    """Fields that the definitions do not have, at any depth."""
    for field in UnknownFieldSet(message):
        yield f"{path}.{field.field_number}"
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            values = value if field.is_repeated else [value]
            for inner in values:
                yield from unknown(inner, f"{path}.{field.name}")


trace = Trace()
with open(sys.argv[1], "rb") as file:
    trace.ParseFromString(file.read())

nameless = sorted(set(unknown(trace, "trace")))
check(not nameless, f"fields without a name: {nameless}")

texts = collections.defaultdict(dict)
tracks, events, clocks, state_is_clear = {}, [], set(), set()
defaults = {}
for packet in trace.packet:
    sequence = packet.trusted_packet_sequence_id
    if packet.sequence_flags & TracePacket.SEQ_INCREMENTAL_STATE_CLEARED:
        texts = collections.defaultdict(dict, {k: v for k, v in texts.items() if k[0] != sequence})
        state_is_clear.add(sequence)
    if packet.HasField("trace_packet_defaults"):
        defaults[sequence] = packet.trace_packet_defaults
    if packet.HasField("clock_snapshot"):
        clocks.update(clock.clock_id for clock in packet.clock_snapshot.clocks)
    if packet.HasField("interned_data"):
        for kind in ("event_names", "event_categories", "debug_annotation_names", "debug_annotation_string_values"):
            for text in getattr(packet.interned_data, kind):
                value = text.str.decode() if kind == "debug_annotation_string_values" else text.name
                check(text.iid not in texts[sequence, kind], f"{kind} {text.iid} stands for two texts")
                texts[sequence, kind][text.iid] = value
    if packet.HasField("track_descriptor"):
        track = packet.track_descriptor
        parent = track.parent_uuid
        check(not parent or parent in tracks, f"track {track.uuid} is under {parent}, which is not described yet")
        tracks[track.uuid] = track
    if packet.HasField("track_event"):
        event = packet.track_event
        check(sequence in state_is_clear, "an event before its sequence's state is clear")
        needs = bool(event.name_iid or event.category_iids or event.debug_annotations)
        flagged = packet.sequence_flags & TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        check(flagged or not needs, "an event needs texts told before, and does not say so")
        clock = packet.timestamp_clock_id or defaults[sequence].timestamp_clock_id
        check(clock in clocks, f"clock {clock} is in no snapshot")
        check(event.track_uuid in tracks, f"track {event.track_uuid} is not described")
        name = texts[sequence, "event_names"][event.name_iid] if event.name_iid else event.name
        for iid in event.category_iids:
            texts[sequence, "event_categories"][iid]
        for detail in event.debug_annotations:
            texts[sequence, "debug_annotation_names"][detail.name_iid]
            if detail.string_value_iid:
                texts[sequence, "debug_annotation_string_values"][detail.string_value_iid]
        events.append((packet.timestamp, event.track_uuid, event.type, name))

counts, names, open_slices = collections.Counter(), collections.Counter(), collections.Counter()
for time, track, kind, name in sorted(events, key=lambda event: event[0]):
    counts[TrackEvent.Type.Name(kind)] += 1
    names[name] += bool(name)
    if kind == TrackEvent.TYPE_SLICE_BEGIN:
        open_slices[track] += 1
    elif kind == TrackEvent.TYPE_SLICE_END:
        open_slices[track] -= 1
        check(open_slices[track] >= 0, f"track {track}: something ends that has not begun")
    elif kind == TrackEvent.TYPE_COUNTER:
        check(tracks[track].HasField("counter"), f"track {track}: a number on a line of no counter")
check(not +open_slices, "something never ends")

processes = {track.process.pid: list(track.process.cmdline) for track in tracks.values() if track.HasField("process")}
print(json.dumps({"events": counts, "names": names, "tracks": len(tracks), "processes": processes}))
