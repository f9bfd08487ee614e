"""OPEN, NOTIFICATION, KEEPALIVE and ROUTE-REFRESH: bytes, values, and the right complaint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs.errors import NotifyError
from rs.iana import MessageType, RefreshSubtype
from rs.messages import (
    KEEPALIVE,
    Notification,
    OpenMessage,
    RouteRefresh,
    decode_notification,
    decode_open,
    decode_route_refresh,
    encode_communication,
    encode_notification,
    encode_open,
    encode_route_refresh,
    notify_name,
    read_header,
    split_messages,
)

MARKER = b"\xff" * 16

# One value, one wire form; used both ways.
OPENS = [
    (
        OpenMessage(64500, 90, "10.0.0.1"),
        "ffffffffffffffffffffffffffffffff 001d 01 04 fbf4 005a 0a000001 00",
    ),
    (
        OpenMessage(23456, 0, "192.0.2.1", ((1, b"\x00\x01\x00\x01"), (65, b"\x00\x01\x86\xa1"))),
        (
            "ffffffffffffffffffffffffffffffff 002b 01 04 5ba0 0000 c0000201 0e"
            "020c 0104 00010001 4104 000186a1"
        ),
    ),
    (
        OpenMessage(1, 3, "1.2.3.4", ((200, bytes(200)), (201, bytes(100)))),
        "ffffffffffffffffffffffffffffffff 0153 01 04 0001 0003 01020304 ff ff 0133"
        "02 0130 c8c8" + "00" * 200 + "c964" + "00" * 100,
    ),
]


def fault(call, *args, **kwargs) -> tuple[int, int, bytes]:
    with pytest.raises(NotifyError) as info:
        call(*args, **kwargs)
    assert info.value.reason
    return info.value.code, info.value.subcode, info.value.data


def opened(data: bytes) -> tuple[int, int] | OpenMessage:
    """Decode an OPEN, or return code and subcode of what is wrong with it."""
    try:
        return decode_open(data)
    except NotifyError as error:
        return error.code, error.subcode


def body(text: str) -> bytes:
    return bytes.fromhex(text)


# --- header


def test_keepalive_is_the_one_of_the_rfc():
    assert bytes.fromhex("ff" * 16 + "001304") == KEEPALIVE
    assert read_header(KEEPALIVE) == (19, MessageType.KEEPALIVE)
    assert read_header(b"xx" + KEEPALIVE, 2) == (19, MessageType.KEEPALIVE)
    assert read_header(memoryview(bytearray(KEEPALIVE))) == (19, MessageType.KEEPALIVE)


@pytest.mark.parametrize("n", range(16))
def test_marker_that_is_not_all_ones(n):
    broken = bytearray(KEEPALIVE)
    broken[n] = 0xFE
    assert fault(read_header, broken) == (1, 1, b"")


@pytest.mark.parametrize(
    ("length", "kind", "limit"),
    [
        (18, 4, 4096),
        (0, 2, 4096),
        (4097, 2, 4096),
        (20, 4, 4096),
        (28, 1, 4096),
        (22, 2, 4096),
        (20, 3, 4096),
        (22, 5, 4096),
        (4097, 1, 65535),
        (4097, 4, 65535),
    ],
)
def test_bad_length_comes_back_in_the_data(length, kind, limit):
    size = length.to_bytes(2)
    assert fault(read_header, MARKER + size + bytes([kind]), 0, limit) == (1, 2, size)


@pytest.mark.parametrize("kind", [2, 3, 5])
def test_extended_messages(kind):
    header = MARKER + b"\xff\xff" + bytes([kind])
    assert read_header(header, 0, 65535) == (65535, kind)
    assert fault(read_header, header) == (1, 2, b"\xff\xff")


@pytest.mark.parametrize("kind", [0, 6, 255])
def test_bad_type_comes_back_in_the_data(kind):
    assert fault(read_header, MARKER + b"\x00\x13" + bytes([kind])) == (1, 3, bytes([kind]))


def test_split_messages_names_what_is_left():
    assert split_messages(KEEPALIVE * 2) == [(MessageType.KEEPALIVE, b"")] * 2
    with pytest.raises(ValueError, match="3 octets are left at 19"):
        split_messages(KEEPALIVE + b"\xff" * 3)
    with pytest.raises(ValueError, match="UPDATE at 0 needs 23 octets"):
        split_messages(MARKER + b"\x00\x17\x02")


# --- OPEN


@pytest.mark.parametrize(("message", "wire"), OPENS)
def test_open_both_ways(message, wire):
    assert encode_open(message) == body(wire)
    assert decode_open(body(wire)[19:]) == message


@given(
    st.builds(
        OpenMessage,
        my_as=st.integers(0, 65535),
        hold_time=st.integers(0, 65535),
        router_id=st.ip_addresses(v=4).map(str),
        capabilities=st.lists(
            st.tuples(st.integers(0, 255), st.binary(max_size=255)), max_size=14
        ).map(tuple),
    )
)
def test_open_round_trip(message):
    wire = encode_open(message)
    assert read_header(wire) == (len(wire), MessageType.OPEN)
    assert decode_open(wire[19:]) == message


@given(st.binary(min_size=10, max_size=300), st.booleans())
def test_open_never_crashes(data, version_four):
    if version_four:
        data = b"\x04" + data[1:]
    found = opened(data)
    assert isinstance(found, OpenMessage) or found in {(2, 0), (2, 1), (2, 4)}


@given(st.sampled_from(OPENS), st.data())
def test_mutated_open_never_crashes(pair, data):
    wire = bytearray(body(pair[1])[19:])
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(1, len(wire) - 1))] = data.draw(st.integers(0, 255))
    wire = wire[: data.draw(st.integers(10, len(wire)))]
    found = opened(bytes(wire))
    assert isinstance(found, OpenMessage) or found in {(2, 0), (2, 4)}


def test_open_too_long_is_refused_before_it_is_sent():
    with pytest.raises(ValueError, match="exceeds 4096"):
        encode_open(OpenMessage(1, 90, "1.1.1.1", ((99, bytes(255)),) * 16))


@pytest.mark.parametrize("version", [0, 3, 5, 255])
def test_version_answers_with_ours(version):
    assert fault(decode_open, bytes([version]) + bytes(9)) == (2, 1, b"\x00\x04")


HEAD = "04 fbf4 005a 0a000001"


@pytest.mark.parametrize(
    ("rest", "subcode"),
    [
        ("04 01 02 0000", 4),  # authentication, deprecated
        ("07 02 02 0200 03 01 00", 4),  # a good parameter, then an unknown one
        ("02 02 00 00", 0),  # longer than its length says
        ("04 02 02 02", 0),  # shorter
        ("00 02 00", 0),  # octets where none should be
        ("01 02", 0),  # a parameter without a length
        ("04 02 03 0200", 0),  # a parameter that runs past the end
        ("03 02 01 02", 0),  # a capability without a length
        ("04 02 02 0205", 0),  # a capability that runs past its parameter
        ("ff ff", 0),  # extended, cut off in the length
        ("ff ff 00", 0),
        ("ff ff 0005 02 0000", 0),  # extended, length too large
        ("ff ff 0002 02 00", 0),  # extended, cut off in a parameter
        ("ff ff 0003 ff 0000", 4),  # 255 again is an unknown parameter (RFC 9072 3)
    ],
)
def test_bad_parameters(rest, subcode):
    assert fault(decode_open, body(HEAD + rest)) == (2, subcode, b"")


@pytest.mark.parametrize(
    ("rest", "capabilities"),
    [
        ("08 02 02 0200 02 02 4600", ((2, b""), (70, b""))),  # one parameter for each
        ("02 02 00", ()),  # a parameter without capabilities
        ("ff ff 0005 02 0002 0200", ((2, b""),)),  # extended though it would fit (RFC 9072 2)
        ("08 ff 0005 02 0002 0200", ((2, b""),)),  # extended with another length before it
        ("ff ff 0000", ()),
    ],
)
def test_good_parameters(rest, capabilities):
    assert decode_open(body(HEAD + rest)).capabilities == capabilities


# --- NOTIFICATION


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=5000))
def test_notification_round_trip_and_description(code, subcode, data):
    wire = encode_notification(code, subcode, data)
    assert len(wire) <= 4096
    found = decode_notification(wire[19:])
    assert found == Notification(code, subcode, data[:4075])
    assert "\n" not in found.describe()
    assert f"({code}/{subcode})" in found.describe()


def test_notification_length_limits():
    assert len(encode_notification(1, 2, bytes(70000), 65535)) == 65535
    assert len(encode_notification(1, 2, bytes(70000), 99999)) == 65535
    assert len(encode_notification(1, 2, bytes(70000))) == 4096


@pytest.mark.parametrize(
    ("code", "subcode", "name"),
    [
        (1, 2, "Message Header Error/Bad Message Length (1/2)"),
        (2, 7, "OPEN Message Error/Unsupported Capability (2/7)"),
        (3, 11, "UPDATE Message Error/Malformed AS_PATH (3/11)"),
        (4, 0, "Hold Timer Expired (4/0)"),
        (5, 0, "Finite State Machine Error (5/0)"),
        (6, 2, "Cease/Administrative Shutdown (6/2)"),
        (7, 1, "ROUTE-REFRESH Message Error/Invalid Message Length (7/1)"),
        (8, 0, "Send Hold Timer Expired (8/0)"),
        (6, 99, "Cease (6/99)"),
        (77, 3, "unknown error (77/3)"),
    ],
)
def test_names(code, subcode, name):
    assert notify_name(code, subcode) == name


def test_every_registered_subcode_has_a_name():
    from rs import iana

    for code, registry in [
        (1, iana.HeaderSubcode),
        (2, iana.OpenSubcode),
        (3, iana.UpdateSubcode),
        (6, iana.CeaseSubcode),
        (7, iana.RefreshSubcode),
    ]:
        for subcode in registry:
            assert "/" in notify_name(code, subcode).split(" (")[0]


@pytest.mark.parametrize("subcode", [2, 4])
@pytest.mark.parametrize("text", ["back at 10:00", "Wartung für München", "плановые работы", "x"])
def test_communication_both_ways(subcode, text):
    data = encode_communication(text)
    assert data[0] == len(data) - 1
    found = Notification(6, subcode, data)
    assert found.communication == text
    assert found.describe().endswith(f'({6}/{subcode}): "{text}"')


@given(st.text(max_size=300))
def test_communication_is_cut_at_a_character(text):
    data = encode_communication(text)
    if not text:
        assert data == b""
        return
    assert data[0] == len(data) - 1 <= 255
    assert text.encode(errors="replace").startswith(data[1:])
    data[1:].decode()
    shown = Notification(6, 2, data).communication
    assert shown is None or shown.isprintable()


@given(st.binary(max_size=300))
def test_any_communication_fits_one_line(data):
    text = Notification(6, 4, data).communication
    assert text is None or text.isprintable()


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", None),
        (b"\x00", None),
        (b"\x02\xff\xfe", "malformed: 02fffe"),
        (b"\x05abc", "malformed: 05616263"),
        (b"\x80" + b"a" * 128, "a" * 128),  # the longest of RFC 8203
        (b"\xff" + b"a" * 255, "a" * 255),
        (b"\x03abcdef", "abc"),
        (b"\x04a\r\nb", "a\\r\\nb"),  # must not start another line of the log
        (b"\x05a\x1b[0m", "a\\x1b[0m"),
        (b"\x04a\xe2\x80\xae", "a\\u202e"),  # nor turn it around
    ],
)
def test_communication_of_the_peer(data, shown):
    assert Notification(6, 2, data).communication == shown


def test_no_communication_is_no_data():
    assert encode_communication("") == b""


def test_communication_belongs_to_two_subcodes_only():
    assert Notification(6, 3, b"\x01a").communication is None
    assert Notification(2, 2, b"\x01a").communication is None
    assert Notification(6, 3, b"\x01a").describe() == "Cease/Peer De-configured (6/3), data 0161"
    assert Notification(6, 2, b"\x00").describe() == "Cease/Administrative Shutdown (6/2)"
    assert Notification(6, 1).describe() == "Cease/Maximum Number of Prefixes Reached (6/1)"
    # The subcode alone does not tell: 2/2 and 2/4 carry data of another kind.
    assert Notification(2, 4, b"\x05").describe().endswith("(2/4), data 05")


def test_hard_reset_shows_what_it_wraps():
    wrapped = Notification(6, 9, b"\x06\x02" + encode_communication("bye"))
    assert wrapped.describe() == (
        'Cease/Hard Reset (6/9): Cease/Administrative Shutdown (6/2): "bye"'
    )
    assert Notification(6, 9, b"\x06").describe() == "Cease/Hard Reset (6/9)"


def test_deeply_wrapped_hard_reset():
    assert Notification(6, 9, b"\x06\x09" * 2000).describe().startswith("Cease/Hard Reset (6/9)")


# --- ROUTE-REFRESH


@pytest.mark.parametrize("subtype", list(RefreshSubtype))
def test_route_refresh_both_ways(subtype):
    wire = bytes.fromhex("ff" * 16 + "001705" + "0002" + f"{subtype:02x}" + "01")
    message = RouteRefresh(2, 1, subtype)
    assert encode_route_refresh(message) == wire
    assert decode_route_refresh(wire[19:], enhanced=True) == message


@pytest.mark.parametrize("subtype", [1, 2])
def test_marks_of_another_length(subtype):
    data = b"\x00\x01" + bytes([subtype]) + b"\x01\x00"
    whole = MARKER + b"\x00\x18\x05" + data
    assert fault(decode_route_refresh, data, enhanced=True) == (7, 1, whole)
    assert decode_route_refresh(data, enhanced=False) == RouteRefresh(1, 1, subtype)


def test_request_with_filters_and_unknown_subtype():
    assert decode_route_refresh(body("00010001 01 80"), enhanced=True) == RouteRefresh(1, 1, 0)
    assert decode_route_refresh(body("0001ff01 00"), enhanced=True) == RouteRefresh(1, 1, 255)
