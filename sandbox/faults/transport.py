"""Faults of the connection. The operation was carried out; its answer gets lost on the way.

But for `not_taken`, which was not, and `late_taken`, which will be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.answer import Answer
from sandbox.line import Line

Args = dict[str, Any]
NOT_TAKEN = "not_taken"


def hang(line: Line, _answer: Answer, args: Args) -> None:
    """No answer for args.seconds [30], then the connection is closed."""
    line.wait(args.get("seconds", 30))
    line.close()


def stall_mid_body(line: Line, answer: Answer, args: Args) -> None:
    """Half of the body, args.seconds [30] of silence, the rest (args.finish false: no rest)."""
    body = answer.body()
    line.head(answer, {"Content-Length": str(len(body))})
    line.raw(body[: len(body) // 2])
    if line.wait(args.get("seconds", 30)) or not args.get("finish", True):
        line.close()
        return
    line.raw(body[len(body) // 2 :])


def drip(line: Line, answer: Answer, args: Args) -> None:
    """A byte every args.interval seconds [0.1]."""
    body = answer.body()
    line.head(answer, {"Content-Length": str(len(body))})
    for position in range(len(body)):
        line.raw(body[position : position + 1])
        if line.wait(args.get("interval", 0.1)):
            line.close()
            return


def reset(line: Line, answer: Answer, args: Args) -> None:
    """An RST before anything is sent (args.after: after so many bytes of the body)."""
    if "after" in args:
        body = answer.body()
        line.head(answer, {"Content-Length": str(len(body))})
        line.raw(body[: args["after"]])
    line.reset()


def close_no_reply(line: Line, _answer: Answer, _args: Args) -> None:
    """The connection is closed without a byte."""
    line.close()


def short_content_length(line: Line, answer: Answer, args: Args) -> None:
    """The full length is declared, args.share [0.5] of the body is sent, then a close."""
    body = answer.body()
    line.head(answer, {"Content-Length": str(len(body)), "Connection": "close"})
    line.raw(body[: int(len(body) * args.get("share", 0.5))])
    line.close()


def unfinished_chunk(line: Line, answer: Answer, _args: Args) -> None:
    """A chunk that announces the whole body and breaks off in the middle."""
    body = answer.body()
    line.head(answer, {"Transfer-Encoding": "chunked", "Connection": "close"})
    line.raw(b"%X\r\n" % len(body) + body[: len(body) // 2])
    line.close()


def early_zero_chunk(line: Line, answer: Answer, _args: Args) -> None:
    """Half of the body, then a correct end of the chunks."""
    body = answer.body()
    line.head(answer, {"Transfer-Encoding": "chunked"})
    line.chunk(body[: len(body) // 2])
    line.raw(b"0\r\n\r\n")


def close_without_length(line: Line, answer: Answer, _args: Args) -> None:
    """Half of the body, its end marked by nothing but the close, as HTTP/1.0 did."""
    body = answer.body()
    line.head(answer, {"Connection": "close"})
    line.raw(body[: len(body) // 2])
    line.close()


TRANSPORT_KINDS: dict[str, Callable[[Line, Answer, Args], None]] = {
    "hang": hang,
    "stall_mid_body": stall_mid_body,
    "drip": drip,
    "reset": reset,
    "close_no_reply": close_no_reply,
    "short_content_length": short_content_length,
    "unfinished_chunk": unfinished_chunk,
    "early_zero_chunk": early_zero_chunk,
    "close_without_length": close_without_length,
    NOT_TAKEN: close_no_reply,
    "late_taken": close_no_reply,
}
UNANSWERED = frozenset({"hang", "close_no_reply", "reset", NOT_TAKEN, "late_taken"})
