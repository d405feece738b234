"""Tell xsched which of a program's GPU work matters.

The functions look for xsched's shim in the running process and do nothing
where it is not there, so a program with hints runs anywhere::

    import xsched

    with xsched.priority("low"):      # this thread, until the end of the block
        train_step()

    @xsched.background                # the function, wherever it is called
    def evaluate(): ...

    xsched.set_stream(side, "low")    # a torch.cuda.Stream, or a handle
    with xsched.burst():              # a request: latencies become those of requests
        serve_one()

    print(xsched.status())

A hint is a wish: by default the agent lets hints lower a class, and a rule may
let them raise it. ``status()`` says what came of it. Classes belong to threads:
a block of ``priority`` must not ``await``; decorate coroutine functions instead.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import inspect
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Callable, Coroutine, Generator, Optional, Type, TypeVar, Union

__all__ = ["Class", "Status", "background", "burst", "present", "priority", "set_stream", "set_thread", "status"]

_THREAD, _STREAM, _BEGIN, _END, _STATUS = range(1, 6)
_NONE = 2**64 - 1

F = TypeVar("F", bound=Callable[..., Any])


class Class(enum.IntEnum):
    """A class, lowest first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    REALTIME = 3


ClassLike = Union[Class, str]


@dataclass(frozen=True)
class Status:
    """How the calling thread stands."""

    joined: bool
    """The shim is there and has an agent."""
    thread_class: Optional[Class]
    """The class of this thread's commands now; None while not joined."""
    process_class: Optional[Class]
    """The class of the process; None while not joined."""
    asked: Optional[Class]
    """What this thread asked for."""


def _find() -> Optional[Callable[[int, int, int], int]]:
    try:
        # Not released for the call, which is short and changes only the thread.
        found = ctypes.PyDLL(None).xsched_hint_v1
    except (AttributeError, OSError):
        return None
    found.argtypes = [ctypes.c_uint32, ctypes.c_uint64, ctypes.c_uint64]
    found.restype = ctypes.c_int64
    return found  # type: ignore[no-any-return]


_hint = _find()


def _call(what: int, first: int = 0, second: int = 0) -> int:
    return _hint(what, first, second) if _hint is not None else (0 if what == _STATUS else -1)


def _wanted(wanted: Optional[ClassLike]) -> int:
    if wanted is None:
        return _NONE
    if isinstance(wanted, str):
        try:
            return Class[wanted.upper()].value
        except KeyError:
            raise ValueError(f"not a class: {wanted!r}; use low, normal, high or realtime") from None
    return Class(wanted).value


def _class(raw: int) -> Optional[Class]:
    return Class(raw) if 0 <= raw <= 3 else None


def present() -> bool:
    """Whether the shim is in this process."""
    return _hint is not None


def set_thread(wanted: Optional[ClassLike]) -> Optional[Class]:
    """Give the calling thread a class, or with None take it back; the one before.

    Threads do not inherit it from the thread that starts them.
    """
    return _class(_call(_THREAD, _wanted(wanted)))


def set_stream(stream: Any, wanted: Optional[ClassLike]) -> Optional[Class]:
    """Give a stream a class, over that of whoever launches on it; the one before.

    ``stream`` is a ``torch.cuda.Stream``, a ``cupy.cuda.Stream`` or a handle. A
    program has at most 64 such streams; the class ends with the stream.
    """
    for attribute in ("cuda_stream", "ptr"):
        stream = getattr(stream, attribute, stream)
    return _class(_call(_STREAM, int(stream), _wanted(wanted)))


def status() -> Status:
    """How the calling thread stands."""
    raw = _call(_STATUS)
    at = [_class((raw >> shift & 0xFF) - 1) for shift in (8, 16, 24)]
    return Status(bool(raw & 1), *at)


class priority:
    """The calling thread has a class within the block, or the function.

    As a decorator of a coroutine function it has the class whenever the
    coroutine runs, and not while it waits.
    """

    def __init__(self, wanted: ClassLike) -> None:
        _wanted(wanted)
        self._class = wanted
        self._before: list[Optional[Class]] = []

    def __enter__(self) -> "priority":
        self._before.append(set_thread(self._class))
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        set_thread(self._before.pop())

    def __call__(self, function: F) -> F:
        wanted = self._class

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def stepped(*args: Any, **kwargs: Any) -> Any:
                return await _Steps(function(*args, **kwargs), wanted)

            return stepped  # type: ignore[return-value]

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            # A block of its own: calls may nest, and run in several threads.
            with priority(wanted):
                return function(*args, **kwargs)

        return called  # type: ignore[return-value]


def background(function: F) -> F:
    """A function whose work is of class low, wherever it is called."""
    return priority(Class.LOW)(function)


class _Steps:
    """A coroutine whose thread has a class whenever it runs."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], wanted: ClassLike) -> None:
        self._coroutine = coroutine
        self._class = wanted

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        value: Any = None
        error: Optional[BaseException] = None
        while True:
            with priority(self._class):
                try:
                    step = steps.send(value) if error is None else steps.throw(error)
                except StopIteration as end:
                    return end.value
            value, error = None, None
            try:
                value = yield step
            except BaseException as thrown:  # The coroutine's to handle.
                error = thrown


class burst:
    """The block is a request, so that latencies are those of requests.

    It begins and ends in one thread.
    """

    def __enter__(self) -> "burst":
        _call(_BEGIN)
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        _call(_END)
