"""One DNS question over UDP: does the cluster's name server answer?"""

import secrets
import socket
import struct
from ipaddress import IPv4Address

_ADDRESS_RECORD = 1
_INTERNET = 1
_RECURSION_WANTED = 0x0100
_COMPRESSED = 0xC0
_MAX_ANSWER_BYTES = 4096


def resolve(name: str, *, server: str, port: int = 53, timeout_s: float = 1) -> list[str]:
    """Ask for the IPv4 addresses of a name; empty where it has none.

    Raises:
        OSError: no answer in time.
        ValueError: the answer is not one to this question.
    """
    number = secrets.randbelow(2**16)
    labels = b"".join(bytes([len(part)]) + part.encode("ascii") for part in name.rstrip(".").split("."))
    question = labels + b"\0" + struct.pack(">HH", _ADDRESS_RECORD, _INTERNET)
    header = struct.pack(">HHHHHH", number, _RECURSION_WANTED, 1, 0, 0, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect((server, port))
        connection.send(header + question)
        answer = connection.recv(_MAX_ANSWER_BYTES)
    if len(answer) < len(header) + len(question) or struct.unpack_from(">H", answer)[0] != number:
        raise ValueError(f"{server}:{port} gave no answer to the question for {name}")
    return _addresses(answer, start=len(header) + len(question), count=struct.unpack_from(">H", answer, 6)[0])


def _addresses(answer: bytes, *, start: int, count: int) -> list[str]:
    found, at = [], start
    try:
        for _ in range(count):
            while answer[at] and answer[at] < _COMPRESSED:
                at += answer[at] + 1
            at += 2 if answer[at] else 1
            kind, _, _, length = struct.unpack_from(">HHIH", answer, at)
            at += 10
            if kind == _ADDRESS_RECORD:
                found.append(str(IPv4Address(answer[at : at + length])))
            at += length
    except (IndexError, struct.error) as error:
        raise ValueError("the answer is cut short") from error
    return found
