from __future__ import annotations

import os
import random

import pytest

from ccwatch.protocol.messages import Packet
from ccwatch.recording.entries import pack_event, pack_packet
from ccwatch.recording.journal import Frame, Hole, JournalWriter, journal_files, pack_frame, read_frames

NONCE = b"\x01nonce\xfe\xff"


def pack(item):
    return pack_packet(item) if isinstance(item, Packet) else pack_event(item)


def write(folder, items, size):
    writer = JournalWriter(folder, NONCE)
    for start in range(0, len(items), size):
        writer.append([pack(item) for item in items[start : start + size]], first_entry=start + 1, first_seq=0)
    writer.close()
    return writer.path


def read(path):
    """Items by entry, and the holes."""
    found, holes = {}, []
    for frame in read_frames(path, NONCE):
        if isinstance(frame, Hole):
            holes.append(frame)
        else:
            found.update(frame.items("UTC"))
    return found, holes


def test_every_item_comes_back_as_it_was(tmp_path, varied):
    found, holes = read(write(tmp_path, varied, 7))
    assert [found[entry] for entry in sorted(found)] == varied
    assert [type(item) for item in found.values()] == [type(item) for item in varied]
    assert list(found) == list(range(1, len(varied) + 1))
    assert holes == []


def test_a_packet_that_came_without_its_message_comes_back_without_it(tmp_path, varied, packets_of):
    bare = [packet._replace(raw=b"") for packet in packets_of(varied)]
    assert list(read(write(tmp_path, bare, 5))[0].values()) == bare


def test_naive_timestamps_come_back_in_the_zone_of_the_feed(tmp_path, conversation, observed):
    items = conversation([observed], server_tz="America/New_York")
    (frame,) = read_frames(write(tmp_path, items, 100), NONCE)
    assert [item for _, item in frame.items("America/New_York")] == items


@pytest.mark.slow
def test_no_single_flipped_bit_makes_a_wrong_or_a_new_row(tmp_path, varied):
    items = varied[:8]
    path = write(tmp_path, items, 2)
    good = path.read_bytes()
    flips = harmless = 0
    # Bits of the first two frames: each kind of field is in them; the later ones must be found again behind the damage.
    upto = [frame.end for frame in read_frames(path, NONCE)][1]
    bits = range(0, 8 * upto, 1 if os.environ.get("CCWATCH_FULL") else 11)  # 11: one or none of each byte, and each of the eight in turn
    for bit in bits:
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        found, holes = read(path)
        assert all(items[entry - 1] == item for entry, item in found.items())
        assert len(found) == len(items) or holes, f"bit {bit}: rows are missing and nothing says so"
        assert len(found) >= len(items) - 2, f"bit {bit}: a frame outside the damage was lost"
        flips += 1
        harmless += not holes
    assert flips == len(bits)
    assert harmless == 0


@pytest.mark.slow
def test_every_torn_end_is_a_hole_and_all_before_it_is_read(tmp_path, varied):
    items = varied[:6]
    path = write(tmp_path, items, 2)
    good = path.read_bytes()
    ends = [frame.end for frame in read_frames(path, NONCE)]
    for size in range(0, len(good), 1 if os.environ.get("CCWATCH_FULL") else 3):
        path.write_bytes(good[:size])
        found, holes = read(path)
        whole = sum(end <= size for end in ends)
        assert list(found.values()) == items[: 2 * whole]
        assert [(hole.end, hole.is_torn) for hole in holes] == ([] if size in {0, *ends} else [(size, True)])


@pytest.mark.parametrize(("nonce", "is_taken"), [(b"otherone", False), (NONCE, True)])
def test_a_frame_within_a_message_is_not_taken_for_one_unless_it_knows_the_nonce(tmp_path, varied, nonce, is_taken):
    invented, real = varied[0]._replace(detail="invented"), varied[1]
    planted = pack_frame([pack(invented)], nonce=nonce, first_entry=1, first_seq=0)
    noise = random.Random(0).randbytes(5000)  # zstd leaves it as it is
    outer = bytearray(pack_frame([pack(varied[0]._replace(raw=noise + planted + noise))], nonce=NONCE, first_entry=1, first_seq=0))
    assert planted in outer, "the payload must be stored in the clear for this test to mean anything"
    outer[20] ^= 1
    path = tmp_path / "000001.ccj"
    path.write_bytes(bytes(outer) + pack_frame([pack(real)], nonce=NONCE, first_entry=2, first_seq=0))
    found, holes = read(path)
    assert found == ({1: invented, 2: real} if is_taken else {2: real})
    assert holes


def test_reading_can_go_on_where_it_ended(tmp_path, varied):
    path = write(tmp_path, varied[:6], 2)
    first, second, third = read_frames(path, NONCE)
    assert list(read_frames(path, NONCE, first.end)) == [second, third]


def test_a_write_that_fails_leaves_the_last_good_frame_at_the_end(tmp_path, varied):
    writer = JournalWriter(tmp_path, NONCE)
    writer.append([pack(varied[0])], first_entry=1, first_seq=0)
    good = writer.path.read_bytes()
    handle = writer._handle
    writer._handle = os.open(writer.path, os.O_RDONLY)  # a descriptor that no write can use
    with pytest.raises(OSError, match="Bad file descriptor"):
        writer.append([pack(varied[1])], first_entry=2, first_seq=0)
    os.close(handle)
    writer.close()
    assert journal_files(tmp_path)[0].read_bytes() == good


def test_files_follow_each_other_by_number(tmp_path, varied):
    writer = JournalWriter(tmp_path, NONCE)
    for n in range(3):
        writer.append([pack(varied[n])], first_entry=n + 1, first_seq=0)
        writer.roll()
    writer.close()
    assert [path.name for path in journal_files(tmp_path)] == ["000001.ccj", "000002.ccj", "000003.ccj", "000004.ccj"]
    assert [frame.first_entry for path in journal_files(tmp_path) for frame in read_frames(path, NONCE) if isinstance(frame, Frame)] == [
        1,
        2,
        3,
    ]
